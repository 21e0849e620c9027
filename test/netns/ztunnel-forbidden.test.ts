import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import t from 'tap'
import { isIpv6, ip, messageOf } from '#base'
import { type Netns, openNetns, tcpSocket } from '#linux'
import { eventually } from '../fakes/mesh-world.ts'
import { serviceResource } from '../fakes/mesh.ts'
import { Recorder } from '../fakes/recorder.ts'
import { needsRoot, resourcesOf, twoNodes } from '../fakes/two-nodes.ts'

/**
 * Plain TCP to the ports of the mesh, from everywhere to everywhere: nothing reaches an app, nothing loops, and each is
 * over soon. Each row has a twin, the same call to a port of an app, which does arrive.
 */
const ports = [15001, 15006, 15008, 15053, 15080, 15000, 15020, 15021]
const appPort = 8080
/** Most take milliseconds; the machine may be busy. */
const limitMs = 20_000
const attack = 'ATTACK\r\n\r\n'

type Place = Readonly<{ name: string; v4: string; v6: string }>
type Row = Readonly<{ from: string; netns: Netns; to: string; host: string; port: number; twinPort: number }>

async function setUp(prefix: string) {
  const nodes = await twoNodes(prefix)
  const { world, client, server, stranger, n1, n2 } = nodes
  // The node that the pods are on: their default gateway.
  const fabric = world.network.fabric
  for (const address of ['10.99.0.254/24', 'fd99::fe/64'])
    execFileSync('ip', [
      '-n',
      fabric,
      'addr',
      'add',
      address,
      'dev',
      'br0',
      ...(address.includes(':') ? ['nodad'] : []),
    ])
  const node = { name: 'node', v4: '10.99.0.254', v6: 'fd99::fe', netns: openNetns(`/run/netns/${fabric}`) }
  const neighbour = world.network.pod('neighbour', 4)
  const recorder = new Recorder()
  for (const { netns, name } of [client, server, stranger, node])
    await recorder.listen(netns, name, [appPort])
  // What a pod has on its loopback is its own business.
  for (const address of ['127.0.0.1', '::1'])
    await recorder.listen(server.netns, 'loopback of server', [15000, 15020, 15021, 15080], address)
  // A service that leads to a port of the mesh.
  const evil = serviceResource({
    name: 'evil',
    vips: ['10.96.0.66', 'fd96::66'],
    ports: Object.fromEntries(ports.map((port) => [port, port])),
  })
  const server2 = resourcesOf(nodes, {
    services: {
      'demo/web.demo.svc.cluster.local': { 80: 8080 },
      'demo/evil.demo.svc.cluster.local': Object.fromEntries(ports.map((port) => [port, port])),
    },
  })
  for (const n of [n1, n2]) await n.push({ ...server2, ...evil })
  return {
    ...nodes,
    node,
    neighbour,
    recorder,
    end: async () => {
      recorder[Symbol.dispose]()
      node.netns[Symbol.dispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}

type Scene = Awaited<ReturnType<typeof setUp>>

function rowsOf({ client, server, stranger, node, neighbour }: Scene, family: 'v4' | 'v6'): Row[] {
  const localhost: Place = { name: 'localhost', v4: '127.0.0.1', v6: '::1' }
  const vip: Place = { name: 'its VIP', v4: '10.96.0.10', v6: 'fd96::10' }
  const evil: Place = { name: 'a service that leads there', v4: '10.96.0.66', v6: 'fd96::66' }
  const calls: [string, { netns: Netns }, readonly (readonly [Place, number])[]][] = [
    [
      'an enrolled pod',
      client,
      [
        [server, appPort],
        [client, appPort],
        [localhost, appPort],
        [node, appPort],
        [stranger, appPort],
        [vip, 80],
        [evil, 0],
      ],
    ],
    [
      'the other enrolled pod',
      server,
      [
        [client, appPort],
        [server, appPort],
        [vip, 80],
      ],
    ],
    [
      'a pod outside',
      stranger,
      [
        [server, appPort],
        [client, appPort],
      ],
    ],
    ['another pod outside', neighbour, [[server, appPort]]],
    [
      'the node',
      node,
      [
        [server, appPort],
        [client, appPort],
      ],
    ],
  ]
  return calls.flatMap(([from, { netns }, targets]) =>
    targets.flatMap(([place, twinPort]) =>
      ports.map((port) => ({ from, netns, to: place.name, host: place[family], port, twinPort })),
    ),
  )
}

/** Connects, sends, says that it is done, and waits for the end; `bytes` came back. */
async function call(netns: Netns, host: string, port: number, text: string) {
  const socket = new Socket({
    fd: tcpSocket({ netns, family: isIpv6(ip(host)) ? 'ipv6' : 'ipv4' }),
    allowHalfOpen: true,
  })
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  const over = new Promise<string>((done) => {
    socket.once('end', () => done('ended'))
    socket.once('error', (error) => done(messageOf(error)))
    socket.once('close', () => done('closed'))
  })
  socket.connect({ host, port }, () => socket.end(text))
  const late = AbortSignal.timeout(limitMs)
  const outcome = await Promise.race([over, once(late, 'abort').then(() => 'still open')])
  socket.destroy()
  return { outcome, bytes: Buffer.concat(parts) }
}

for (const family of ['v4', 'v6'] as const)
  t.test(`the mesh's ports by plain TCP, IP${family}`, { skip: needsRoot }, async (t) => {
    const scene = await setUp(family === 'v4' ? 'zf4' : 'zf6')
    t.teardown(scene.end)
    const { recorder, n1, n2 } = scene
    const rows = rowsOf(scene, family)
    t.ok(rows.length >= 60, `${rows.length} rows`)
    for (const { from, netns, to, host, port } of rows) {
      const { outcome, bytes } = await call(netns, host, port, attack)
      const name = `from ${from} to ${to} (${host}) port ${port}: ${outcome}, ${bytes.length} bytes`
      // A TLS alert is what 15008 says to what is not TLS.
      const silent = bytes.length === 0 || (port === 15008 && bytes[0] === 0x15 && bytes.length === 7)
      t.ok(silent && outcome !== 'still open', name)
    }
    t.same(recorder.accepted, [], 'no app was connected')
    t.equal(recorder.received, '', 'no app got a byte')

    const twins = rows.filter(({ port, twinPort }) => port === ports[0] && twinPort > 0)
    for (const { from, netns, to, host, twinPort } of twins) {
      const { bytes } = await call(netns, host, twinPort, 'twin')
      t.equal(String(bytes), 'twin', `from ${from} to ${to} port ${twinPort} does arrive`)
    }
    t.equal(recorder.accepted.length, twins.length)
    t.notMatch(recorder.received, 'ATTACK')
    const lines = n1.lines.length + n2.lines.length
    t.ok(lines < 4 * (rows.length + twins.length), `no storm of log lines: ${lines}`)
    await eventually(
      () => [n1, n2].every(({ ztunnel }) => ztunnel.readiness.waitingFor.length === 0),
      'both are well',
    )
  })
