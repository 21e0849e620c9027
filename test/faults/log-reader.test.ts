import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from '../fakes/free-port.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { needsRoot } from '../fakes/two-nodes.ts'
import { call, echoIn, FaultWorld, type NodeOptions, quantile, report, traffic } from './fault-world.ts'

// R-28, row 46: the reader of the log stops, goes away, or its disk is full. Nobody's connection notices.

/** A small nursery: what RSS says is then what is held, not what V8 has not yet swept. */
const flags = ['--max-semi-space-size=1']
const maxGrowthBytes = 16 << 20
/** By how much two equal processes differ. */
const noiseBytes = 8 << 20
/** Two long lines each at debug level; more than a pipe and our backlog hold. */
const manyCalls = 4_500
const someCalls = 1_000

t.setTimeout(300_000)

async function freePorts() {
  return { admin: await freePort(), stats: await freePort(), readiness: await freePort() }
}

async function start(t: Test, prefix: string, node: NodeOptions = {}): Promise<FaultWorld> {
  const world = await FaultWorld.start(
    prefix,
    { ...node, flags, env: { RUST_LOG: 'debug', ...node.env } },
    { flags },
  )
  const app = await echoIn(world.server)
  t.teardown(async () => {
    app.close()
    await world[Symbol.asyncDispose]()
  })
  await many(world, 500)
  return world
}

/** That many calls, some at a time; the failures. */
async function many(world: FaultWorld, count: number): Promise<string[]> {
  const failures: string[] = []
  let left = count
  const worker = async () => {
    while (left-- > 0) {
      const result = await call(world.client)
      if (typeof result === 'string') failures.push(result)
    }
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  return failures
}

async function underLoad(t: Test, world: FaultWorld, row: string, calls: number): Promise<void> {
  const { ztunnel } = world.n1
  const twin = world.n2.ztunnel
  const before = [ztunnel.rssBytes, twin.rssBytes] as const
  const steady = traffic(world.client)
  const failures = await many(world, calls)
  await steady.stop()
  // Any V8 grows under load; what counts is the difference to the one whose log is read.
  const grown = ztunnel.rssBytes - before[0]
  const twinGrown = twin.rssBytes - before[1]
  const dropped = await ztunnel.metric('lateen_log_lines_dropped_total')
  t.same(
    Object.groupBy([...failures, ...steady.failures], (text) => text),
    {},
    '0 failed requests',
  )
  t.ok(ztunnel.alive)
  t.equal(await ztunnel.metric('lateen_bugs_total'), 0, 'and by plan, not by luck')
  t.ok(
    grown - twinGrown <= maxGrowthBytes + noiseBytes,
    `RSS has grown by ${grown} bytes, its twin's by ${twinGrown}`,
  )
  t.ok(dropped > 0, `${dropped} lines were dropped, and counted`)
  report(row, {
    calls,
    failed: failures.length,
    grown,
    twinGrown,
    dropped,
    p99: quantile(steady.latencies, 0.99),
  })
}

t.test('a reader that stops reading, and goes on', { skip: needsRoot }, async (t) => {
  const world = await start(t, 'flr')
  const { ztunnel } = world.n1
  ztunnel.child.stdout?.pause()
  await underLoad(t, world, 'log-stalled', manyCalls)
  const seen = ztunnel.lines.length
  ztunnel.child.stdout?.resume()
  await eventually(() => ztunnel.lines.length > seen, 'the log goes on')
  t.equal(typeof (await call(world.client)), 'number')
  await eventually(
    () => ztunnel.lines.some(({ message }) => message === 'lines dropped'),
    'and says that lines are missing',
  )
})

t.test('a reader that is gone', { skip: needsRoot }, async (t) => {
  const world = await start(t, 'flg')
  world.n1.ztunnel.child.stdout?.destroy()
  await underLoad(t, world, 'log-closed', someCalls)
})

t.test('a disk that is full', { skip: needsRoot }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lateen-log-'))
  t.teardown(() => rmdirSync(folder))
  const ports = await freePorts()
  // A mount of its own, which goes with the process.
  const script = `mount -t tmpfs -o size=1m none ${folder} && cd ${folder} && head -c 1000000 /dev/zero >fill && cd "$OLDPWD" && exec "$@" >${folder}/log`
  const world = await start(t, 'flf', {
    wrap: ['unshare', '--mount', 'sh', '-c', script, 'sh'],
    ports,
    env: {
      ADMIN_PORT: `${ports.admin}`,
      STATS_PORT: `${ports.stats}`,
      READINESS_PORT: `${ports.readiness}`,
    },
  })
  await underLoad(t, world, 'log-disk-full', someCalls)
})
