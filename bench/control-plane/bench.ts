import { measureCa } from '../ca/bench.ts'
import { median, percentile, table } from '../stats.ts'
import { untilFresh } from './fresh.ts'
import { baseline } from './baseline.ts'
import {
  changeLatencies,
  churn,
  coldStart,
  openScene,
  openWorld,
  reconnect,
  type Scene,
  settledRss,
  type World,
} from './scene.ts'

type ControlPlaneOptions = Readonly<{
  pods: number
  services: number
  clients: number
  /** Of `rowNames`; empty for all. */
  only: readonly string[]
  repetitions: number
}>

/** A measured figure and what the project promises of it. */
type Figure = Readonly<{ name: string; measured: string; floor: string; holds: boolean }>

const rowNames = ['cold', 'memory', 'latency', 'reconnect', 'churn', 'growth', 'csr'] as const
type Row = (typeof rowNames)[number]

const mib = (bytes: number) => `${(bytes / (1 << 20)).toFixed(0)} MiB`
const floors = {
  coldMs: 20_000,
  rssBytes: 600 << 20,
  perPodBytes: 12 << 10,
  p50Ms: 20,
  p99Ms: 100,
  churnPerSecond: 100,
  churnSeconds: 60,
  reconnectBytes: 1 << 20,
  csrsPerSecond: 1_000,
} as const
const latencySamples = 400
/** Of the process that has seen the most of the mesh; its start is dear. */
const coldStarts = 3

const say = (text: string) => process.stdout.write(`${text}\n`)

/** The controller as a process of its own against a mesh that exists only in an API server, with clients that exist only as streams. */
export async function benchControlPlane(o: ControlPlaneOptions): Promise<void> {
  const unknown = o.only.filter((name) => !rowNames.some((row) => row === name))
  if (unknown.length > 0)
    throw new RangeError(`no row named ${unknown.join(', ')}; there is: ${rowNames.join(', ')}`)
  const wants = (row: Row) => o.only.length === 0 || o.only.includes(row)
  const figures: Figure[] = []
  if (wants('csr')) figures.push(await csrRow(o.repetitions))
  const inMesh = rowNames.filter((row) => row !== 'csr' && wants(row))
  if (inMesh.length > 0) figures.unshift(...(await meshRows(o, wants)))
  say(
    table([
      ['figure', 'measured', 'floor', 'holds'],
      ...figures.map(({ name, measured, floor, holds }) => [name, measured, floor, holds ? 'yes' : 'NO']),
    ]),
  )
}

async function meshRows(o: ControlPlaneOptions, wants: (row: Row) => boolean): Promise<readonly Figure[]> {
  const size = { pods: o.pods, services: o.services, nodes: Math.max(o.clients, 1) }
  await using world = await openWorld(size)
  say(`mesh: ${o.pods} pods, ${o.services} services, ${o.clients} clients`)
  const figures: Figure[] = []
  if (wants('cold')) {
    say(`baseline: ${await baseline(world)}`)
    for (const figure of await coldRow(world, o)) figures.push(figure)
  }
  await using scene = await openScene(world, { clients: o.clients })
  await coldStart(scene)
  const steps: readonly (readonly [Row, () => Promise<readonly Figure[]>])[] = [
    ['memory', () => memoryRow(scene)],
    ['latency', () => latencyRow(scene)],
    ['reconnect', () => reconnectRow(scene, o)],
    ['churn', () => churnRow(scene, o)],
    ['growth', () => growthRow(scene, o)],
  ]
  for (const [row, measure] of steps) if (wants(row)) figures.push(...(await measure()))
  return figures
}

async function coldRow(world: World, { clients }: ControlPlaneOptions): Promise<readonly Figure[]> {
  const runs: Awaited<ReturnType<typeof coldStart>>[] = []
  for (let i = 0; i < coldStarts; i++) {
    await using scene = await openScene(world, { clients })
    const run = await coldStart(scene)
    say(
      `cold start: ${(run.ms / 1000).toFixed(1)} s, ${run.cpuSeconds.toFixed(1)} s of CPU, ` +
        `${mib(run.rssBytes)} (peak ${mib(run.peakBytes)}), ${run.responses} responses, ${mib(run.bytes)} in all`,
    )
    runs.push(run)
  }
  const ms = median(runs.map((run) => run.ms))
  const cpu = median(runs.map((run) => run.cpuSeconds))
  return [
    {
      name: 'cold start to all clients synchronised',
      measured: `${(ms / 1000).toFixed(1)} s (${cpu.toFixed(1)} s CPU)`,
      floor: `≤ ${floors.coldMs / 1000} s`,
      holds: ms <= floors.coldMs,
    },
  ]
}

async function memoryRow(scene: Scene): Promise<readonly Figure[]> {
  const rss = await settledRss(scene)
  const { peakBytes } = scene.controller.usage()
  return [
    {
      name: 'resident memory of the controller',
      measured: `${mib(rss)} (peak ${mib(peakBytes)})`,
      floor: `≤ ${mib(floors.rssBytes)}`,
      holds: rss <= floors.rssBytes,
    },
  ]
}

async function latencyRow(scene: Scene): Promise<readonly Figure[]> {
  const latencies = await changeLatencies(scene, latencySamples)
  const [p50, p99] = [percentile(latencies, 0.5), percentile(latencies, 0.99)]
  return [
    {
      name: 'one pod changes → the last client has it, p50 / p99',
      measured: `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`,
      floor: `≤ ${floors.p50Ms} / ${floors.p99Ms} ms`,
      holds: p50 <= floors.p50Ms && p99 <= floors.p99Ms,
    },
  ]
}

async function reconnectRow(
  scene: Scene,
  { clients, repetitions }: ControlPlaneOptions,
): Promise<readonly Figure[]> {
  const runs: Awaited<ReturnType<typeof reconnect>>[] = []
  for (let i = 0; i < repetitions; i++) runs.push(await reconnect(scene))
  const perClient = median(runs.map(({ readBytes }) => readBytes)) / clients
  const sent = median(runs.map(({ writtenBytes }) => writtenBytes)) / clients
  return [
    {
      name: 'all clients reconnect, nothing changed: sent to each',
      measured: `${(perClient / 1024).toFixed(1)} KiB (each sends ${(sent / 1024).toFixed(0)} KiB)`,
      floor: `≤ ${floors.reconnectBytes / 1024} KiB`,
      holds: perClient <= floors.reconnectBytes,
    },
  ]
}

async function churnRow(scene: Scene, { clients }: ControlPlaneOptions): Promise<readonly Figure[]> {
  const { churnPerSecond, churnSeconds } = floors
  const run = await churn(scene, churnPerSecond, churnSeconds)
  const cores = run.cpuSeconds / run.seconds
  const freshMs = await untilFresh(scene, clients, 60_000)
  const half = run.samples.length >> 1
  const [first, second] = [run.samples.slice(0, half), run.samples.slice(half)]
  say(
    `churn: ${run.changes} changes in ${run.seconds.toFixed(1)} s, ${run.pushes} responses, ${mib(run.bytes)}; ` +
      `resident ${mib(median(first))} in the first half, ${mib(median(second))} in the second; ` +
      `all clients as fresh ${freshMs === undefined ? 'never' : `within ${freshMs.toFixed(0)} ms`}`,
  )
  return [
    {
      name: `${churnPerSecond} pod changes per second for ${churnSeconds} s: CPU`,
      measured: `${cores.toFixed(2)} cores`,
      floor: '≤ 1 core',
      holds: cores <= 1,
    },
    {
      name: 'after it: every client holds what a fresh computation gives',
      measured: freshMs === undefined ? 'no' : 'yes',
      floor: 'yes',
      holds: freshMs !== undefined,
    },
  ]
}

/** Twice the mesh: what a further pod costs, with the memory of the runtime in it. */
async function growthRow(scene: Scene, { clients }: ControlPlaneOptions): Promise<readonly Figure[]> {
  const { size, api } = scene.world
  const before = await settledRss(scene)
  await api.order('grow', { to: 2 * size.pods })
  const fresh = await untilFresh(scene, clients, 180_000)
  const after = await settledRss(scene)
  const perPod = (after - before) / size.pods
  say(`growth: ${mib(before)} → ${mib(after)}${fresh === undefined ? ', and not all clients have it' : ''}`)
  return [
    {
      name: 'further memory per further pod',
      measured: `${(perPod / 1024).toFixed(1)} KiB`,
      floor: `≤ ${floors.perPodBytes / 1024} KiB`,
      holds: perPod <= floors.perPodBytes,
    },
  ]
}

async function csrRow(repetitions: number): Promise<Figure> {
  const runs = await measureCa({ repetitions, seconds: 2 })
  const perCore = median(runs.map((run) => run.perCore))
  return {
    name: 'CSRs signed per second of CPU',
    measured: perCore.toFixed(0),
    floor: `≥ ${floors.csrsPerSecond}`,
    holds: perCore >= floors.csrsPerSecond,
  }
}
