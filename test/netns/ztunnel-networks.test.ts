import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { ip, messageOf } from '#base'
import { type InboundTunnel, serveHbone } from '#hbone'
import { spiffeId } from '#identity'
import { type AskHost } from '../../ztunnel/proxy/index.ts'
import { spawnInline } from '../../ztunnel/control/index.ts'
import { completed, eventually, MeshWorld } from '../fakes/mesh-world.ts'
import { gateway, serviceResource, workloadResource } from '../fakes/mesh.ts'
import { captureOn, connectIn, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'

const skip = needsRoot
const host = 'web.demo.svc.cluster.local'
const web = `demo/${host}`
const gw = 'demo/gw.demo.svc.cluster.local'
const idOf = (serviceAccount: string) =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })
const sanOf = (serviceAccount: string) => `spiffe://cluster.local/ns/demo/sa/${serviceAccount}`
/** Where the gateway's service port of 15009 ends. */
const gatewayPort = 15010

type Seen = Pick<InboundTunnel, 'authority' | 'peer' | 'headers'>

/** A gateway between networks: it ends the outer tunnel and passes on what is in it, to where `target` says. */
async function startGateway(world: MeshWorld, pod: PodNet, target: () => { host: string; port: number }) {
  const stop = new AbortController()
  const seen: Seen[] = []
  let passed = 0
  const pass = async (tunnel: InboundTunnel) => {
    seen.push(tunnel)
    const { host: to, port } = target()
    const onward = await connectIn(pod.netns, to, port)
    onward.on('error', () => undefined)
    tunnel.accept()
    const outer = tunnel.duplex()
    outer.on('error', () => onward.destroy())
    onward.on('close', () => outer.destroy())
    outer.on('data', (part: Buffer) => (passed += part.length))
    outer.pipe(onward).pipe(outer)
  }
  const server = await listenIn(pod.netns, gatewayPort, (socket) => {
    const certificate = world.ca.workload(idOf('gw'))
    serveHbone(socket, {
      certificate,
      signal: stop.signal,
      onTunnel: (tunnel) => void pass(tunnel).catch(() => tunnel.reset()),
    })
  })
  return { seen, passed: () => passed, close: () => (stop.abort(), server.close()) }
}

/** `client` on n1 of network east, `server` on n2 of network west; what n1 knows of the west is a gateway. */
async function twoNetworks(prefix: string, askHost?: AskHost) {
  const world = new MeshWorld(prefix)
  try {
    const client = world.network.pod('client', 1)
    const server = world.network.pod('server', 2)
    const between = world.network.pod('gateway', 3)
    const n1 = await world.node('n1', { NETWORK: 'east' }, (logs) => spawnInline(logs, undefined, askHost))
    const n2 = await world.node('n2', { NETWORK: 'west' })
    await n1.push(eastView(client, between))
    await n2.push({
      ...workloadResource({
        name: 'server',
        node: 'n2',
        network: 'west',
        addresses: [server.v4, server.v6],
        services: { [web]: { 80: 8080 } },
        locality: { region: 'west-1', zone: 'a', subzone: '' },
      }),
      ...serviceResource({ name: 'web', vips: ['10.97.0.10'], network: 'west', ports: { 80: 0 } }),
    })
    for (const [node, pod] of [
      [n1, client],
      [n2, server],
    ] as const) {
      const ack = await node.enrol(pod)
      if (ack !== '') throw new Error(ack)
      pod.capture()
    }
    return { world, n1, n2, client, server, between }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

const eastView = (client: PodNet, between: PodNet, san = sanOf('server'), gatewayAccount = 'gw') => ({
  ...workloadResource({ name: 'client', node: 'n1', network: 'east', addresses: [client.v4, client.v6] }),
  ...serviceResource({
    name: 'web',
    vips: ['10.96.0.10', 'fd96::10'],
    network: 'east',
    ports: { 80: 8080 },
    subjectAltNames: [san],
  }),
  ...workloadResource({
    name: 'far',
    uid: 'west/SplitHorizonWorkload/gw/demo/web',
    network: 'west',
    networkGateway: gateway(gw, 15009),
    services: { [web]: { 80: 8080 } },
  }),
  ...serviceResource({ name: 'gw', ports: { 15009: gatewayPort } }),
  ...workloadResource({
    name: 'gw',
    serviceAccount: gatewayAccount,
    network: 'west',
    addresses: [between.v4],
    services: { [gw]: { 15009: gatewayPort } },
  }),
})

const ask = async (client: PodNet, text: string, to = '10.96.0.10') => {
  try {
    return await talk(await connectIn(client.netns, to, 80), text)
  } catch (error) {
    return messageOf(error)
  }
}

t.test(
  'a service of another network: bytes both ways through its gateway, which cannot read them',
  { skip },
  async (t) => {
    const { world, n1, n2, client, server, between } = await twoNetworks('ztg')
    const marker = 'MARKER-between-networks-0123456789'
    const size = 1 << 20
    // After the client's end, not before: the digest of what came.
    const app = await listenIn(server.netns, 8080, (socket) => {
      const got = createHash('sha256')
      socket.on('data', (part: Buffer) => got.update(part))
      socket.on('end', () => socket.end(`${marker}${got.digest('hex')}`))
    })
    const middle = await startGateway(world, between, () => ({ host: server.v4, port: 15008 }))
    t.teardown(async () => {
      app.close()
      middle.close()
      await world[Symbol.asyncDispose]()
    })
    const capture = await captureOn(world.network.fabric)
    const blob = Buffer.concat([Buffer.from(marker), randomBytes(size)])
    const socket = await connectIn(client.netns, '10.96.0.10', 80)
    const parts: Buffer[] = []
    socket.on('data', (part: Buffer) => parts.push(part))
    const dump = async () => (await fetch(`http://127.0.0.1:${n1.ztunnel.ports.admin}/config_dump`)).text()
    await eventually(async () => (await dump()).includes('"protocol": "DOUBLEHBONE"'), 'as istioctl shows it')
    socket.end(blob)
    await once(socket, 'end', { signal: AbortSignal.timeout(30_000) })
    const digest = createHash('sha256').update(blob).digest('hex')
    t.equal(
      Buffer.concat(parts).toString(),
      `${marker}${digest}`,
      'the answer came after the end of the question',
    )
    t.notOk((await capture.stop()).includes(marker), 'and nowhere as plaintext')

    const [outer] = middle.seen
    t.equal(outer?.authority, `${host}:80`)
    t.equal(outer?.peer, sanOf('client'))
    t.notOk(outer?.headers.has('x-forwarded-network'), 'the gateway is not told the network')
    t.match(outer?.headers.get('forwarded'), `host=${host}`)
    t.ok(middle.passed() > size, `the gateway passed on ${middle.passed()} bytes`)
    await eventually(() => completed(n1).length === 1 && completed(n2).length === 1, 'a line each')
    t.match(completed(n1)[0], {
      level: 'info',
      'dst.addr': `${between.v4}:${gatewayPort}`,
      'dst.hbone_addr': `${host}:80`,
      'dst.service': host,
      'dst.workload': 'server',
      'dst.identity': sanOf('server'),
      bytes_sent: blob.length,
    })
    t.match(completed(n2)[0], {
      level: 'info',
      'dst.hbone_addr': `${host}:80`,
      'src.identity': sanOf('client'),
      direction: 'inbound',
    })
    const metrics = await n1.ztunnel.registry.metrics()
    t.match(metrics, /opened_total\{[^\n]*destination_workload="server"[^\n]*destination_region="west-1"/)
  },
)

t.test('who is not the service gets no byte, nor who is not the gateway', { skip }, async (t) => {
  const { world, n1, client, server, between } = await twoNetworks('zth')
  let connections = 0
  const app = await listenIn(server.netns, 8080, (socket) => {
    connections++
    socket.pipe(socket)
  })
  const middle = await startGateway(world, between, () => ({ host: server.v4, port: 15008 }))
  t.teardown(async () => {
    app.close()
    middle.close()
    await world[Symbol.asyncDispose]()
  })
  t.equal(await ask(client, 'x'), 'x', 'the service itself does')
  t.equal(connections, 1)
  await n1.push(eastView(client, between, sanOf('somebody-else')))
  t.notMatch(await ask(client, 'y'), 'y')
  t.equal(middle.seen.length, 2, 'the gateway was reached')
  await n1.push(eastView(client, between, sanOf('server'), 'not-the-gateway'))
  t.notMatch(await ask(client, 'z'), 'z')
  t.equal(middle.seen.length, 2, 'and now it was not')
  t.equal(connections, 1, 'the app has seen one connection')
  await eventually(() => completed(n1).length === 3, 'the lines')
  for (const line of completed(n1).slice(1))
    t.match(line, {
      level: 'error',
      bytes_sent: 0,
      bytes_recv: 0,
      reason: 'tls-failed',
      route: 'remote-endpoint',
    })
  t.match(await n1.ztunnel.registry.metrics(), /failed_total\{[^\n]*response_flags="TLS_FAILURE"[^\n]*\} 1/)
})

t.test(
  'the network of the source is told to the far end alone; a gateway that is down has another',
  { skip },
  async (t) => {
    const { world, n1, client, between } = await twoNetworks('ztj')
    const seen: Seen[] = []
    const stop = new AbortController()
    const certificate = world.ca.workload(idOf('server'))
    // The far end itself, in the gateway's pod.
    const end = await listenIn(between.netns, 15011, (socket) => {
      serveHbone(socket, {
        certificate,
        signal: stop.signal,
        onTunnel: (tunnel) => {
          seen.push(tunnel)
          tunnel.accept({ baggage: 'service.name=far-away' })
          const duplex: Duplex = tunnel.duplex()
          duplex.on('error', () => undefined)
          duplex.pipe(duplex)
        },
      })
    })
    const middle = await startGateway(world, between, () => ({ host: '127.0.0.1', port: 15011 }))
    t.teardown(async () => {
      stop.abort()
      end.close()
      middle.close()
      await world[Symbol.asyncDispose]()
    })
    // Nobody listens there, and it has nearly all of the weight.
    const down = {
      name: 'gw-down',
      serviceAccount: 'gw',
      network: 'west',
      addresses: [between.v4],
      services: { [gw]: { 15009: 9 } },
      capacity: 1_000_000,
    }
    await n1.push(workloadResource(down))
    t.equal(await ask(client, 'x', 'fd96::10'), 'x')
    t.equal(seen[0]?.authority, `${host}:80`)
    t.equal(seen[0]?.headers.get('x-forwarded-network'), 'east')
    t.match(seen[0]?.headers.get('baggage'), 'k8s.namespace.name=demo')
    t.match(seen[0]?.headers.get('forwarded'), `for="[${client.v6}]:`)
    t.equal(seen[0]?.peer, sanOf('client'))
    await eventually(() => completed(n1).length === 1, 'the line')
    t.match(completed(n1)[0], {
      'dst.workload': 'far-away',
      attempts: new RegExp(`^${between.v4}:9: .*ECONNREFUSED`),
    })
  },
)

t.test('names instead of addresses are asked for and counted, per connection', { skip }, async (t) => {
  let answer: string | undefined
  const asked: string[] = []
  const { world, n1, client, server, between } = await twoNetworks('ztl', async (name, family) => {
    asked.push(`${family} ${name}`)
    const known = answer !== undefined && family === 'ipv4' && name !== 'gone.example'
    return { addresses: known ? [ip(answer ?? '')] : [], ttlMs: 0 }
  })
  const app = await listenIn(server.netns, 8080, (socket) => socket.pipe(socket))
  const outside = await listenIn(between.netns, 5432, (socket) => socket.pipe(socket))
  const middle = await startGateway(world, between, () => ({ host: server.v4, port: 15008 }))
  t.teardown(async () => {
    app.close()
    outside.close()
    middle.close()
    await world[Symbol.asyncDispose]()
  })
  const db = 'demo/db.example'
  await n1.push({
    ...serviceResource({
      name: 'db',
      hostname: 'db.example',
      vips: ['10.96.0.11'],
      network: 'east',
      ports: { 80: 5432 },
    }),
    ...workloadResource({
      name: 'db',
      hostname: 'rds.example',
      network: 'east',
      tunnelProtocol: 0,
      services: { [db]: {} },
    }),
    ...workloadResource({ name: 'gw', hostname: 'lb.example', network: 'west', services: { [gw]: {} } }),
  })
  t.notMatch(await ask(client, 'x', '10.96.0.11'), 'x', 'nobody has the name')
  const failed = () => n1.lines.filter(({ message }) => message === 'connection failed')
  await eventually(() => failed().length === 1, 'the line')
  t.match(failed()[0], { error: /no ip addresses were resolved for rds.example/ })
  answer = between.v4
  // "There is none" is believed for a while: another name.
  await n1.push(
    workloadResource({
      name: 'db',
      hostname: 'rds2.example',
      network: 'east',
      tunnelProtocol: 0,
      services: { [db]: {} },
    }),
  )
  t.equal(await ask(client, 'x', '10.96.0.11'), 'x')
  t.equal(await ask(client, 'y', '10.96.0.11'), 'y')
  t.equal(await ask(client, 'z'), 'z', 'and the gateway by its name')
  t.same(asked, ['ipv4 rds.example', 'ipv6 rds.example', 'ipv4 rds2.example', 'ipv4 lb.example'])
  const gone = {
    name: 'gone',
    hostname: 'gone.example',
    network: 'east',
    tunnelProtocol: 0 as const,
    services: { [db]: {} },
    capacity: 1_000_000,
  }
  await n1.push(workloadResource(gone))
  t.equal(
    await ask(client, 'w', '10.96.0.11'),
    'w',
    'another endpoint than the one whose name has no address',
  )
  await eventually(() => completed(n1).length === 4, 'the line')
  t.match(completed(n1)[3], { attempts: /^Kubernetes..Pod.demo.gone: no ip addresses were resolved/ })
  const metrics = await n1.ztunnel.registry.metrics()
  t.match(
    metrics,
    /istio_on_demand_dns_total\{[^\n]*source_workload="client"[^\n]*hostname="rds2.example"[^\n]*\} 3/,
  )
  t.match(metrics, /istio_on_demand_dns_total\{[^\n]*hostname="lb.example"[^\n]*\} 1/)
})
