import { backoffMs, MeshError, messageOf, sleep } from '#base'
import type { SpiffeId, WorkloadCertificate } from '#identity'
import type { Netns } from '#linux'
import { countsOf, type Logger, type MetricRecord, type Readiness, sumMetrics } from '#telemetry'
import type { PodProxy, Role } from '../inpod/index.ts'
import { forgetWorker, type PodContext } from '../proxy/index.ts'
import type { Batch, ConnectionDump, WorkerStart } from '../worker/index.ts'
import { Attached } from './attached.ts'
import { PlacedPods } from './placed.ts'
import { HeldResources } from './resources.ts'
import type { Spawn } from './spawn.ts'
import type { WorkerMetrics } from './worker-metrics.ts'

export type WorkersOptions = Readonly<{
  count: number
  spawn: Spawn
  start: Omit<WorkerStart, 'index' | 'beat'>
  certificate: (id: SpiffeId) => Promise<WorkloadCertificate>
  readiness: Readiness
  metrics: WorkerMetrics
  log: Logger
  /** Between two looks at the workers' loops; shortened by tests. */
  checkMs?: number
}>

/** Name of the start-up task. */
const workersTask = 'data workers'
/** From birth to taking orders; a thread loads its code in about half a second. */
const bootMs = 30_000
/** For an answer about metrics or connections; a worker that is busier is left out, or shown as it was. */
const reportMs = 3_000
/** For the last lines of the log, at the end. */
const flushMs = 500
/** The first new life comes at once, those after it later and later. */
const respawn = { baseMs: 250, capMs: 10_000 }
/** A worker that lived this long was a good one. */
const settledMs = 60_000
const checkMs = 1_000
/**
 * Looks without a turn of its loop, a second each: after the first it counts as stalled, after the second it is ended.
 * To take in a mesh of 200 000 workloads takes some seconds, more on a busy machine, and must not be its end.
 */
const stalledAfter = 5
const hopelessAfter = 60

/** The data workers: brought to life, told of everything, and replaced when they die. */
export class Workers {
  readonly #options: WorkersOptions
  readonly #all: (Attached | undefined)[]
  /** Per worker: how many in a row did not live long. */
  readonly #deaths: number[]
  readonly #resources = new HeldResources()
  readonly #pods: PlacedPods
  readonly #stop = new AbortController()
  readonly #timer: NodeJS.Timeout
  /** What those counted that are gone: their sum, and those that are not in it yet. */
  readonly #retired: (readonly MetricRecord[])[] = []
  #folding: Promise<void> = Promise.resolve()

  constructor(options: WorkersOptions) {
    this.#options = options
    this.#all = Array.from({ length: options.count }, () => undefined)
    this.#deaths = this.#all.map(() => 0)
    this.#pods = new PlacedPods(() => this.#living(), options.log)
    this.#timer = setInterval(() => this.#check(), options.checkMs ?? checkMs).unref()
  }

  /** Resolves when every worker takes orders; rejects when one cannot be started, which is a fault of ours. */
  async start(): Promise<void> {
    this.#options.readiness.pending(workersTask)
    await Promise.all(this.#all.map((_, index) => this.#bringUp(this.#launch(index))))
  }

  /** Tells all workers of a change of the mesh. */
  publish(batch: Batch): void {
    const shared = this.#resources.apply(batch)
    for (const one of this.#living()) if (one.ready) one.feed.push(shared)
  }

  /** Takes over a pod in every worker; throws, and leaves nothing, when one of them cannot listen in it. */
  startPod(pod: PodContext['pod'], netns: Netns, role: Role = 'captured'): Promise<PodProxy> {
    return this.#pods.start(pod, netns, role)
  }

  renewed(certificate: WorkloadCertificate): void {
    for (const one of this.#living()) void one.link.ask('renewed', certificate).catch(ignore)
  }
  forgotten(id: SpiffeId): void {
    for (const one of this.#living()) void one.link.ask('forgotten', id).catch(ignore)
  }

  /** What every worker has counted, those that are gone included. */
  async metrics(): Promise<readonly (readonly MetricRecord[])[]> {
    await Promise.allSettled(
      this.#taking().map(async (one) => {
        one.metrics = await one.link.ask('metrics', undefined, reportMs)
      }),
    )
    return [...this.#retired, ...this.#living().map(({ metrics }) => metrics)]
  }

  /** Every open connection, by pod. A worker that does not answer is left out. */
  async connections(): Promise<readonly ConnectionDump[]> {
    const answers = await Promise.allSettled(
      this.#taking().map((one) => one.link.ask('connections', undefined, reportMs)),
    )
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  }

  /** From now on a worker that dies stays dead: we are leaving. */
  drain(): void {
    this.#stop.abort(new MeshError('draining', { message: 'shutting down' }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drain()
    clearInterval(this.#timer)
    // The last connections have ended just now; their lines are still there.
    await Promise.allSettled(this.#taking().map((one) => one.link.ask('flush-log', undefined, flushMs)))
    await Promise.all(this.#living().map((one) => one.stop()))
  }

  #living(): readonly Attached[] {
    return this.#all.filter((one) => one !== undefined && !one.gone) as Attached[]
  }
  #taking(): readonly Attached[] {
    return this.#living().filter(({ ready }) => ready)
  }

  #launch(index: number): Attached {
    const { spawn, start, certificate, log } = this.#options
    const one = new Attached({
      start: { ...start, index },
      spawn,
      certificate,
      outOfStep: (error) => {
        log.error('data worker is out of step', { worker: index, error: messageOf(error) })
        void one.stop()
      },
    })
    this.#all[index] = one
    void one.ended.then((reason) => this.#onEnded(one, reason))
    return one
  }

  /** Resources first, so that no pod is served by a worker that does not know the mesh. */
  async #bringUp(one: Attached): Promise<void> {
    try {
      await one.link.ask('ready', undefined, bootMs)
    } catch (error) {
      await one.stop()
      throw error
    }
    one.feed.push(...this.#resources.batches())
    one.ready = true
    await this.#pods.catchUp(one, this.#stop.signal)
    one.caughtUp = !one.gone
    this.#report()
  }

  async #onEnded(one: Attached, reason: string): Promise<void> {
    const { log, metrics, start } = this.#options
    one.link.close(new MeshError('unavailable', { message: `data worker ${one.index} is gone` }))
    forgetWorker(start.admission, one.index)
    this.#retired.push(countsOf(one.metrics))
    this.#folding = this.#folding.then(() => this.#fold())
    await this.#folding
    if (this.#stop.signal.aborted) return
    this.#report()
    metrics.died()
    log.error('data worker died, its connections are lost', { worker: one.index, reason })
    await this.#replace(one)
  }

  /** One at a time: two that die together are both counted. */
  async #fold(): Promise<void> {
    const all = [...this.#retired]
    const sum = await sumMetrics(all).getMetricsAsJSON()
    this.#retired.splice(0, all.length, sum)
  }

  async #replace(before: Attached): Promise<void> {
    const { signal } = this.#stop
    const settled = performance.now() - before.bornAt > settledMs
    const deaths = settled ? 1 : (this.#deaths[before.index] ?? 0) + 1
    this.#deaths[before.index] = deaths
    if (deaths > 1) await sleep(backoffMs(deaths - 1, respawn), signal).catch(ignore)
    if (signal.aborted) return
    await this.#bringUp(this.#launch(before.index)).catch(ignore) // its end is seen, and logged, by #onEnded
  }

  #check(): void {
    for (const one of this.#taking()) {
      const missed = one.missedBeats()
      if (missed === stalledAfter)
        this.#options.log.warn('data worker stalled', { worker: one.index, seconds: missed })
      one.stalled = missed >= stalledAfter
      if (missed >= hopelessAfter) void one.stop()
    }
    this.#report()
  }

  #report(): void {
    const { readiness, metrics, count } = this.#options
    const good = this.#living().filter(({ caughtUp, stalled }) => caughtUp && !stalled).length
    metrics.counts(good)
    if (good === count) readiness.done(workersTask)
    else readiness.pending(workersTask)
  }
}

const ignore = () => undefined
