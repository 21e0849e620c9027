import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:net'
import t, { type Test } from 'tap'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { completed, eventually, MeshWorld, type WorldNode } from '../fakes/mesh-world.ts'
import { captureOn, connectIn, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { type RunningWaypoint, waypointIn } from '../fakes/waypoint-in.ts'

const skip = needsRoot
const marker = 'MARKER-of-plaintext-0123456789'
const vip = '10.96.0.10'
const waypointVip = '10.96.0.20'

type Scene = Readonly<{
  world: MeshWorld
  n1: WorldNode
  n2: WorldNode
  client: PodNet
  server: PodNet
  waypoint: RunningWaypoint
  access: () => RunningWaypoint['lines']
}>

/** `client` on n1, `server` on n2, and a waypoint that service web (10.96.0.10:80 → 8080) has. */
async function scene(t: Test, prefix: string): Promise<Scene> {
  const world = new MeshWorld(prefix)
  t.teardown(() => world[Symbol.asyncDispose]())
  const client = world.network.pod('client', 1)
  const server = world.network.pod('server', 2)
  const pod = world.network.pod('waypoint', 4)
  const [n1, n2] = [await world.node('n1'), await world.node('n2')]
  const types = [
    addressTypeUrl,
    authorizationTypeUrl,
    targetedPolicyTypeUrl,
    serviceRoutesTypeUrl,
    waypointTelemetryTypeUrl,
  ]
  const waypoint = await waypointIn({ ca: world.ca, types, pod, env: { ACCESS_LOG_FORMAT: 'off' } })
  t.teardown(() => waypoint[Symbol.asyncDispose]())
  const resources = {
    ...workloadResource({ name: 'client', node: 'n1', addresses: [client.v4] }),
    ...workloadResource({
      name: 'server',
      node: 'n2',
      addresses: [server.v4],
      services: { 'demo/web.demo.svc.cluster.local': { 80: 8080 } },
    }),
    ...workloadResource({
      name: 'waypoint',
      node: 'n1',
      addresses: [pod.v4],
      tunnelProtocol: 0,
      services: { 'demo/waypoint.demo.svc.cluster.local': { 15008: 15008 } },
    }),
    ...serviceResource({ name: 'web', vips: [vip], ports: { 80: 8080 }, waypoint: waypointVip }),
    ...serviceResource({ name: 'waypoint', vips: [waypointVip], ports: { 15008: 15008 } }),
  }
  await waypoint.push(addressTypeUrl, resources)
  for (const node of [n1, n2]) await node.push(resources)
  for (const [node, pod_] of [
    [n1, client],
    [n2, server],
  ] as const) {
    t.equal(await node.enrol(pod_), '')
    pod_.capture()
  }
  const access = () =>
    waypoint.lines.filter(({ scope, message }) => scope === 'access' && message === 'connection complete')
  return { world, n1, n2, client, server, waypoint, access }
}

const appIn = async (t: Test, pod: PodNet, onSocket: Parameters<typeof listenIn>[2]): Promise<Server> => {
  const app = await listenIn(pod.netns, 8080, onSocket)
  t.teardown(() => app.close())
  return app
}

t.test('a TCP service with a waypoint', { skip }, async (t) => {
  const { world, n1, n2, client, server, waypoint, access } = await scene(t, 'wptcp')
  await appIn(t, server, (socket) => {
    // A server that speaks first, and answers after its client has ended.
    socket.write('hello ')
    socket.pipe(socket)
  })
  t.same(waypoint.waypoint.readiness.waitingFor, [], 'is ready')
  const capture = await captureOn(world.network.fabric)

  t.equal(
    await talk(await connectIn(client.netns, vip, 80), marker),
    `hello ${marker}`,
    'bytes and half-close',
  )

  await eventually(() => access().length === 1 && completed(n2).length === 1, 'a log line each')
  const [line] = access()
  t.match(line, {
    level: 'info',
    'src.workload': 'client',
    'src.identity': 'spiffe://cluster.local/ns/demo/sa/client',
    'dst.addr': `${server.v4}:8080`,
    'dst.hbone_addr': `${vip}:80`,
    'dst.service': 'web.demo.svc.cluster.local',
    'dst.workload': 'server',
    direction: 'waypoint',
    bytes_sent: marker.length + 6,
    bytes_recv: marker.length,
  })
  t.match(completed(n1)[0], { 'dst.hbone_addr': `${vip}:80`, direction: 'outbound' })
  t.match(
    completed(n2)[0],
    { 'src.identity': 'spiffe://cluster.local/ns/demo/sa/waypoint', direction: 'inbound' },
    'the endpoint sees the waypoint',
  )
  const captured = await capture.stop()
  t.ok(captured.length > 1000, `${captured.length} bytes were captured`)
  t.notOk(captured.includes(marker), 'and none of them is the plaintext')

  const metrics = await waypoint.waypoint.registry.metrics()
  t.match(
    metrics,
    /istio_tcp_connections_opened_total\{reporter="waypoint",source_workload="client".*destination_workload="server".*destination_service="web\.demo\.svc\.cluster\.local".*\} 1/,
  )
  t.match(metrics, /istio_tcp_sent_bytes_total\{.*\} 36/)
})

t.test('a long stream arrives whole, both ways at once', { skip }, async (t) => {
  const { client, server } = await scene(t, 'wplong')
  await appIn(t, server, (socket) => void socket.pipe(socket))
  const block = randomBytes(1 << 20)
  const blocks = 24
  const [sent, got] = [createHash('sha256'), createHash('sha256')]
  const socket = await connectIn(client.netns, vip, 80)
  let bytes = 0
  socket.on('data', (part: Buffer) => {
    bytes += part.length
    got.update(part)
  })
  const ended = once(socket, 'end')
  for (let i = 0; i < blocks; i++) {
    sent.update(block)
    if (!socket.write(block)) await once(socket, 'drain')
  }
  socket.end()
  await ended
  socket.destroy()
  t.equal(bytes, blocks << 20)
  t.equal(got.digest('hex'), sent.digest('hex'))
})

t.test('what cannot be reached', { skip }, async (t) => {
  const { client, waypoint } = await scene(t, 'wpgone')
  // Nobody listens on the server's 8080.
  const socket = await connectIn(client.netns, vip, 80)
  const closed = Promise.withResolvers<void>()
  socket.on('error', () => undefined)
  socket.on('close', () => closed.resolve())
  await closed.promise
  const failed = () => waypoint.lines.filter(({ scope, level }) => scope === 'access' && level === 'error')
  await eventually(() => failed().length === 1, 'an error in the log')
  t.match(failed()[0], { 'dst.service': 'web.demo.svc.cluster.local', bytes_sent: 0 })
  t.match(
    await waypoint.waypoint.registry.metrics(),
    /istio_tcp_connections_closed_total\{.*response_flags="UF".*\} 1/,
  )
})
