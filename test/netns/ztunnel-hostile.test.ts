import { once } from 'node:events'
import { Socket } from 'node:net'
import t from 'tap'
import { ip, messageOf } from '#base'
import { HbonePool } from '#hbone'
import { spiffeId, type SpiffeId } from '#identity'
import { tcpSocket } from '#linux'
import { completed, eventually } from '../fakes/mesh-world.ts'
import { connectIn, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { needsRoot, type TwoNodes, twoNodes } from '../fakes/two-nodes.ts'

const skip = needsRoot
const id = (serviceAccount: string, trustDomain = 'cluster.local'): SpiffeId =>
  spiffeId({ trustDomain, namespace: 'demo', serviceAccount })

/** Counts what reaches the app of the server, on two ports. */
async function setUp(prefix: string, test: { teardown(fn: () => Promise<void>): unknown }) {
  const nodes = await twoNodes(prefix)
  const arrived: number[] = []
  const apps = await Promise.all(
    [8080, 9090].map((port) =>
      listenIn(nodes.server.netns, port, (socket) => {
        arrived.push(port)
        socket.pipe(socket)
      }),
    ),
  )
  test.teardown(async () => {
    for (const app of apps) app.close()
    await nodes.world[Symbol.asyncDispose]()
  })
  return { ...nodes, arrived }
}

const dialIn = async (pod: PodNet, host: string, port: number) => {
  const fd = tcpSocket({ netns: pod.netns, family: host.includes(':') ? 'ipv6' : 'ipv4' })
  const socket = new Socket({ fd, allowHalfOpen: true })
  socket.on('error', () => undefined)
  socket.connect({ host, port })
  await once(socket, 'connect', { signal: AbortSignal.timeout(20_000) })
  return socket
}

t.test('tunnels of a peer with a good certificate', { skip }, async (t) => {
  const { world, server, stranger, n2, arrived } = await setUp('zth', t)
  await using pool = new HbonePool({ signal: new AbortController().signal })
  const certificate = world.ca.workload(id('stranger'))
  const connect = (authority: string) =>
    pool
      .connect({
        key: {
          source: id('stranger'),
          expected: [id('server')],
          to: { address: ip(server.v4), port: 15008 },
          sourceIp: stranger.v4,
        },
        certificate: async () => certificate,
        dial: () => dialIn(stranger, server.v4, 15008),
        authority,
        headers: {},
        signal: AbortSignal.timeout(20_000),
      })
      .then(
        (tunnel) => {
          tunnel.reset()
          return '200'
        },
        (error: unknown) => /\d\d\d/.exec(messageOf(error))?.[0] ?? messageOf(error),
      )
  const cases: [string, string][] = [
    [`${server.v4}:8080`, '200'],
    ['web.demo.svc.cluster.local:80', '200'],
    [`${stranger.v4}:8080`, '400'],
    ['127.0.0.1:8080', '400'],
    ['[::1]:8080', '400'],
    [`[${server.v6}]:8080`, '400'],
    ['169.254.169.254:80', '400'],
    ['10.96.0.10:80', '400'],
    [`${server.v4}:15001`, '503'],
    [`${server.v4}:15006`, '503'],
    [`${server.v4}:15008`, '503'],
    [`${server.v4}:1`, '503'],
    ['elsewhere.example:80', '503'],
    ['web.demo.svc.cluster.local:81', '503'],
    ['nonsense', '400'],
  ]
  for (const [authority, want] of cases) t.equal(await connect(authority), want, authority)
  t.equal(arrived.length, 2, 'only what was accepted reached the app')
  const refused = n2.lines.filter(({ message, reason }) => message === 'connection failed' && reason)
  t.equal(refused.length, cases.length - 3, 'each early refusal has its line, with a reason')
  const reasons = new Set(refused.map(({ reason }) => reason))
  t.same(
    reasons,
    new Set(['ip-mismatch', 'self-call', 'unknown-hostname', 'no-target-port', 'bad-authority']),
  )
  const [failed] = completed(n2).filter(({ level }) => level === 'error')
  t.match(failed, { reason: 'connect-failed', 'dst.hbone_addr': `${server.v4}:1` }, 'as has a failed dial')
  t.equal((await n2.ztunnel.registry.metrics()).match(/^istio_tcp_connections_failed_total\{/gm)?.length, 1)
})

t.test('peers without a good certificate reach nothing, and harm nobody', { skip }, async (t) => {
  const { world, client, server, stranger, arrived, n2 } = await setUp('ztx', t)
  const attempt = async (certificate: ReturnType<typeof world.ca.workload>, expected: SpiffeId) => {
    await using pool = new HbonePool({ signal: new AbortController().signal })
    return pool
      .connect({
        key: {
          source: certificate.id,
          expected: [expected],
          to: { address: ip(server.v4), port: 15008 },
          sourceIp: stranger.v4,
        },
        certificate: async () => certificate,
        dial: () => dialIn(stranger, server.v4, 15008),
        authority: `${server.v4}:8080`,
        headers: {},
        signal: AbortSignal.timeout(20_000),
      })
      .then(
        () => 'a tunnel',
        (error: unknown) => `refused: ${messageOf(error)}`,
      )
  }
  const foreign = createTestCa().workload(id('client'))
  t.match(await attempt(foreign, id('server')), /refused/, 'a certificate of another root')
  const mixed = { ...foreign, rootsPem: [world.ca.rootPem] }
  t.match(await attempt(mixed, id('server')), /refused/, 'the same, by a peer that believes in our root')
  t.match(
    await attempt(world.ca.workload(id('client', 'other.domain')), id('server')),
    /refused/,
    'another trust domain',
  )
  t.match(
    await attempt(world.ca.workload(id('client')), id('somebody')),
    /refused/,
    'a peer that expects somebody else',
  )

  for (const noise of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00garbage'.repeat(50), '']) {
    const socket = await dialIn(stranger, server.v4, 15008)
    const closed = new Promise((done) => socket.once('close', done))
    socket.resume()
    socket.end(noise)
    await closed
  }
  t.pass('noise on 15008 is closed')
  t.equal(arrived.length, 0)
  const logged = n2.lines.filter(
    ({ scope, message }) => scope === 'access' && message === 'connection failed',
  )
  t.ok(logged.length >= 3, `${logged.length} early failures are logged`)
  t.equal(await talk(await connectIn(client.netns, server.v4, 8080), 'x'), 'x', 'the neighbour is served')
})

const targets = ({ client, server }: TwoNodes): [string, PodNet, string][] => [
  ['its own loopback', client, '127.0.0.1'],
  ['its own loopback, IPv6', client, '::1'],
  ['its own address', client, client.v4],
  ['its own address, IPv6', client, client.v6],
  ['another pod', client, server.v4],
]

t.test(
  'our ports, called from a captured pod or from outside, never loop and never reach an app',
  { skip },
  async (t) => {
    const nodes = await setUp('ztf', t)
    const { client, server, stranger, arrived, n1, n2 } = nodes
    const calls = [...targets(nodes), ['a pod, from outside', stranger, server.v4] as const]
    for (const [name, from, host] of calls) {
      for (const port of [15001, 15006, 15008]) {
        const outcome = await dialIn(from, host, port).then(
          async (socket) => {
            const closed = new Promise<string>((done) => socket.once('close', () => done('closed')))
            const data = new Promise<string>((done) =>
              socket.once('data', (part) => done(`answered ${part.length}`)),
            )
            socket.end('hello\r\n\r\n')
            const late = new Promise<string>((done) => setTimeout(() => done('still open'), 10_000).unref())
            const seen = await Promise.race([closed, data, late])
            socket.destroy()
            return seen
          },
          (error: unknown) => `refused ${messageOf(error)}`,
        )
        t.notMatch(outcome, /still open|answered (?!7$)/, `${name} ${port}: ${outcome}`)
      }
    }
    t.equal(arrived.length, 0)
    await eventually(
      () => [n1, n2].every(({ ztunnel }) => ztunnel.readiness.waitingFor.length === 0),
      'both are well',
    )
    t.ok(n1.lines.length + n2.lines.length < 100, 'and no storm of log lines')
    t.equal(await talk(await connectIn(client.netns, server.v4, 8080), 'x'), 'x')
  },
)

t.test(
  'a flood of garbage leaves few lines and their sum in the log, and a neighbour served',
  { skip },
  async (t) => {
    const { client, server, stranger, n2 } = await setUp('ztg', t)
    const flood = 400
    const garbage = async () => {
      const socket = await dialIn(stranger, server.v4, 15008)
      const closed = new Promise((done) => socket.once('close', done))
      socket.resume()
      socket.end('garbage\r\n\r\n')
      await closed
    }
    for (let i = 0; i < flood; i += 50) await Promise.all(Array.from({ length: 50 }, garbage))
    const summed = () =>
      n2.lines
        .filter(({ message }) => message === 'connections failed')
        .reduce((sum, { count }) => sum + Number(count), 0)
    const single = () =>
      n2.lines.filter(({ scope, message }) => scope === 'access' && message === 'connection failed')
    await eventually(() => single().length + summed() === flood, 'all of them are told')
    t.ok(single().length < 150, `${single().length} lines of their own`)
    t.match(single()[0], { reason: 'tls-failed', direction: 'inbound' })
    const metrics = await n2.ztunnel.registry.metrics()
    t.match(metrics, new RegExp(`lateen_access_log_suppressed_total ${summed()}`))
    t.notMatch(metrics, /istio_tcp_connections_opened_total\{/, 'and no series')
    t.equal(await talk(await connectIn(client.netns, server.v4, 8080), 'x'), 'x')
  },
)
