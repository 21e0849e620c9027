/** TLS to applications as policies may want it: whom we trust, who we are, and what is spoken in it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { connect, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type TlsOptions, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import type { UpstreamTls } from '#routes'
import { eventually } from '../fakes/mesh-world.ts'
import {
  certificate,
  crl,
  ext,
  freshKey,
  pemOfKey,
  rootOf,
  serialOf,
} from '../lib/identity/certificate-kit.ts'
import { policyOf, rule, scene } from './kit.ts'

const root = rootOf()
const leaf = (...names: (readonly [tag: number, text: string])[]) => {
  const key = freshKey()
  const extensions = [ext.leaf, ext.usage('sign'), ext.purpose('server', 'client'), ext.names(...names)]
  return { cert: certificate({ by: root, key, extensions }), key: pemOfKey(key) }
}
const directory = mkdtempSync(join(tmpdir(), 'lateen-upstream-tls-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

const server = leaf([2, 'app.example'], [6, 'spiffe://x/app'], [7, '\x7f\x00\x00\x02'])
const client = leaf([6, 'spiffe://x/client'])
const clientFiles = {
  kind: 'files',
  certificate: file('client.pem', client.cert),
  key: file('client.key', client.key),
} as const
const roots = file('root.pem', root.certPem)
const none = file('none.crl', crl({ by: root, revoked: [] }))
const revoked = file('revoked.crl', crl({ by: root, revoked: [serialOf(server.cert)] }))

async function listen(t: Test, made: Server) {
  made.listen(0, '127.0.0.2')
  await once(made, 'listening')
  t.teardown(() => made.close())
  return { address: '127.0.0.2', port: (made.address() as AddressInfo).port }
}

/** Says what certificate the client has, and answers as HTTP. */
const secured = (t: Test, options: TlsOptions = {}) =>
  listen(
    t,
    createServer({ ...server, ca: root.certPem, ...options }, (socket: TLSSocket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        const body = socket.getPeerCertificate().subjectaltname ?? 'nobody'
        socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      })
    }),
  )

const simple: UpstreamTls = {
  mode: 'simple',
  sni: 'app.example',
  subjectAltNames: [],
  trust: { kind: 'file', path: roots },
  insecureSkipVerify: false,
}
const asked: TlsOptions = { requestCert: true, rejectUnauthorized: true }

const cases: [title: string, tls: UpstreamTls, server: TlsOptions, status: number, body?: string][] = [
  ['roots of a file', simple, {}, 200, 'nobody'],
  ['a URI among the names', { ...simple, subjectAltNames: ['spiffe://x/app'] }, {}, 200],
  ['an address among the names', { ...simple, subjectAltNames: ['127.0.0.2'] }, {}, 200],
  ['only a part of a name', { ...simple, subjectAltNames: ['spiffe://x', 'app'] }, {}, 503],
  [
    'our certificate, which is asked for',
    { ...simple, mode: 'mutual', client: clientFiles },
    asked,
    200,
    'URI:spiffe://x/client',
  ],
  [
    'our certificate, which is not there',
    { ...simple, mode: 'mutual', client: { ...clientFiles, key: '/none' } },
    asked,
    503,
  ],
  [
    'a certificate from a Secret, which we do not read',
    { ...simple, mode: 'mutual', client: { kind: 'secret', name: 's' } },
    asked,
    503,
  ],
  ['no certificate of ours, though one is asked for', simple, asked, 503],
  ['a certificate that is not revoked', { ...simple, revocations: none }, {}, 200],
  ['one that is', { ...simple, revocations: revoked }, {}, 503],
  ['a list that is not there', { ...simple, revocations: '/none' }, {}, 503],
  ['nobody is trusted', { ...simple, trust: { kind: 'none', reason: 'unreadable' } }, {}, 503],
]
for (const [title, tls, options, status, body] of cases)
  t.test(`TLS to the application: ${title}`, async (t) => {
    const s = await scene(t, { a: await secured(t, options) })
    await s.route({ http: [rule()] }, [policyOf({ tls })])
    const got = await s.get('/')
    t.equal(got.status, status)
    if (body !== undefined) t.equal(got.body, body)
  })

t.test('a file that is renewed counts from the next connection on', async (t) => {
  const path = file('renewed.crl', crl({ by: root, revoked: [serialOf(server.cert)] }))
  const s = await scene(t, { a: await secured(t) })
  await s.route({ http: [rule()] }, [policyOf({ tls: { ...simple, revocations: path } })])
  t.equal((await s.get('/')).status, 503)
  file('renewed.crl', crl({ by: root, revoked: [] }))
  t.equal((await s.get('/')).status, 200)
})

t.test('HTTP/2 is agreed on in the handshake', async (t) => {
  const spoken: (string | false | null)[] = []
  const upstream = createSecureServer({ ...server, allowHTTP1: true }, (request, response) => {
    spoken.push((request.socket as TLSSocket).alpnProtocol)
    response.end()
  })
  const s = await scene(t, { a: await listen(t, upstream) })
  for (const http of ['http1', 'http2'] as const) {
    await s.route({ http: [rule()] }, [policyOf({ tls: simple, http })])
    t.equal((await s.get('/')).status, 200)
  }
  t.same(spoken, ['http/1.1', 'h2'])
})

t.test(
  'connections that are not HTTP get the same TLS, behind a PROXY header where that is asked for',
  async (t) => {
    const a = await secured(t, asked)
    const s = await scene(t, { a })
    const tls: UpstreamTls = { ...simple, mode: 'mutual', client: clientFiles }
    const talk = async () => {
      const socket = connect({ host: '127.0.0.1', port: await s.front() })
      socket.on('error', () => undefined)
      t.teardown(() => socket.destroy())
      let text = ''
      let ended = false
      socket.on('data', (part: Buffer) => void (text += part.toString('latin1')))
      for (const event of ['end', 'close']) socket.on(event, () => void (ended = true))
      socket.write('hello')
      await eventually(() => ended, 'it is over')
      return text
    }
    await s.route({ protocol: 'tcp' }, [policyOf({ tls })])
    t.match(await talk(), /URI:spiffe:\/\/x\/client$/)
    await s.route({ protocol: 'tcp' }, [policyOf({ tls: { ...tls, sni: 'other.example' } })])
    t.equal(await talk(), '')
    await s.route({ protocol: 'tcp' }, [policyOf({ tls, proxyProtocol: 'v1' })])
    t.equal(await talk(), '', 'a server that does not expect the header takes it for no TLS')
  },
)
