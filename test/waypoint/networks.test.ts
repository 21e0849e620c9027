/** Endpoints of other networks: through their gateway, by a tunnel in a tunnel. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { ip, ipToBytes } from '#base'
import { HbonePool, type InboundTunnel, serveHbone } from '#hbone'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { createTestCa } from '../fakes/test-ca.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { waypointIn } from '../fakes/waypoint-in.ts'
import { dial, listen } from '../lib/hbone/support.ts'
import { idOf, upstreamOf, vip, webKey } from './kit.ts'

const network = 'here'
const never = new AbortController().signal
const bytes = (text: string) => Buffer.from(ipToBytes(ip(text)))

/** A waypoint here, an app on the network `far`, and the gateway between them, which looks at nothing. */
async function twoNetworks(t: Test, subjectAltNames: readonly string[]) {
  const ca = createTestCa()
  const asked: InboundTunnel[] = []
  const app = await upstreamOf(t, '127.0.0.1', ({ url }, response) => response.end(`far ${url}`))
  const served = (name: string, onTunnel: (tunnel: InboundTunnel) => void) =>
    listen(
      t,
      (socket) => void serveHbone(socket, { certificate: ca.workload(idOf(name)), signal: never, onTunnel }),
    )
  const far = await served('far', (tunnel) => {
    asked.push(tunnel)
    void dial({ address: ip('127.0.0.1'), port: app.port }).then((socket) => {
      tunnel.accept()
      return tunnel.forward(socket, never)
    })
  })
  const gateway = await served('gw', (tunnel) => {
    asked.push(tunnel)
    void dial(far).then((socket) => {
      tunnel.accept()
      return tunnel.forward(socket, never)
    })
  })
  const types = [
    addressTypeUrl,
    authorizationTypeUrl,
    targetedPolicyTypeUrl,
    serviceRoutesTypeUrl,
    waypointTelemetryTypeUrl,
  ]
  const running = await waypointIn({ ca, types, env: { ISTIO_META_NETWORK: network } })
  t.teardown(() => running[Symbol.asyncDispose]())
  const at = { network: 'far', address: bytes('127.0.0.1') }
  await running.push(addressTypeUrl, {
    ...workloadResource({ name: 'client', node: 'n1', network, addresses: ['127.0.0.1'] }),
    ...workloadResource({ name: 'gw', network: 'far', addresses: ['127.0.0.1'] }),
    ...workloadResource({
      name: 'web',
      network: 'far',
      services: { [webKey]: { 80: 8080 } },
      networkGateway: { hboneMtlsPort: gateway.port, destination: { $case: 'address', value: at } },
    }),
    ...serviceResource({
      name: 'web',
      network,
      vips: [vip],
      ports: { 80: 8080 },
      waypoint: '127.0.0.1',
      subjectAltNames: [...subjectAltNames],
    }),
  })
  const stop = new AbortController()
  const pool = new HbonePool({ signal: stop.signal })
  t.teardown(() => stop.abort())
  const { hbone: port } = running.waypoint.ports
  const tunnel = await pool.connect({
    key: {
      source: idOf('client'),
      expected: [idOf('waypoint')],
      to: { address: ip('127.0.0.1'), port },
      sourceIp: ip('127.0.0.1'),
    },
    certificate: async () => ca.workload(idOf('client')),
    dial: async () => {
      const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
      await once(socket, 'connect')
      return socket
    },
    authority: `${vip}:80`,
    headers: {},
    signal: AbortSignal.timeout(20_000),
  })
  const get = async (path: string) => {
    const stream = tunnel.duplex()
    stream.on('error', () => undefined)
    stream.write(`GET ${path} HTTP/1.1\r\nhost: web.demo\r\nconnection: close\r\n\r\n`)
    let text = ''
    for await (const part of stream) text += String(part)
    const [head = '', body = ''] = text.split('\r\n\r\n')
    return { status: Number(head.split(' ')[1]), body }
  }
  return { get, asked }
}

t.test(
  'an endpoint of another network is reached by its service’s name, at an id of the service',
  async (t) => {
    const { get, asked } = await twoNetworks(t, [idOf('far')])
    t.same(await get('/x'), { status: 200, body: 'far /x' })
    const [outer, inner] = asked
    t.equal(outer?.authority, 'web.demo.svc.cluster.local:80')
    t.equal(inner?.authority, 'web.demo.svc.cluster.local:80')
    t.equal(inner?.peer, idOf('waypoint'))
    t.equal(inner?.headers.get('x-forwarded-network'), network)
  },
)

t.test('whoever else answers there gets nothing', async (t) => {
  const { get, asked } = await twoNetworks(t, [idOf('somebody')])
  t.equal((await get('/x')).status, 503)
  t.ok(asked.every(({ peer, headers }) => peer === idOf('waypoint') && !headers.has('x-forwarded-network')))
})

t.test('where nothing says who answers nobody is asked', async (t) => {
  const { get, asked } = await twoNetworks(t, [])
  t.equal((await get('/x')).status, 503)
  t.equal(asked.length, 0)
})
