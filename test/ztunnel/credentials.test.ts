import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createRoot, rootFileOf, rootsOf, tokenOf } from '#identity'
import { headersOf } from '../../ztunnel/credentials.ts'

const folder = mkdtempSync(join(tmpdir(), 'lateen-credentials-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'secret')
const { certPem } = createRoot({ organization: 'x', validityMs: 1e6 })

t.test('a token is a file, read for every use, or the token itself', async (t) => {
  writeFileSync(path, 'first\n')
  t.equal(tokenOf(path), 'first')
  writeFileSync(path, 'second')
  t.equal(tokenOf(path), 'second')
  t.equal(tokenOf('eyJhbGciOi.eyJpc3Mi.c2ln'), 'eyJhbGciOi.eyJpc3Mi.c2ln')
})

t.test('no token, or an empty one, is an error that names the file and nothing else', async (t) => {
  writeFileSync(path, ' \n')
  t.throws(() => tokenOf(path), { code: 'unavailable', message: `no token: ${path} is empty` })
  t.throws(() => tokenOf(join(folder, 'none')), { code: 'unavailable', message: /ENOENT/ })
})

t.test('roots are a file, the PEM itself, or those of the machine', async (t) => {
  writeFileSync(path, certPem)
  t.equal(rootsOf(path), certPem.trim())
  t.equal(rootsOf(certPem), certPem)
  t.type(rootsOf('SYSTEM'), 'string')
  t.equal(rootFileOf(path), path)
  t.equal(rootFileOf(certPem), undefined)
  t.equal(rootFileOf('SYSTEM'), undefined)
})

t.test('headers for the control plane come from the environment', async (t) => {
  const env = { XDS_HEADER_Tenant: 'a', CA_HEADER_x: 'b', CA_HEADER_: 'c', CA_HEADER_empty: '', HOME: '/' }
  t.same(headersOf(env, 'XDS_HEADER_'), { tenant: 'a' })
  t.same(headersOf(env, 'CA_HEADER_'), { x: 'b' })
})
