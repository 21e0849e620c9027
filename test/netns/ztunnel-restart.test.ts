import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:net'
import t from 'tap'
import { ControlPlane, NodeOfProcesses } from '../fakes/ztunnel-process.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn, FakeNetwork, listenIn, type PodNet, talk } from '../fakes/pod-net.ts'
import { needsRoot, resourcesOf } from '../fakes/two-nodes.ts'

const skip = needsRoot
/** Restarts of each node's ztunnel; more by hand: RESTARTS=50. */
const rounds = Number(process.env['RESTARTS'] ?? 1)
t.setTimeout(120_000 + rounds * 30_000)

type Teardown = { teardown(fn: () => unknown): unknown }
type Setting = Readonly<{
  plane: ControlPlane
  network: FakeNetwork
  n1: NodeOfProcesses
  n2: NodeOfProcesses
  client: PodNet
  server: PodNet
  stranger: PodNet
}>

/** Two nodes whose ztunnels are processes; every pod as the node agent prepares it. */
async function setting(t: Teardown, prefix: string, env: Readonly<Record<string, string>> = {}) {
  const plane = await ControlPlane.start()
  const network = new FakeNetwork(prefix)
  const [client, server, stranger] = [
    network.pod('client', 1),
    network.pod('server', 2),
    network.pod('stranger', 3),
  ]
  plane.resources = resourcesOf({ client, server })
  const n1 = new NodeOfProcesses(plane, 'n1', env)
  const n2 = new NodeOfProcesses(plane, 'n2', env)
  n1.add(client)
  n2.add(server)
  const servers: Server[] = []
  t.teardown(async () => {
    for (const one of servers) one.close()
    await Promise.all([n1[Symbol.asyncDispose](), n2[Symbol.asyncDispose]()])
    network[Symbol.dispose]()
    plane[Symbol.dispose]()
  })
  servers.push(await listenIn(server.netns, 8080, (socket) => socket.pipe(socket)))
  const first = await Promise.all([n1.start(), n2.start()])
  for (const pod of [client, server]) {
    pod.capture()
    pod.migrateRequests()
  }
  return { plane, network, n1, n2, client, server, stranger, first }
}

/** New connections without a pause, one after the other, from `from`; each has to bring back what it sent. */
class Traffic {
  ok = 0
  readonly failures: string[] = []
  readonly #stop = new AbortController()
  readonly #loops: Promise<void>[]

  constructor(ways: readonly Readonly<{ name: string; from: PodNet; to: string }>[], perWay: number) {
    this.#loops = ways.flatMap((way) => Array.from({ length: perWay }, () => this.#loop(way)))
  }

  async #loop({ name, from, to }: { name: string; from: PodNet; to: string }): Promise<void> {
    for (let n = 0; !this.#stop.signal.aborted; n++) {
      const text = `${name} ${n}`
      const answer = await connectIn(from.netns, to, 8080)
        .then((socket) => talk(socket, text))
        .catch((error: unknown) => String(error))
      if (answer === text) this.ok++
      else this.failures.push(`${new Date().toISOString()} ${text}: ${answer || 'nothing came back'}`)
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
  }
}

const waysOf = ({ client, stranger, server }: Setting) => [
  { name: 'HBONE over IPv4', from: client, to: server.v4 },
  { name: 'HBONE over IPv6', from: client, to: server.v6 },
  { name: 'plaintext over IPv4', from: stranger, to: server.v4 },
  { name: 'plaintext over IPv6', from: stranger, to: server.v6 },
]

t.test('a restart loses no new connection, of any kind, on either side', { skip }, async (t) => {
  const s = await setting(t, 'zrn', { CONNECTION_TERMINATION_DEADLINE: '10s' })
  const traffic = new Traffic(waysOf(s), 2)
  t.teardown(() => traffic.stop())
  await eventually(() => traffic.ok > 50, 'traffic flows')
  const started = performance.now()
  const [before, current] = [traffic.ok, [...s.first]]
  for (let round = 0; round < rounds; round++)
    for (const [side, node] of [s.n1, s.n2].entries()) {
      const next = await node.start()
      t.equal(await current[side]?.kill('SIGTERM'), 0, 'the old one ends by itself')
      current[side] = next
      const seen = traffic.ok
      await eventually(() => traffic.ok > seen + 30, 'traffic goes on')
    }
  const seconds = (performance.now() - started) / 1_000
  const made = traffic.ok - before
  await traffic.stop()
  t.comment(`${made} connections in ${seconds.toFixed(1)} s, ${rounds * 2} restarts`)
  t.same(traffic.failures, [])
})

t.test(
  'what is open when it begins goes on, byte by byte, as long as the drain allows',
  { skip },
  async (t) => {
    const s = await setting(t, 'zrl', { CONNECTION_TERMINATION_DEADLINE: '20s' })
    const transfers = await Promise.all(
      [
        { from: s.client, to: s.server.v4 },
        { from: s.client, to: s.server.v6 },
        { from: s.stranger, to: s.server.v4 },
      ].map(({ from, to }) => transfer(from, to)),
    )
    const next = await Promise.all([s.n1.start(), s.n2.start()])
    const ended = s.first.map((one) => one.kill('SIGTERM'))
    await eventually(
      () => s.first.every(({ lines }) => lines.some(({ message }) => message === 'shutting down')),
      'both have heard',
    )
    const still = await connectIn(s.client.netns, s.server.v4, 8080).then((socket) => talk(socket, 'new'))
    t.equal(still, 'new', 'a new connection meanwhile')
    const over = Promise.race([...ended, Promise.resolve('no')])
    t.equal(await over, 'no', 'neither has gone while there is something to finish')
    for (const one of transfers) {
      const { sent, received, bytes } = await one.finish()
      t.ok(bytes > 1 << 20, `${bytes} bytes`)
      t.equal(received, sent)
    }
    t.same(await Promise.all(ended), [0, 0], 'and then both go')
    t.equal(next.length, 2)
  },
)

t.test('what does not end is ended at the deadline', { skip }, async (t) => {
  const s = await setting(t, 'zrd', { CONNECTION_TERMINATION_DEADLINE: '300ms' })
  const held = await connectIn(s.client.netns, s.server.v4, 8080)
  held.on('error', () => undefined)
  held.write('x')
  await once(held, 'data')
  const closed = t.rejects(once(held, 'end'), { code: 'ECONNRESET' }, 'no end, which it is not')
  held.resume()
  const [old] = s.first
  t.equal(await old?.kill('SIGTERM'), 0)
  await closed
  const last = old?.lines.filter(({ scope }) => scope === 'access')
  t.match(last, [{ message: 'connection complete', direction: 'outbound' }], 'with its line in the log')
})

/** A connection that sends random bytes until `finish`, and compares what was sent with what came back. */
async function transfer(from: PodNet, to: string) {
  const socket = await connectIn(from.netns, to, 8080)
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  let bytes = 0
  let going = true
  socket.on('data', (part: Buffer) => void received.update(part))
  const ended = once(socket, 'end', { signal: AbortSignal.timeout(60_000) })
  const sending = (async () => {
    while (going || bytes < 2 << 20) {
      const block = randomBytes(16_384)
      sent.update(block)
      bytes += block.length
      if (!socket.write(block)) await once(socket, 'drain')
      await new Promise((done) => setTimeout(done, 2))
    }
  })()
  return {
    finish: async () => {
      going = false
      await sending
      socket.end()
      await ended
      return { sent: sent.digest('hex'), received: received.digest('hex'), bytes }
    },
  }
}
