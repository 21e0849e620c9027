import { execFileSync } from 'node:child_process'
import t from 'tap'
import { type Ip, ip, type SocketAddress } from '#base'
import { bindSocket, closeFd, type Netns, udpSocket } from '#linux'
import { Registry, silent } from '#telemetry'
import { applyPodRules, type Backend, type PodRules, wire } from '../../cni/rules/index.ts'
import { type DnsContext, dnsMetrics, InFlight, maxInFlight, startDnsProxy } from '../../ztunnel/dns/index.ts'
import { MeshState, parseService } from '../../ztunnel/state/index.ts'
import { serviceWire } from '../fakes/mesh.ts'
import { MeshWorld } from '../fakes/mesh-world.ts'
import { resourcesOf } from '../fakes/two-nodes.ts'
import { until } from '../fakes/until.ts'
import { question, read, response } from '../ztunnel/dns/kit.ts'
import { root, World } from './cni-world.ts'
import { type Asked, askTcpIn, askUdpIn, nameserverIn, udpIn } from './dns-world.ts'

t.setTimeout(300_000) // many short programs, on machines that do other things too

const skip = !root && 'needs root'
const backends: Record<string, Backend> = {
  'iptables-nft': { kind: 'iptables', variant: 'nft' },
  'iptables-legacy': { kind: 'iptables', variant: 'legacy' },
  nftables: { kind: 'nftables' },
}
const rules: PodRules = {
  ipv6: true,
  dnsCapture: true,
  ingressMode: false,
  virtualInterfaces: [],
  phase: 'capture',
}
const signal = AbortSignal.timeout(300_000)
const pod = { name: 'client', namespace: 'demo', serviceAccount: 'client', uid: 'uid' }
const at53 = (address: string): SocketAddress => ({ address: ip(address), port: 53 })

function contextOf(nameserver: Ip, change: Partial<DnsContext> = {}): DnsContext {
  const state = new MeshState('n1')
  state.apply({ services: [parseService(serviceWire({ name: 'web', vips: ['10.96.0.80', 'fd96::80'] }))] })
  return {
    state,
    network: '',
    mark: wire.proxyMark,
    config: { domain: 'cluster.local', preferredNamespace: undefined, ipv6: true, address: undefined },
    resolvConf: () => ({ nameservers: [{ address: nameserver, port: 53 }], search: [] }),
    inFlight: new InFlight(maxInFlight),
    admission: { take: () => ({ [Symbol.dispose]: () => undefined }) },
    metrics: dnsMetrics(new Registry()),
    log: silent,
    random: Math.random,
    ...change,
  }
}

const answersOf = (reply: Buffer | undefined) => (reply ? read(reply).answers : ['no reply'])

for (const [name, backend] of Object.entries(backends)) {
  t.test(`a captured pod's DNS goes through its proxy, by ${name}`, { skip }, async (t) => {
    using world = new World(`dns-${name.slice(-4)}`)
    const { a, b, node } = world
    const place = { netns: a.netns, backend, signal }
    const seen: Asked[] = []
    const take = () => seen.splice(0)
    using _asked = await nameserverIn(b.netns, 'b', '9.9.9.9', seen)
    using _ours = await nameserverIn(node, 'node', '8.8.8.8', seen)
    await using _proxy = await startDnsProxy({ context: contextOf(ip('10.244.1.1')), pod, netns: a.netns })
    const transports = { udp: askUdpIn, tcp: askTcpIn }
    const families = [
      { v: 'IPv4', from: a.ipv4, server: at53(b.ipv4), type: 'A', vip: '10.96.0.80' },
      { v: 'IPv6', from: a.ipv6, server: at53(b.ipv6), type: 'AAAA', vip: 'fd96::80' },
    ]
    await applyPodRules(place, rules)

    for (const { v, from, server, type, vip } of families)
      for (const transport of ['udp', 'tcp'] as const) {
        const ask = transports[transport]
        const what = `${v}, ${transport}`
        const local = await ask(a.netns, server, question({ name: 'web', type }))
        t.same(
          answersOf(local),
          [`web ${type} ${vip}`],
          `${what}: answered, as if by the server that was asked`,
        )
        t.same(take(), [], `${what}: and nobody heard of it`)
        const other = await ask(a.netns, server, question({ name: 'example.org' }))
        t.same(answersOf(other), ['example.org A 9.9.9.9'], `${what}: the rest is forwarded to that server`)
        t.match(
          take(),
          [{ by: 'b', name: 'example.org', transport, from }],
          `${what}: from the pod's own address`,
        )
        const marked = await ask(
          b.netns,
          at53(v === 'IPv4' ? '10.244.1.1' : 'fd00:10:244:1::1'),
          question({ name: 'web' }),
        )
        t.same(answersOf(marked), ['web A 8.8.8.8'], `${what}: other pods are as before`)
        take()
      }

    await t.test('an A and an AAAA question of one socket, two hundred times', async (t) => {
      t.equal(await pairs(a.netns, at53(b.ipv4), 200), 400)
      const failed = insertFailed(world.run('a', 'cat', '/proc/net/stat/nf_conntrack'))
      t.equal(failed, 0, 'the kernel lost none to a race')
    })

    t.same(
      await both(a.netns, [at53(b.ipv4), at53('10.244.1.1')]),
      [`${b.ipv4} 9.9.9.9`, '10.244.1.1 8.8.8.8'],
      'asked at once from one socket, as musl does, each server is asked and answers',
    )
    take()

    await applyPodRules(place, { ...rules, phase: 'leaving' })
    for (const { v, server } of families) {
      const reply = await askUdpIn(a.netns, server, question({ name: 'web' }))
      t.same(answersOf(reply), ['web A 9.9.9.9'], `${v}: a pod that leaves asks for itself`)
    }
    await applyPodRules(place, { ...rules, dnsCapture: false })
    const direct = await askUdpIn(a.netns, at53(b.ipv4), question({ name: 'web' }))
    t.same(answersOf(direct), ['web A 9.9.9.9'], 'as does one whose DNS is not captured')
  })
}

/** Asks for both addresses from one unconnected socket, as the C library does; how many replies came. */
async function pairs(netns: Parameters<typeof udpIn>[0], to: SocketAddress, count: number): Promise<number> {
  const socket = udpIn(netns, 'ipv4')
  let replies = 0
  socket.on('message', () => replies++)
  try {
    for (let n = 0; n < count; n++) {
      socket.send(question({ name: 'web', type: 'A', id: 2 * n }), to.port, to.address)
      socket.send(question({ name: 'web', type: 'AAAA', id: 2 * n + 1 }), to.port, to.address)
      await until(() => replies === 2 * n + 2, `both replies of pair ${n}`)
    }
    return replies
  } finally {
    socket.close()
  }
}

/** One question to several servers from one socket; who answered what. */
async function both(
  netns: Parameters<typeof udpIn>[0],
  servers: readonly SocketAddress[],
): Promise<string[]> {
  const socket = udpIn(netns, 'ipv4')
  const replies: string[] = []
  socket.on('message', (bytes, from) =>
    replies.push(`${from.address} ${read(bytes).answers[0]?.split(' ').at(-1)}`),
  )
  try {
    for (const { address, port } of servers) socket.send(question({ name: 'example.org' }), port, address)
    await until(() => replies.length === servers.length, 'a reply of each')
    return replies.toSorted().toReversed()
  } finally {
    socket.close()
  }
}

function insertFailed(text: string): number {
  const [head = '', ...rows] = text.trim().split('\n')
  const column = head.trim().split(/\s+/).indexOf('insert_failed')
  return rows.reduce((sum, row) => sum + Number.parseInt(row.trim().split(/\s+/)[column] ?? '0', 16), 0)
}

t.test('without IPv6 on its loopback a pod has the IPv4 server alone', { skip }, async (t) => {
  using world = new World('dns-nov6')
  world.run('a', 'sysctl', '-qw', 'net.ipv6.conf.lo.disable_ipv6=1')
  await using _proxy = await startDnsProxy({
    context: contextOf(ip('10.244.1.1')),
    pod,
    netns: world.a.netns,
  })
  t.same(listening(world.a.netns), ['127.0.0.1:15053 tcp', '127.0.0.1:15053 udp'])
})

t.test(
  'two generations overlap; an address that another program has fails the start',
  { skip },
  async (t) => {
    using world = new World('dns-busy')
    const options = { context: contextOf(ip('10.244.1.1')), pod, netns: world.a.netns }
    await using first = await startDnsProxy(options)
    t.equal(listening(world.a.netns).length, 4)
    await using _second = await startDnsProxy(options)
    t.equal(listening(world.a.netns).length, 8)
    await first[Symbol.asyncDispose]()
    t.equal(listening(world.a.netns).length, 4)
    const squatter = udpSocket({ netns: world.b.netns, family: 'ipv6', v6only: true })
    bindSocket(squatter, { address: ip('::1'), port: 15053 })
    await t.rejects(startDnsProxy({ ...options, netns: world.b.netns }), /bind ::1 port 15053: EADDRINUSE/)
    t.same(listening(world.b.netns), ['[::1]:15053 udp'], 'what was opened before is closed again')
    closeFd(squatter)
  },
)

t.test('a pod that goes takes all its questions along, and leaves no socket', { skip }, async (t) => {
  using world = new World('dns-gone')
  const { a, b } = world
  const silent = udpIn(b.netns, 'ipv4', at53(b.ipv4))
  const context = contextOf(ip(b.ipv4))
  const proxy = await startDnsProxy({ context, pod, netns: a.netns })
  const asked = Array.from({ length: 20 }, (_, id) =>
    askUdpIn(a.netns, { address: ip('127.0.0.1'), port: 15053 }, question({ name: 'example.org', id }), 300),
  )
  const late: (() => void)[] = []
  silent.on('message', (bytes, from) =>
    late.push(() => silent.send(response(bytes, {}), from.port, from.address)),
  )
  await until(() => late.length === 20, 'the upstream has them all')
  await proxy[Symbol.asyncDispose]()
  t.equal(context.inFlight.count, 0)
  t.equal(world.run('a', 'ss', '-Hnua').match(/10\.244\.1\.6:53/g), null, 'no socket waits for an answer')
  for (const answer of late) answer()
  await Promise.all(asked)
  t.equal(
    world.run('a', 'ss', '-Hnuta').trim(),
    '',
    'the namespace is empty for whoever gets the address next',
  )
  silent.close()
})

t.test('no other user of the pod can take the questions of its proxy', { skip }, async (t) => {
  using world = new World('dns-thief')
  await using _proxy = await startDnsProxy({
    context: contextOf(ip('10.244.1.1')),
    pod,
    netns: world.a.netns,
  })
  const script = `import socket, os
os.setuid(65534)
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
  for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    thief = socket.socket(family, socket.SOCK_DGRAM)
    thief.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
      thief.bind((address, 15053))
      print('bound')
    except OSError as error:
      print(error.errno)`
  t.same(world.run('a', 'python3', '-c', script).trim().split('\n'), ['98', '98', '98', '98'])
})

/** The proxy's sockets in a namespace. */
function listening(netns: Netns): string[] {
  const args = [`--net=/proc/${process.pid}/fd/${netns.fd}`, 'ss', '-Hlntu']
  return execFileSync('nsenter', args, { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(/\s+/))
    .map(([kind = '', , , , address = '']) => `${address} ${kind}`)
    .filter((line) => line.includes('15053'))
    .toSorted()
}

t.test(
  'a whole ztunnel: its data workers share a pod’s questions, and count them as the pod’s',
  { skip },
  async (t) => {
    await using world = new MeshWorld('zdns')
    const client = world.network.pod('client', 1)
    const server = world.network.pod('server', 2)
    const node = await world.node('n1', { ZTUNNEL_WORKER_THREADS: '2' })
    await node.push(resourcesOf({ client, server }))
    t.equal(await node.enrol(client), '')
    await applyPodRules({ netns: client.netns, backend: { kind: 'nftables' }, signal }, rules)
    const seen: Asked[] = []
    using _upstream = await nameserverIn(server.netns, 'server', '9.9.9.9', seen)
    for (let id = 0; id < 40; id++)
      t.same(answersOf(await askUdpIn(client.netns, at53(server.v4), question({ name: 'web', id }))), [
        'web A 10.96.0.10',
      ])
    const other = await askUdpIn(client.netns, at53(server.v4), question({ name: 'example.org' }))
    t.same(answersOf(other), ['example.org A 9.9.9.9'])
    t.match(seen, [{ name: 'example.org', from: client.v4 }])
    const metrics = await node.ztunnel.registry.metrics()
    const labels =
      'request_query_type="A",request_protocol="udp",source_canonical_service="client",source_canonical_revision="latest"'
    t.match(metrics, `istio_dns_requests_total{${labels}} 41`)
    t.match(metrics, `istio_dns_upstream_requests_total{${labels}} 1`)
    t.equal(
      listening(client.netns).filter((line) => line === '127.0.0.1:15053 udp').length,
      2,
      'each worker has a socket of its own',
    )
    t.equal(await node.agent.del('uid-client'), '')
    await until(() => listening(client.netns).length === 0, 'all closed')
  },
)
