import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import t, { type Test } from 'tap'
import { chainOf } from '../../../lib/identity/chain.ts'
import { identityMetrics, spiffeId, watchCrl, watchFile, watchJumps } from '#identity'
import { Registry } from '#telemetry'
import { until as eventually } from '../../fakes/until.ts'
import { certificate, crl, ext, rootOf, serial } from './certificate-kit.ts'

const until = (condition: () => boolean) => eventually(condition, condition.toString())
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
const root = rootOf()
const number = serial()
const leaf = new X509Certificate(
  certificate({ by: root, serial: number, extensions: [ext.leaf, ext.usage('sign'), ext.uri(id)] }),
)
const chain = chainOf(leaf, {
  id,
  privateKeyPem: '',
  chainPem: [],
  rootsPem: [root.certPem],
  notBefore: new Date(),
  notAfter: new Date(),
})
const revoking = crl({ by: root, revoked: [number] })
const nobody = crl({ by: root, revoked: [] })

async function folder(t: Test) {
  const path = await mkdtemp(join(tmpdir(), 'identity-crl-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

async function follow(t: Test, path: string, pollMs = 60_000) {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const registry = new Registry()
  const warnings: unknown[] = []
  const log = { info() {}, warn: (_: string, fields?: unknown) => void warnings.push(fields) }
  const metrics = identityMetrics(registry)
  const revocations = watchCrl({ path, log, metrics, signal: stop.signal, debounceMs: 20, pollMs })
  let changes = 0
  revocations.onChange(() => changes++)
  const failures = async () =>
    Number(/lateen_crl_load_failures_total (\d+)/.exec(await registry.metrics())?.[1] ?? 0)
  return { isRevoked: () => revocations.isRevoked(chain), warnings, failures, changes: () => changes }
}

/** What the kubelet does: a new folder, and a link that is swapped in one step. */
async function publish(mount: string, version: string, text: string) {
  await mkdir(join(mount, `..${version}`))
  await writeFile(join(mount, `..${version}`, 'ca-crl.pem'), text)
  await symlink(`..${version}`, join(mount, '..next'))
  await rename(join(mount, '..next'), join(mount, '..data'))
}

t.test('a file is followed, and what is half written leaves the last good list in force', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  await writeFile(path, nobody)
  const crls = await follow(t, path)
  t.notOk(crls.isRevoked())
  await writeFile(path, revoking)
  await until(crls.isRevoked)
  await writeFile(path, nobody.slice(0, nobody.length / 2))
  await until(() => crls.warnings.length > 0)
  t.match(crls.warnings, [{ path, error: /not a whole/ }])
  t.equal(await crls.failures(), 1)
  t.ok(crls.isRevoked())
  await writeFile(path, nobody)
  await until(() => !crls.isRevoked())
})

t.test('a ConfigMap is swapped under its link, twice', async (t) => {
  const mount = await folder(t)
  await publish(mount, 'v1', nobody)
  await symlink('..data/ca-crl.pem', join(mount, 'ca-crl.pem'))
  const crls = await follow(t, join(mount, 'ca-crl.pem'))
  await publish(mount, 'v2', revoking)
  await until(crls.isRevoked)
  await publish(mount, 'v3', nobody)
  await until(() => !crls.isRevoked())
  t.equal(crls.changes(), 2, 'one change each')
})

t.test('no file revokes nobody until it is there; a file that goes leaves what it said', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  const crls = await follow(t, path)
  t.match(crls.warnings, [{ error: 'no such file' }])
  t.equal(await crls.failures(), 0, 'a mesh without lists raises no alarm')
  t.notOk(crls.isRevoked())
  await writeFile(path, revoking)
  await until(crls.isRevoked)
  await rm(path)
  await until(() => crls.warnings.length === 2)
  t.equal(await crls.failures(), 1, 'one whose list has gone does')
  t.ok(crls.isRevoked())
})

t.test('a folder that comes later, or is replaced, is found by looking again', async (t) => {
  const mount = join(await folder(t), 'later')
  const path = join(mount, 'crl.pem')
  const crls = await follow(t, path, 30)
  await mkdir(mount)
  await writeFile(path, revoking)
  await until(crls.isRevoked)
  await rename(mount, `${mount}.old`)
  await mkdir(mount)
  await writeFile(path, nobody)
  await until(() => !crls.isRevoked())
})

t.test('a file that is emptied to be written anew lifts nothing; one that stays empty does', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  await writeFile(path, revoking)
  const crls = await follow(t, path)
  t.ok(crls.isRevoked())
  let lifted = 0
  await writeFile(path, '')
  await until(() => {
    if (!crls.isRevoked()) lifted++
    return crls.changes() === 1
  })
  t.equal(lifted, 0)
  await until(() => !crls.isRevoked())
  t.equal(crls.changes(), 2)
})

t.test('a file without its CA’s signature is an alarm and changes nothing', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  await writeFile(path, revoking)
  const crls = await follow(t, path)
  t.ok(crls.isRevoked())
  await writeFile(path, crl({ by: root, revoked: [], forged: true }))
  await until(() => crls.warnings.length > 0)
  t.match(crls.warnings, [{ error: /without their CA's signature/ }])
  t.ok(crls.isRevoked())
})

t.test('a file beyond all measure is not even read', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  await writeFile(path, Buffer.alloc((4 << 20) + 1, 0x20))
  const crls = await follow(t, path)
  t.match(crls.warnings, [{ error: 'file too long' }])
})

t.test('a CA that divides its list says all of it: whoever is in any part is revoked', async (t) => {
  const path = join(await folder(t), 'crl.pem')
  for (const parts of [
    [nobody, revoking],
    [revoking, nobody],
  ]) {
    await writeFile(path, parts.join(''))
    const followed = await follow(t, path)
    t.ok(followed.isRevoked())
  }
})

t.test('neighbours of a watched file are no change, and nothing is told after the end', async (t) => {
  const mount = await folder(t)
  const path = join(mount, 'root.pem')
  await writeFile(path, 'a')
  const stop = new AbortController()
  let told = 0
  watchFile({ path, changed: () => told++, signal: stop.signal, debounceMs: 10 })
  await writeFile(join(mount, 'other.pem'), 'x')
  await writeFile(path, 'bb')
  await until(() => told === 1)
  stop.abort()
  let others = 0
  const other = new AbortController()
  t.teardown(() => other.abort())
  watchFile({ path, changed: () => others++, signal: other.signal, debounceMs: 10 })
  watchFile({ path, changed: () => told++, signal: stop.signal, debounceMs: 10 })
  await writeFile(path, 'ccc')
  await until(() => others === 1)
  t.equal(told, 1)
})

t.test('a clock that is set is noticed once, one that merely runs is not', async (t) => {
  let offset = 0
  let jumps = 0
  const now = () => performance.now() + offset
  using _watch = watchJumps({ now, monotonic: () => performance.now(), checkMs: 5 }, () => jumps++)
  offset = 1_000
  let looks = 0
  await until(() => ++looks > 10)
  t.equal(jumps, 0)
  offset = 86_400_000
  await until(() => jumps === 1)
  offset = -600_000
  await until(() => jumps === 2)
  looks = 0
  await until(() => ++looks > 10)
  t.equal(jumps, 2)
})
