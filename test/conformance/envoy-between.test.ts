import { once } from 'node:events'
import t from 'tap'
import { ip, type SocketAddress } from '#base'
import type { InboundTunnel, Transferred } from '#hbone'
import { spiffeId } from '#identity'
import { freePort } from '../fakes/free-port.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { completed, eventually, MeshWorld } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, talk } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { findEnvoy, type Folder, startEnvoy } from '../helpers/envoy.ts'
import { hboneCluster, originating, tcpCluster, terminating } from '../helpers/envoy-config.ts'
import {
  certificateOf,
  client,
  dial,
  idOf,
  never,
  noise,
  poolOf,
  readAll,
  serve,
  server,
} from '../lib/hbone/support.ts'
import { catching, echoApp, echoes, open, pingPong } from './envoy-kit.ts'

// An Envoy in the middle, as a waypoint: HBONE from us comes in, HBONE to us goes out.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
const path = 'binary' in found ? found.binary : ''

t.test('HbonePool, Envoy, serveHbone', { skip }, async (t) => {
  const waypoint = certificateOf(idOf('waypoint'))
  const done: Promise<Transferred>[] = []
  const start = async (t: Parameters<typeof serve>[0], to: SocketAddress) => {
    const forward = async (tunnel: InboundTunnel) => {
      const app = await dial(to)
      tunnel.accept()
      done.push(tunnel.forward(app, never))
    }
    const ours = await serve(t, (tunnel) => void forward(tunnel))
    // Must be known before Envoy starts.
    const inner = await freePort()
    const envoy = await startEnvoy(path, ({ log }) => ({
      listeners: [
        terminating({ name: 'in', own: waypoint, peers: [client.id], log: log('in'), to: 'inner' }),
        originating({
          name: 'inner',
          at: { address: '127.0.0.1', port: inner },
          cluster: 'out',
          authority: '10.0.0.1:80',
          log: log('out'),
        }),
      ],
      clusters: [
        tcpCluster('inner', { address: '127.0.0.1', port: inner }),
        hboneCluster({ name: 'out', own: waypoint, peers: [server.id], to: ours.address }),
      ],
    }))
    t.teardown(() => envoy[Symbol.asyncDispose]())
    const at = { address: ip('127.0.0.1'), port: envoy.port('in') }
    return { ours, tunnel: () => open(t, pool, at, '10.96.0.1:80', { key: keyTo(at) }) }
  }
  const keyTo = (to: SocketAddress) => ({
    source: client.id,
    expected: [waypoint.id],
    to,
    sourceIp: '127.0.0.1',
  })
  const pool = poolOf(t)

  await t.test('64 MiB, and 100 tunnels on one connection each', async (t) => {
    const { ours, tunnel } = await start(t, await echoApp(t))
    t.ok(await echoes((await tunnel()).app, 64 << 20), '64 MiB there and back')
    const all = await Promise.all(Array.from({ length: 100 }, tunnel))
    t.notOk((await Promise.all(all.map(({ app }) => echoes(app, 50_000)))).includes(false), '100 at once')
    t.equal(pool.connections, 1)
    t.equal(ours.connections.length, 1)
    t.equal(ours.tunnels[0]?.peer, waypoint.id)
  })

  await t.test('half-closes and resets', async (t) => {
    const apps = await catching(t)
    const { tunnel } = await start(t, apps.at)
    const first = await tunnel()
    const asked = await apps.next()
    first.app.end('question')
    t.equal(String(await readAll(asked)), 'question')
    asked.end(noise(500_000))
    t.equal((await readAll(first.app)).length, 500_000)
    const second = await tunnel()
    const greeter = await apps.next()
    greeter.end('greeting')
    t.equal(String(await readAll(second.app)), 'greeting')
    const third = await tunnel()
    const broken = await apps.next()
    broken.pipe(broken)
    t.equal(await pingPong(third.app, 'x'), 'x')
    const failed = once(third.app, 'error')
    broken.resetAndDestroy()
    t.match(await failed, [{ code: 'ECONNRESET' }], 'a reset comes through both hops')
  })
})

t.test('ztunnel, Envoy as the waypoint of a service, ztunnel', { skip: skip || needsRoot }, async (t) => {
  const world = new MeshWorld('ifw')
  t.teardown(() => world[Symbol.asyncDispose]())
  const pods = {
    client: world.network.pod('client', 1),
    server: world.network.pod('server', 2),
    waypoint: world.network.pod('waypoint', 3),
  }
  const id = (serviceAccount: string) =>
    spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })
  const app = await listenIn(pods.server.netns, 8080, (socket) => {
    socket.write(`${socket.remoteAddress?.replace('::ffff:', '')} `)
    socket.pipe(socket)
  })
  t.teardown(() => app.close())
  const own = world.ca.workload(id('waypoint'))
  const inner = { address: '127.0.0.1', port: 10_000 }
  const netns = `${world.network.fabric.slice(0, -'fab'.length)}waypoint`
  const configure = ({ log }: Folder) => ({
    listeners: [
      terminating({
        name: 'in',
        own,
        peers: [id('client')],
        log: log('in'),
        at: { address: pods.waypoint.v4, port: 15_008 },
        to: 'inner',
      }),
      originating({
        name: 'inner',
        at: inner,
        cluster: 'out',
        authority: `${pods.server.v4}:8080`,
        log: log('out'),
      }),
    ],
    clusters: [
      tcpCluster('inner', inner),
      hboneCluster({
        name: 'out',
        own,
        peers: [id('server')],
        to: { address: pods.server.v4, port: 15_008 },
      }),
    ],
  })
  const envoy = await startEnvoy(path, configure, netns)
  t.teardown(() => envoy[Symbol.asyncDispose]())

  const n1 = await world.node('n1')
  const n2 = await world.node('n2')
  for (const node of [n1, n2])
    await node.push({
      ...workloadResource({ name: 'client', node: 'n1', addresses: [pods.client.v4] }),
      ...workloadResource({ name: 'waypoint', node: 'n3', addresses: [pods.waypoint.v4] }),
      ...workloadResource({
        name: 'server',
        node: 'n2',
        addresses: [pods.server.v4],
        services: { 'demo/web.demo.svc.cluster.local': { 80: 8080 } },
      }),
      ...serviceResource({
        name: 'web',
        vips: ['10.96.0.10'],
        ports: { 80: 8080 },
        waypoint: pods.waypoint.v4,
      }),
    })
  for (const [node, pod] of [
    [n1, pods.client],
    [n2, pods.server],
  ] as const) {
    t.equal(await node.enrol(pod), '')
    pod.capture()
  }

  t.equal(
    await talk(await connectIn(pods.client.netns, '10.96.0.10', 80), 'hello'),
    `${pods.waypoint.v4} hello`,
    'there and back, and the app is reached through the waypoint',
  )
  const bytes = await connectIn(pods.client.netns, '10.96.0.10', 80)
  const greeting = once(bytes, 'data')
  await greeting
  t.ok(await echoes(bytes, 8 << 20), '8 MiB')
  await eventually(() => completed(n1).length === 2 && completed(n2).length === 2, 'the log lines')
  t.match(completed(n1)[0], {
    direction: 'outbound',
    'dst.addr': `${pods.waypoint.v4}:15008`,
    'dst.hbone_addr': '10.96.0.10:80',
    'dst.identity': id('waypoint'),
  })
  t.match(completed(n2)[0], { direction: 'inbound', 'src.identity': id('waypoint') })
  t.match(envoy.entries('in')[0], { peer: id('client'), authority: '10.96.0.10:80', tls: 'TLSv1.3' })
  t.match(envoy.entries('in')[0]?.['baggage'], /client/, "Envoy was told who asks, in Istio's baggage")
})
