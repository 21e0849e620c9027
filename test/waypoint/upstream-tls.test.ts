import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { UpstreamTls } from '#routes'
import { createTestCa } from '../fakes/test-ca.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { policyOf, rule, scene } from './kit.ts'

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
  await s.route({ http: [rule()] }, [policyOf({ proxyProtocol: 'v2' })])
  t.match(await s.get('/'), { status: 503, body: /waypoints do not do PROXY headers$/ })
})
