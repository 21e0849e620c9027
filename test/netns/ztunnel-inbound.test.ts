import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import t from 'tap'
import { ip, isIpv6 } from '#base'
import { spiffeId } from '#identity'
import { bindSocket, tcpSocket } from '#linux'
import { workload as wire } from '#wire'
import { H2Peer } from '../fakes/h2-peer.ts'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { connectIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot, resourcesOf, type TwoNodes, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const id = (serviceAccount: string) =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })
const web = 'demo/web.demo.svc.cluster.local'

/** An app of the pod on one address, that answers from where it was called, then what it was sent, in hexadecimal. */
async function appOn(pod: PodNet, address: string, port: number): Promise<Server> {
  const fd = tcpSocket({
    netns: pod.netns,
    family: isIpv6(ip(address)) ? 'ipv6' : 'ipv4',
    reuseAddress: true,
  })
  bindSocket(fd, { address: ip(address), port })
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const parts: Buffer[] = []
    socket.on('error', () => undefined)
    socket.on('data', (part: Buffer) => parts.push(part))
    socket.on('end', () => socket.end(`${socket.remoteAddress} ${Buffer.concat(parts).toString('hex')}`))
  })
  server.listen({ fd })
  await once(server, 'listening')
  return server
}

const peerOf = async ({ world, stranger }: TwoNodes, to: string) =>
  H2Peer.open(await connectIn(stranger.netns, to, 15008), world.ca.workload(id('stranger')))

const port = 15_088
const proxied = { applicationTunnel: { protocol: wire.ApplicationTunnel_Protocol.PROXY, port } }

/** What a PROXY header says, and what comes after it. */
function read(hex: string) {
  const bytes = Buffer.from(hex, 'hex')
  const length = bytes.readUInt16BE(14)
  const rest = bytes.subarray(16 + length).toString()
  const v6 = bytes[13] === 0x21
  const size = v6 ? 16 : 4
  const [source, destination] = [16, 16 + size].map((from) =>
    bytes.subarray(from, from + size).toString('hex'),
  )
  const port = bytes.readUInt16BE(16 + 2 * size + 2)
  const identity = bytes.subarray(16 + 2 * size + 4 + 3, 16 + length).toString()
  return { version: bytes[12], v6, source, destination, port, identity, rest }
}

t.test('an app that wants PROXY headers is told who called and what for', { skip }, async (t) => {
  const nodes = await twoNodes('zip')
  const { world, n2, server, stranger } = nodes
  const apps = await Promise.all(['127.0.0.1', '::1'].map((address) => appOn(server, address, port)))
  t.teardown(async () => {
    for (const app of apps) app.close()
    await world[Symbol.asyncDispose]()
  })
  await n2.push(resourcesOf(nodes, { ...proxied, services: { [web]: { 80: 8080 } } }))
  const hex = (address: string) => Buffer.from(address.split('.').map(Number)).toString('hex')
  using peer = await peerOf(nodes, server.v4)
  const ask = async (authority: string) => {
    const { status, body } = await peer.ask(authority, { early: 'early ', late: 'late' })
    const [from, text = ''] = body.split(' ')
    return { status, from, ...read(text) }
  }
  const identity = id('stranger')
  t.match(
    await ask('10.96.0.77:443'),
    {
      status: 200,
      from: '127.0.0.1',
      version: 0x21,
      v6: false,
      source: hex(stranger.v4),
      destination: hex('10.96.0.77'),
      port: 443,
      identity,
      rest: 'early late',
    },
    'an address is passed on as it was asked for; the app is dialled at loopback from loopback',
  )
  t.match(
    await ask('web.demo.svc.cluster.local:80'),
    { status: 200, destination: hex('10.96.0.10'), port: 80, identity, rest: 'early late' },
    'a name becomes the IPv4 address of its service',
  )
  using six = await peerOf(nodes, server.v6)
  const { body } = await six.ask('[fd96::77]:443', { late: 'x' })
  t.match(read(body.split(' ')[1] ?? ''), {
    v6: true,
    source: 'fd990000000000000000000000000003',
    port: 443,
    identity,
    rest: 'x',
  })
  t.match(body, /^::1 /)
  await eventually(() => completed(n2).length === 3, 'the log')
  t.match(
    completed(n2)[0],
    { bytes_recv: 'early late'.length, 'dst.hbone_addr': '10.96.0.77:443' },
    'the header is not the peer’s traffic',
  )
})

t.test('LOCALHOST_APP_TUNNEL=false: the app is dialled at the address of its pod', { skip }, async (t) => {
  const nodes = await twoNodes('ziq', { LOCALHOST_APP_TUNNEL: 'false' })
  const { world, n2, server, stranger } = nodes
  const app = await appOn(server, server.v4, port)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  await n2.push(resourcesOf(nodes, proxied))
  using peer = await peerOf(nodes, server.v4)
  const { status, body } = await peer.ask('10.96.0.77:443', { late: 'x' })
  t.equal(status, 200)
  const [from, text = ''] = body.split(' ')
  t.equal(from, stranger.v4, 'from the peer itself')
  t.match(read(text), { port: 443, rest: 'x' })
})

t.test('an application tunnel without PROXY is a port, and no header', { skip }, async (t) => {
  const nodes = await twoNodes('zir')
  const { world, n2, server } = nodes
  const app = await appOn(server, server.v4, port)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  await n2.push(
    resourcesOf(nodes, { applicationTunnel: { protocol: wire.ApplicationTunnel_Protocol.NONE, port } }),
  )
  using peer = await peerOf(nodes, server.v4)
  const { status, body } = await peer.ask('10.96.0.77:443', { late: 'plain' })
  t.equal(status, 200)
  t.equal(Buffer.from(body.split(' ')[1] ?? '', 'hex').toString(), 'plain')
})

t.test(
  'who a peer of another network says it is, is what metrics and log say; and we say who we are',
  { skip },
  async (t) => {
    const nodes = await twoNodes('zib')
    const { world, n2, server } = nodes
    const app = await echoIn(server)
    t.teardown(async () => {
      app.close()
      await world[Symbol.asyncDispose]()
    })
    const logging = `http://127.0.0.1:${n2.ztunnel.ports.admin}/logging?level=access=debug`
    await fetch(logging, { method: 'POST' })
    using peer = await peerOf(nodes, server.v4)
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const headers = {
      baggage: 'k8s.cluster.name=c2,k8s.namespace.name=far,k8s.deployment.name=shop,service.name=shop',
      traceparent,
    }
    const authority = `${server.v4}:8080`
    const near = await peer.ask(authority, { headers, late: 'x' })
    t.equal(
      near.headers['baggage'],
      'k8s.cluster.name=Kubernetes,k8s.namespace.name=demo,k8s.deployment.name=server,service.name=server,service.version=latest',
    )
    await peer.ask(authority, { headers: { ...headers, 'x-forwarded-network': 'net-2' }, late: 'x' })
    const refused = await peer.ask('10.0.0.1:1', { headers, late: 'x' })
    t.equal(refused.headers['baggage'], undefined, 'but not to whom we refuse')
    await eventually(() => completed(n2).length === 2, 'the log')
    const [first, second] = completed(n2)
    t.match(
      first,
      { 'src.namespace': undefined, 'src.cluster': undefined },
      'of our own network it is not believed',
    )
    t.match(second, {
      'src.workload': 'shop',
      'src.namespace': 'far',
      'src.cluster': 'c2',
      'src.identity': id('stranger'),
    })
    t.match(second, { id: traceparent }, 'the peer’s name of the connection')
    const metrics = await n2.ztunnel.registry.metrics()
    t.match(
      metrics,
      /connections_opened_total\{reporter="destination",source_workload="shop",.*source_cluster="c2"/,
    )
  },
)

t.test('ENABLE_RESPONSE_BAGGAGE=false: nothing is told, nothing believed', { skip }, async (t) => {
  const nodes = await twoNodes('zin', { ENABLE_RESPONSE_BAGGAGE: 'false' })
  const { world, n2, server } = nodes
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  using peer = await peerOf(nodes, server.v4)
  const headers = { baggage: 'service.name=shop', 'x-forwarded-network': 'net-2' }
  const { headers: answer } = await peer.ask(`${server.v4}:8080`, { headers, late: 'x' })
  t.equal(answer['baggage'], undefined)
  await eventually(() => completed(n2).length === 1, 'the log')
  t.match(completed(n2)[0], { 'src.workload': undefined })
})

t.test('CONNECTION_IDLE_TIMEOUT ends what stands still, and only that', { skip }, async (t) => {
  const { world, n2, client, server } = await twoNodes('zit', { CONNECTION_IDLE_TIMEOUT: '3s' })
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const still = await connectIn(client.netns, server.v4, 8080)
  const busy = await connectIn(client.netns, server.v4, 8080)
  busy.resume()
  const pulse = setInterval(() => busy.write('x'), 100)
  const stillOver = new Promise<void>((done) =>
    still
      .once('close', () => done())
      .once('end', () => done())
      .once('error', () => done()),
  )
  let busyOver = false
  busy.once('close', () => (busyOver = true))
  still.resume()
  await stillOver
  await new Promise((done) => busy.once('data', done))
  clearInterval(pulse)
  t.notOk(busyOver)
  await eventually(
    () => completed(n2).some(({ error }) => String(error).includes('nothing moved')),
    'the log says so',
  )
  t.match(completed(n2)[0], { reason: 'timeout' })
  t.equal(completed(n2).length, 1)
  still.destroy()
  t.equal(await talk(busy, ''), '', 'the busy one ends as it wants to')
})

t.test('keepalive on both ends of every connection, as configured', { skip }, async (t) => {
  const { execFileSync } = await import('node:child_process')
  const { world, client, server } = await twoNodes('zik', { KEEPALIVE_TIME: '77s', KEEPALIVE_INTERVAL: '5s' })
  const app = await echoIn(server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  const open = await connectIn(client.netns, server.v4, 8080)
  await once(open, 'data')
  const timers = (pod: PodNet, filter: string) =>
    execFileSync('nsenter', [
      `--net=/run/netns/${world.network.fabric.replace(/fab$/, pod.name)}`,
      'ss',
      '-Htno',
      ...filter.split(' '),
    ])
      .toString()
      .trim()
      .split('\n')
  for (const [name, pod, filter] of [
    ['accepted 15001', client, 'sport = :15001'],
    ['dialled 15008', client, 'dport = :15008'],
    ['accepted 15008', server, 'sport = :15008'],
  ] as const)
    t.match(timers(pod, filter), [/timer:\(keepalive,1min1/], name)
  open.destroy()
})
