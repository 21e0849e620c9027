import { setTimeout as delay } from 'node:timers/promises'
import { cpuSeconds, residentBytes } from '../process.ts'
import { median, percentile } from '../stats.ts'
import type { Way } from './client.ts'
import { grpcLoad } from './grpc.ts'
import { h1Body, h1Load, type Measured } from './h1-load.ts'

export type Effort = Readonly<{ repetitions: number; seconds: number }>

/** What a way did in one run, and what it cost its proxy. */
type Run = Readonly<{ rate: number; perCore: number; p50: number; p99: number }>

/** A run of a load that marks its beginning and its end; between them the proxy's CPU counts. */
async function costed({ pid }: Way, load: (mark: () => void) => Promise<Measured>): Promise<Run> {
  const marks: number[] = []
  const { requests, seconds, latencies } = await load(() => {
    marks.push(pid === undefined ? 0 : cpuSeconds(pid))
  })
  const [begin = 0, end = 0] = marks
  return {
    rate: requests / seconds,
    perCore: requests / (end - begin),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  }
}

const middle = (runs: readonly Run[]): Run => ({
  rate: median(runs.map(({ rate }) => rate)),
  perCore: median(runs.map(({ perCore }) => perCore)),
  p50: median(runs.map(({ p50 }) => p50)),
  p99: median(runs.map(({ p99 }) => p99)),
})

/** Each way in turn, and that several times, so that the machine's mood hits all; the middle of each way's runs. */
async function inTurns(
  ways: readonly Way[],
  { repetitions }: Effort,
  run: (way: Way) => Promise<Run>,
): Promise<ReadonlyMap<string, Run>> {
  const runs = new Map(ways.map(({ name }) => [name, [] as Run[]]))
  for (let i = 0; i < repetitions; i++) for (const way of ways) runs.get(way.name)?.push(await run(way))
  return new Map([...runs].map(([name, all]) => [name, middle(all)]))
}

const connections = 64
const path = '/api/v1/items?page=2'

/** What is compiled while it runs is as fast as it gets after so many requests; a busy machine takes longer for them. */
const warmRequests = 20_000
const maxWarmRuns = 5

export async function warmUp(ways: readonly Way[], { seconds }: Effort): Promise<void> {
  for (const way of ways) {
    let requests = 0
    for (let run = 0; run < maxWarmRuns && requests < warmRequests; run++)
      requests += (await h1Load(way, { path, connections, seconds })).requests
  }
}

/** As many requests as there are answers. */
export const capacity = (ways: readonly Way[], effort: Effort) =>
  inTurns(ways, effort, (way) =>
    costed(way, (mark) => h1Load(way, { path, connections, seconds: effort.seconds, mark })),
  )

/** So many requests per second, whatever the way could do. */
export const paced = (ways: readonly Way[], effort: Effort, rate: number, asked = path) =>
  inTurns(ways, effort, (way) =>
    costed(way, (mark) => h1Load(way, { path: asked, connections, seconds: effort.seconds, rate, mark })),
  )

export const grpcCalls = (ways: readonly Way[], effort: Effort) =>
  inTurns(ways, effort, (way) =>
    costed(way, (mark) => grpcLoad(way, { connections: 8, parallel: 8, seconds: effort.seconds, mark })),
  )

/** Bytes per second and CPU seconds per GiB of one body. */
export async function bodies(
  ways: readonly Way[],
  { repetitions }: Effort,
): Promise<ReadonlyMap<string, Readonly<{ bytesPerSecond: number; cpuPerGib: number }>>> {
  const gib = 1 << 30
  const runs = ways.map(({ name }) => ({ name, seconds: [] as number[], cpu: [] as number[] }))
  for (let i = 0; i < repetitions; i++)
    for (const [at, way] of ways.entries()) {
      const before = way.pid === undefined ? 0 : cpuSeconds(way.pid)
      runs[at]?.seconds.push(await h1Body(way, gib))
      if (way.pid !== undefined) runs[at]?.cpu.push(cpuSeconds(way.pid) - before)
    }
  return new Map(
    runs.map(({ name, seconds, cpu }) => [
      name,
      { bytesPerSecond: gib / median(seconds), cpuPerGib: cpu.length > 0 ? median(cpu) : 0 },
    ]),
  )
}

/** Until a process has given back what its start has left behind, with room to spare. */
const settleMs = 12_000

export async function settledBytes(pid: number): Promise<number> {
  await delay(settleMs)
  return residentBytes(pid)
}
