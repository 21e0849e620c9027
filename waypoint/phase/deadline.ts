import { Ending, type EndSignal, timerMs } from '#base'

/** The time that one request has, or one try of it, and whether there is still somebody who waits. */
export class Deadline {
  readonly #ms: number
  /** Fires when the time is over or who waits has gone. */
  readonly signal = new Ending()
  readonly #gone: EndSignal
  readonly #onGone = () => this.signal.abort(this.#gone.reason)
  #timer: NodeJS.Timeout | undefined
  #isOver = false
  #startedAt: number | undefined
  /** It was the time that ended it. */
  expired = false

  /** `ms` of 0: no limit. */
  constructor(ms: number, gone: EndSignal) {
    this.#ms = ms
    this.#gone = gone
    if (gone.aborted) this.#onGone()
    else gone.addEventListener('abort', this.#onGone, { once: true })
  }

  /** Milliseconds, at least one; undefined where there is no limit. */
  get left(): number | undefined {
    if (this.#ms === 0) return undefined
    const spent = this.#startedAt === undefined ? 0 : performance.now() - this.#startedAt
    return Math.max(1, Math.ceil(this.#ms - spent))
  }

  /** The clock starts now. */
  start(): void {
    if (this.#ms === 0 || this.#timer || this.#isOver) return
    this.#startedAt = performance.now()
    this.#timer = setTimeout(() => {
      if (this.signal.aborted) return
      this.expired = true
      this.signal.abort(new Error('the time of the request is over'))
    }, timerMs(this.#ms))
  }

  /** Nobody may have it any more. */
  cancel(): void {
    this.signal.abort(new Error('the request was ended'))
  }

  /** It was in time. Who has gone still counts. */
  stopClock(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  stop(): void {
    this.stopClock()
    this.#gone.removeEventListener('abort', this.#onGone)
  }
}
