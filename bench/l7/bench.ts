import { table } from '../stats.ts'
import type { Way } from './client.ts'
import { startEnvoy } from './envoy.ts'
import { lastPath } from './mesh.ts'
import { grpcPort } from './orders.ts'
import { bodies, capacity, type Effort, grpcCalls, paced, settledBytes, warmUp } from './rows.ts'
import { startTlsPeers } from './tls-peers.ts'
import { startWaypoint } from './waypoint.ts'
import { openWorld, type World } from './world.ts'

const l7Rows = ['memory', 'requests', 'latency', 'body', 'grpc', 'routes'] as const
type Row = (typeof l7Rows)[number]

type L7Options = Effort & Readonly<{ only: readonly string[] }>

/** A measured figure and what the project promises of it. */
type Figure = Readonly<{ name: string; measured: string; floor: string; holds: boolean | undefined }>

/** What the rows measure. */
type Scene = Readonly<{
  world: World
  effort: Effort
  ours: Way
  /** The same service's port for gRPC, and a service with a thousand routes, through the same waypoint. */
  oursGrpc: Way
  oursMany: Way
  envoy: Way | undefined
  others: readonly Way[]
  /** Requests per second that the waypoint can do; measured once. */
  capacity: () => ReturnType<typeof capacity>
}>

const say = (text: string) => process.stdout.write(`${text}\n`)
const mib = (bytes: number) => `${(bytes / (1 << 20)).toFixed(0)} MiB`
const ways = (...all: readonly (Way | undefined)[]) => all.filter((one) => one !== undefined)
/** Bodies take as long as they take. */
const maxBodies = 3

/** The waypoint as a process against Envoy with the same job, and nginx and haproxy with TLS in the place of HBONE. */
export async function benchL7({ only, ...effort }: L7Options): Promise<void> {
  const unknown = only.filter((name) => !l7Rows.some((row) => row === name))
  if (unknown.length > 0)
    throw new RangeError(`no row named ${unknown.join(', ')}; there is: ${l7Rows.join(', ')}`)
  const wanted = l7Rows.filter((row) => only.length === 0 || only.includes(row))
  await using world = await openWorld()
  const figures: Figure[] = wanted.includes('memory') ? [...(await memoryRow(world))] : []
  const timed = wanted.filter((row) => row !== 'memory')
  if (timed.length > 0) figures.push(...(await timedRows(world, effort, timed)))
  say(
    table([
      ['figure', 'measured', 'floor', 'holds'],
      ...figures.map(({ name, measured, floor, holds }) => [
        name,
        measured,
        floor,
        holds === undefined ? '-' : holds ? 'yes' : 'NO',
      ]),
    ]),
  )
}

async function timedRows(world: World, effort: Effort, wanted: readonly Row[]): Promise<readonly Figure[]> {
  await using stack = new AsyncDisposableStack()
  const waypoint = stack.use(await startWaypoint(world, { manyRoutes: true }))
  const envoy = await startEnvoy(world)
  if (typeof envoy === 'string') say(envoy)
  else stack.use(envoy)
  const others = await startTlsPeers(world)
  for (const one of others) stack.use(one)
  const ours = waypoint.way('web')
  const peer = typeof envoy === 'string' ? undefined : envoy
  const all = ways(ours, peer, ...others)
  await warmUp(all, effort)
  let measured: ReturnType<typeof capacity> | undefined
  const scene: Scene = {
    world,
    effort,
    ours,
    oursGrpc: waypoint.way('web', grpcPort),
    oursMany: { ...waypoint.way('many'), name: 'lateen, 1,000 routes' },
    envoy: peer,
    others,
    capacity: () => (measured ??= capacity(all, effort)),
  }
  const steps: Readonly<Record<Exclude<Row, 'memory'>, (scene: Scene) => Promise<readonly Figure[]>>> = {
    requests: requestsRow,
    latency: latencyRow,
    body: bodyRow,
    grpc: grpcRow,
    routes: routesRow,
  }
  const figures: Figure[] = []
  for (const row of wanted) if (row !== 'memory') figures.push(...(await steps[row](scene)))
  return figures
}

const idleFloor = 100 << 20
const fullFloor = 180 << 20

async function memoryRow(world: World): Promise<readonly Figure[]> {
  // The first start of a version compiles, and keeps it for those that follow.
  await (await startWaypoint(world))[Symbol.asyncDispose]()
  await using empty = await startWaypoint(world)
  await using filled = await startWaypoint(world, { manyRoutes: true, bystanders: 10_000 })
  const [idle, full] = await Promise.all([settledBytes(empty.pid), settledBytes(filled.pid)])
  return [
    {
      name: 'memory idle',
      measured: mib(idle),
      floor: `≤ ${mib(idleFloor)}`,
      holds: idle <= idleFloor,
    },
    {
      name: 'memory with 1,000 routes and 10,000 endpoints',
      measured: mib(full),
      floor: `≤ ${mib(fullFloor)}`,
      holds: full <= fullFloor,
    },
  ]
}

async function requestsRow(scene: Scene): Promise<readonly Figure[]> {
  const runs = await scene.capacity()
  const own = runs.get(scene.ours.name)?.perCore ?? Number.NaN
  say('\nHTTP/1.1 keep-alive, 1 KiB, 64 connections')
  say(
    table([
      ['', 'req/s per core', 'us CPU/req', 'req/s', 'p50 ms', 'p99 ms', 'lateen/this per core'],
      ...[...runs].map(([name, run]) => [
        name,
        run.perCore.toFixed(0),
        (1e6 / run.perCore).toFixed(1),
        run.rate.toFixed(0),
        run.p50.toFixed(2),
        run.p99.toFixed(2),
        (own / run.perCore).toFixed(2),
      ]),
    ]),
  )
  return ['envoy', 'nginx'].map((name) =>
    atLeast('requests/s per core', name, own, runs.get(name)?.perCore, 0.5),
  )
}

/** A figure that is to be some share of a peer's. */
function atLeast(name: string, peer: string, own: number, theirs: number | undefined, share: number): Figure {
  const floor = `≥ ${share} × ${peer}`
  if (theirs === undefined) return { name, measured: `no ${peer}`, floor, holds: undefined }
  const ratio = own / theirs
  return { name, measured: `${ratio.toFixed(2)} × ${peer}`, floor, holds: ratio >= share }
}

/** Half of what the slower of us and Envoy can do on this machine, which every way then gets. */
async function halfLoad({ capacity, ours, envoy }: Scene): Promise<number> {
  const runs = await capacity()
  return Math.min(...ways(ours, envoy).map(({ name }) => runs.get(name)?.rate ?? Number.NaN)) / 2
}

async function latencyRow(scene: Scene): Promise<readonly Figure[]> {
  const { ours, envoy, world, effort } = scene
  const rate = await halfLoad(scene)
  const runs = await paced(ways(world.direct, ours, envoy), effort, rate)
  const direct = runs.get(world.direct.name)
  const added = (way: Way | undefined, of: 'p50' | 'p99') =>
    (runs.get(way?.name ?? '')?.[of] ?? Number.NaN) - (direct?.[of] ?? 0)
  const figure = (of: 'p50' | 'p99', most: number): Figure => {
    const [own, theirs] = [added(ours, of), added(envoy, of)]
    return {
      name: `added latency ${of} at ${rate.toFixed(0)} req/s`,
      measured: `${own.toFixed(2)} ms${envoy ? `, ${(own / theirs).toFixed(2)} × envoy` : ''}`,
      floor: `≤ ${most} × envoy`,
      holds: envoy && own / theirs <= most,
    }
  }
  return [figure('p50', 1.5), figure('p99', 2)]
}

async function bodyRow({ ours, envoy, effort }: Scene): Promise<readonly Figure[]> {
  const repetitions = Math.min(effort.repetitions, maxBodies)
  const runs = await bodies(ways(ours, envoy), { ...effort, repetitions })
  for (const [name, { bytesPerSecond, cpuPerGib }] of runs)
    say(`1 GiB body, ${name}: ${mib(bytesPerSecond)}/s, ${cpuPerGib.toFixed(2)} s CPU`)
  const own = runs.get(ours.name)?.bytesPerSecond ?? Number.NaN
  return [atLeast('throughput of a 1 GiB body', 'envoy', own, runs.get('envoy')?.bytesPerSecond, 1)]
}

async function grpcRow({ oursGrpc, envoy, effort }: Scene): Promise<readonly Figure[]> {
  const runs = await grpcCalls(ways(oursGrpc, envoy), effort)
  for (const [name, { perCore }] of runs)
    say(`gRPC unary, ${name}: ${perCore.toFixed(0)} calls/s per core, ${(1e6 / perCore).toFixed(1)} us CPU`)
  const own = runs.get(oursGrpc.name)?.perCore ?? Number.NaN
  return [atLeast('gRPC unary calls/s per core', 'envoy', own, runs.get('envoy')?.perCore, 0.5)]
}

async function routesRow(scene: Scene): Promise<readonly Figure[]> {
  const { ours, oursMany, effort } = scene
  const rate = await halfLoad(scene)
  const runs = await paced([ours, oursMany], effort, rate, lastPath)
  const [one, many] = [runs.get(ours.name), runs.get(oursMany.name)]
  const ratio = (many?.p50 ?? Number.NaN) / (one?.p50 ?? Number.NaN)
  const cpu = (one?.perCore ?? Number.NaN) / (many?.perCore ?? Number.NaN)
  return [
    {
      name: '1,000 routes against 1, latency p50',
      measured: `${ratio.toFixed(2)} × (CPU ${cpu.toFixed(2)} ×)`,
      floor: '≤ 1.3 ×',
      holds: ratio <= 1.3,
    },
  ]
}
