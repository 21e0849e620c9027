import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import type { UpstreamTls } from '#routes'
import { createTestCa } from '../fakes/test-ca.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { policyOf, rule, scene, tcpUpstream, upstreamOf } from './kit.ts'

const ca = createTestCa()

async function httpsUpstream(t: Test) {
  const { certPem, keyPem } = ca.server() // for localhost
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) =>
    response.end(`${request.method} over TLS`),
  )
  server.listen(0, '127.0.0.2')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: '127.0.0.2', port: (server.address() as AddressInfo).port }
}

const simple: UpstreamTls = {
  mode: 'simple',
  sni: 'localhost',
  subjectAltNames: [],
  trust: { kind: 'pem', pem: ca.rootPem },
  insecureSkipVerify: false,
}

const cases: [title: string, tls: UpstreamTls, status: number][] = [
  ['a certificate of a root that is trusted, for the name that is wanted', simple, 200],
  ['another name', { ...simple, sni: 'elsewhere.example' }, 503],
  ['one of the names that are given', { ...simple, sni: 'x', subjectAltNames: ['a', 'localhost'] }, 200],
  ['none of them', { ...simple, subjectAltNames: ['a', 'b'] }, 503],
  ['roots of the machine, which do not know it', { ...simple, trust: { kind: 'system' } }, 503],
  ['nothing is verified', { ...simple, trust: { kind: 'system' }, insecureSkipVerify: true }, 200],
  ['a Secret, which we do not read', { ...simple, trust: { kind: 'secret', name: 's' } }, 503],
  ['a file that is not there', { ...simple, trust: { kind: 'file', path: '/nowhere/ca.pem' } }, 503],
]

for (const [title, tls, status] of cases)
  t.test(`TLS to the application: ${title}`, async (t) => {
    const a = await httpsUpstream(t)
    const s = await scene(t, { a })
    await s.route({ http: [rule()] }, [policyOf({ tls })])
    const got = await s.get('/')
    t.equal(got.status, status)
    if (status === 200) return void t.equal(got.body, 'GET over TLS')
    await eventually(() => s.lines().length === 1, 'it is logged')
    t.match(s.lines()[0], / 503 UF upstream_reset_before_response_started/)
  })

t.test('what we cannot do for a destination fails, and says so', async (t) => {
  const a = await httpsUpstream(t)
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [
    policyOf({ tunnel: { method: 'CONNECT', host: 'x.example', port: 443 } }),
  ])
  t.equal((await s.get('/')).status, 503)
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], /waypoints do not do requests through HTTP proxies/)
})

t.test('whoever calls by whatever name, the destination is asked for by one of its own', async (t) => {
  const { certPem, keyPem } = ca.server()
  const names: unknown[] = []
  const server = createServer({ cert: certPem, key: keyPem }, (request: IncomingMessage, response) => {
    response.end(String((request.socket as TLSSocket).servername))
  })
  server.on('secureConnection', (socket: TLSSocket) => names.push(socket.servername))
  server.listen(0, '127.0.0.2')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const s = await scene(t, { a: { address: '127.0.0.2', port: (server.address() as AddressInfo).port } })
  const { sni: _, ...unnamed } = simple
  const tls = { ...unnamed, insecureSkipVerify: true } as const
  await s.route({ http: [rule()] }, [policyOf({ tls })])
  const own = 'web.demo.svc.cluster.local'
  for (const host of [
    'evil.example',
    'evil2.example',
    `evil.${own}`,
    '127.0.0.1',
    own,
    `${own.toUpperCase()}.`,
  ])
    t.equal((await s.get('/', { headers: { host } })).body, own, host)
  t.strictSame(names, [own], 'by one connection')
  t.equal((await s.get('/', { headers: { host: 'web.demo' } })).body, 'web.demo')
  await s.route({ http: [rule()] }, [policyOf({ tls: { ...tls, sni: 'set.example' } })])
  t.equal((await s.get('/')).body, 'set.example')
  await s.route({ http: [rule({}, { rewrite: { authority: 'rules.example' } })] }, [policyOf({ tls })])
  t.equal((await s.get('/')).body, 'rules.example', 'a rule may say so')
})

t.test('what was opened by other settings is not used', async (t) => {
  const a = await httpsUpstream(t)
  const s = await scene(t, { a })
  const lax: UpstreamTls = { ...simple, trust: { kind: 'system' }, insecureSkipVerify: true }
  await s.route({ http: [rule()] }, [policyOf({ tls: lax })])
  t.equal((await s.get('/')).status, 200)
  await s.route({ http: [rule()] }, [policyOf({ tls: { ...lax, insecureSkipVerify: false } })])
  t.equal((await s.get('/')).status, 503, 'nobody has verified it')
})

t.test('what was opened past a proxy is not used once there is one', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  t.equal((await s.get('/')).status, 200)
  const refusing = await tcpUpstream(t, '127.0.0.3', (socket) => {
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
  })
  const tunnel = { method: 'CONNECT', host: refusing.address, port: refusing.port } as const
  await s.route({ http: [rule()] }, [policyOf({ tunnel })])
  t.equal((await s.get('/')).status, 503)
})
