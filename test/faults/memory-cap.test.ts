import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import t from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn, listenIn } from '../fakes/pod-net.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, report, traffic, vip } from './fault-world.ts'

// R-27, row 45: a process that may have 256 MiB, and peers that make it hold as much as they can. The kernel kills nobody.

const capBytes = 256 << 20
/** Windows as wide as an operator may set them, so that the adaptive ones and the budget for all are what keeps the memory. */
const wide = { HTTP2_STREAM_WINDOW_SIZE: `${16 << 20}`, HTTP2_CONNECTION_WINDOW_SIZE: `${1 << 30}` }
/** Readers read for so long, to be given wide windows, and then stop. */
const eagerMs = 3_000
/** Tunnels whose reader has stopped, in each direction, and tunnels that only stand there. */
const stuck = 24
const idle = 500
const talkPort = 9_000
const deafPort = 9_001
t.setTimeout(300_000)

/** A memory cgroup of the machine's kind, v1 or v2; undefined where none can be made. */
function cgroup(name: string) {
  const v1 = existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes')
  const path = v1 ? `/sys/fs/cgroup/memory/${name}` : `/sys/fs/cgroup/${name}`
  const file = (of: string) => `${path}/${of}`
  try {
    mkdirSync(path)
    writeFileSync(file(v1 ? 'memory.limit_in_bytes' : 'memory.max'), `${capBytes}`)
  } catch {
    return undefined
  }
  return {
    wrap: ['sh', '-c', `echo $$ >${file('cgroup.procs')} && exec "$@"`, 'sh'],
    highest: () => Number(readFileSync(file(v1 ? 'memory.max_usage_in_bytes' : 'memory.peak'), 'utf8')),
    kills: () =>
      Number(
        /oom_kill (\d+)/.exec(readFileSync(file(v1 ? 'memory.oom_control' : 'memory.events'), 'utf8'))?.[1] ??
          0,
      ),
    remove: () => rmdirSync(path),
  }
}

const groups = needsRoot === false ? [1, 2].map((n) => cgroup(`lateen-fault-${process.pid}-${n}`)) : []
const [first, second] = groups
const skip = needsRoot || (!(first && second) && 'no memory cgroup can be made here')

t.test('peers that never read, in 256 MiB', { skip }, async (t) => {
  if (!first || !second) return
  t.teardown(() => {
    first.remove()
    second.remove()
  })
  const flags = ['--max-semi-space-size=4']
  const env = { ...wide, HBONE_BUFFER_MB: process.env['FAULT_BUFFER_MB'] ?? '48' }
  const world = await FaultWorld.start(
    'fmc',
    { wrap: first.wrap, flags, env },
    { wrap: second.wrap, flags, env },
  )
  const stopLater = (socket: Socket) => {
    socket.on('error', () => undefined)
    socket.resume()
    setTimeout(() => socket.pause(), eagerMs).unref()
  }
  const part = Buffer.alloc(256 << 10, 7)
  const pour = (socket: Socket) => {
    socket.on('error', () => undefined)
    const more = () => {
      while (!socket.destroyed && socket.write(part));
    }
    socket.on('drain', more)
    more()
  }
  const apps = [
    await echoIn(world.server),
    await listenIn(world.server.netns, talkPort, pour),
    await listenIn(world.server.netns, deafPort, (socket) => stopLater(socket)),
  ]
  const sockets: Socket[] = []
  t.teardown(async () => {
    for (const app of apps) app.close()
    for (const socket of sockets) socket.destroy()
    await world[Symbol.asyncDispose]()
  })
  const many = (count: number, port: number, then: (socket: Socket) => void) =>
    Promise.allSettled(
      Array.from({ length: count }, async () => {
        const socket = await connectIn(world.client.netns, port === 80 ? vip : world.server.v4, port)
        socket.on('error', () => undefined)
        sockets.push(socket)
        then(socket)
      }),
    )
  const steady = traffic(world.client)
  await many(idle, 80, (socket) => void socket.write('x'))
  await many(stuck, talkPort, stopLater)
  await many(stuck, deafPort, pour)
  await new Promise((done) => setTimeout(done, 5_000))
  await steady.stop()

  const nodes = [world.n1.ztunnel, world.n2.ztunnel]
  const figures = {
    idle,
    stuck: 2 * stuck,
    highest: [first.highest(), second.highest()],
    kills: [first.kills(), second.kills()],
    calls: steady.latencies.length,
    failed: steady.failures.length,
    resets: sockets.filter(({ destroyed }) => destroyed).length,
  }
  report('mem-cap', figures)
  t.same(figures.kills, [0, 0], 'the kernel has killed nobody')
  for (const node of nodes) t.ok(node.alive)
  for (const socket of sockets) socket.destroy()
  const released = performance.now()
  await eventually(
    async () => typeof (await call(world.client, vip, 80, 2_000)) === 'number',
    'service again',
    30_000,
  )
  const recoveryMs = Math.round(performance.now() - released)
  t.ok(recoveryMs <= 30_000, `served again after ${recoveryMs} ms`)
  for (const node of nodes) {
    t.equal(await node.metric('lateen_bugs_total'), 0)
    t.equal(await node.metric('lateen_data_worker_deaths_total'), 0)
  }
})
