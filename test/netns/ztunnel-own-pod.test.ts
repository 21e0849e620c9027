import { once } from 'node:events'
import { createConnection, type Server } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { workloadResource } from '../fakes/mesh.ts'
import { connectIn, FakeNetwork, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, resourcesOf } from '../fakes/two-nodes.ts'
import { ControlPlane, NodeOfProcesses, type ZtunnelProcess } from '../fakes/ztunnel-process.ts'

const skip = needsRoot
t.setTimeout(300_000)

const identityOf = (name: string) => `spiffe://cluster.local/ns/demo/sa/${name}`

/** What listens on this machine's loopback is reached by the same port of the pod's own. */
function relay(pod: PodNet, address: string): Promise<Server> {
  const port = Number(address.split(':')[1])
  return listenIn(pod.netns, port, (socket) => {
    const onward = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true })
    onward.on('error', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  })
}

async function get(from: PodNet, host: string, port: number, path: string): Promise<string> {
  const socket = await connectIn(from.netns, host, port)
  socket.write(`GET ${path} HTTP/1.0\r\n\r\n`)
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  await once(socket, 'end', { signal: AbortSignal.timeout(20_000) })
  socket.destroy()
  return Buffer.concat(parts).toString()
}

async function isReady(pod: PodNet, ztunnel: ZtunnelProcess): Promise<boolean> {
  const port = ztunnel.port('readiness')
  return port !== undefined && (await get(pod, '127.0.0.1', port, '/healthz/ready')).endsWith('ready\n')
}

/** A ztunnel on a node of its own in its own pod, and a client and a server pod. */
async function setting(t: { teardown(fn: () => unknown): unknown }, prefix: string) {
  const plane = await ControlPlane.start()
  const network = new FakeNetwork(prefix)
  const [client, server, own] = [network.pod('client', 1), network.pod('server', 2), network.pod('own', 3)]
  plane.resources = {
    ...resourcesOf({ client, server }),
    ...workloadResource({ name: 'own', node: 'n3', addresses: [own.v4, own.v6] }),
  }
  const servers: Server[] = []
  const nodes: NodeOfProcesses[] = []
  const node = (name: string) => {
    const made = new NodeOfProcesses(plane, name)
    nodes.push(made)
    return made
  }
  t.teardown(async () => {
    for (const one of servers) one.close()
    for (const one of nodes) await one[Symbol.asyncDispose]()
    network[Symbol.dispose]()
    plane[Symbol.dispose]()
  })
  return { plane, client, server, own, servers, node }
}

t.test(
  'a sidecar: one workload, in its own namespace, without node agent, mark or impersonation',
  { skip },
  async (t) => {
    const { plane, client, server, servers, node } = await setting(t, 'zsc')
    servers.push(await echoIn(server), await echoIn(client))
    servers.push(await relay(client, plane.xdsAddress), await relay(client, plane.caAddress))
    plane.caller = identityOf('client')
    const n2 = node('n2')
    n2.add(server)
    await n2.start()
    server.capture()
    const sidecar = node('n1').startIn(client, {
      PROXY_MODE: 'dedicated',
      PROXY_WORKLOAD_INFO: 'demo/client/client',
      INPOD_UDS: '/nowhere.sock',
    })
    await eventually(() => isReady(client, sidecar), 'it is ready')
    client.captureForGroup(1337)
    t.equal(await talk(await connectIn(client.netns, server.v4, 8080), 'out'), `${client.v4} out`)
    t.equal(await talk(await connectIn(server.netns, client.v4, 8080), 'in'), `${client.v4} in`)
    const logged = () => sidecar.lines.filter(({ scope }) => scope === 'access')
    await eventually(() => logged().length >= 2, 'both are logged')
    t.match(logged(), [
      {
        direction: 'outbound',
        'src.identity': identityOf('client'),
        'dst.identity': identityOf('server'),
        'dst.hbone_addr': `${server.v4}:8080`,
      },
      { direction: 'inbound', 'src.identity': identityOf('server'), 'dst.identity': identityOf('client') },
    ])
    t.same(
      [...plane.impersonated],
      [
        [identityOf('server'), true],
        [identityOf('client'), false],
      ],
      'it asked for itself, and for nobody else',
    )
    t.equal(await sidecar.kill('SIGTERM'), 0)
  },
)

t.test('ztunnel’s own pod is reached through the mesh, with its own identity', { skip }, async (t) => {
  const { plane, client, own, servers, node } = await setting(t, 'zop')
  servers.push(await relay(own, plane.xdsAddress), await relay(own, plane.caAddress))
  const n1 = node('n1')
  n1.add(client)
  const at = node('n3').startIn(own, {
    POD_NAME: 'own',
    POD_NAMESPACE: 'demo',
    SERVICE_ACCOUNT: 'own',
    STATS_PORT: '15020',
  })
  await n1.start()
  client.capture()
  await eventually(() => isReady(own, at), 'it is ready')
  const metrics = await get(client, own.v4, 15020, '/metrics')
  t.match(metrics, /^HTTP\/1.1 200 /)
  t.match(metrics, 'istio_build')
  const logged = () => at.lines.filter(({ scope }) => scope === 'access')
  await eventually(() => logged().length > 0, 'it is logged')
  t.match(logged(), [
    {
      direction: 'inbound',
      'src.identity': identityOf('client'),
      'dst.identity': identityOf('own'),
      'dst.hbone_addr': `${own.v4}:15020`,
    },
  ])
  for (const port of [15001, 15006])
    await t.rejects(connectIn(own.netns, own.v4, port), { code: 'ECONNREFUSED' }, `${port} is for other pods`)
  t.equal(await at.kill('SIGTERM'), 0)
})
