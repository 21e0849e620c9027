import type { MetricRecord } from '#telemetry'
import { newBeat } from '../loop-delay.ts'
import { type ControlCalls, Link, type WorkerCalls, type WorkerStart } from '../worker/index.ts'
import { Feed } from './feed.ts'
import type { Spawn, Spawned } from './spawn.ts'

type AttachedOptions = Readonly<{
  start: Omit<WorkerStart, 'beat'>
  spawn: Spawn
  certificate: (id: ControlCalls['certificate']['ask']) => Promise<ControlCalls['certificate']['answer']>
  /** A change that the worker failed to apply: it is out of step with the others. */
  outOfStep: (error: unknown) => void
}>

/** One data worker as control sees it, from its birth to its end. */
export class Attached {
  readonly index: number
  readonly link: Link<ControlCalls, WorkerCalls>
  readonly feed: Feed
  readonly ended: Promise<string>
  readonly bornAt = performance.now()
  /** Takes orders. */
  ready = false
  /** Listens for every pod. */
  caughtUp = false
  gone = false
  /** Its loop does not turn. */
  stalled = false
  /** What it counted when it was last asked. */
  metrics: readonly MetricRecord[] = []
  readonly #beat = newBeat()
  readonly #spawned: Spawned
  #lastBeat = -1
  #missed = 0

  constructor({ start, spawn, certificate, outOfStep }: AttachedOptions) {
    this.index = start.index
    this.#spawned = spawn({ ...start, beat: this.#beat })
    this.link = new Link<ControlCalls, WorkerCalls>(this.#spawned.port, { certificate })
    this.feed = new Feed(
      (batches) => this.link.ask('resources', batches),
      (error) => {
        if (!this.gone) outOfStep(error)
      },
    )
    this.ended = this.#spawned.ended.then((reason) => {
      this.gone = true
      this.ready = false
      this.caughtUp = false
      return reason
    })
  }

  /** Looks, once per period, whether its loop has turned; returns for how many periods it has not. */
  missedBeats(): number {
    const [beat = 0] = new Int32Array(this.#beat)
    this.#missed = beat === this.#lastBeat ? this.#missed + 1 : 0
    this.#lastBeat = beat
    return this.#missed
  }

  stop(): Promise<void> {
    return this.#spawned.stop()
  }
}
