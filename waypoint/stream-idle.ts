import { timerMs } from '#base'
import type { Permit, Permits } from './permits.ts'

/** As often is it looked within the time that a request may stand still: it ends at most that part of it late. */
const looks = 8

/**
 * Ends requests in which nothing has moved for `idleMs`, either way (Envoy: stream_idle_timeout). One look at all that are
 * open now and then costs less than a timer that each byte winds up.
 */
export class StreamIdle implements Disposable {
  readonly #permits: Pick<Permits, 'all'>
  readonly #idleMs: number
  readonly #now: () => number
  readonly #seen = new WeakMap<Permit, Readonly<{ moved: number; at: number }>>()
  readonly #timer: NodeJS.Timeout | undefined

  /** `idleMs` of 0: never. */
  constructor(permits: Pick<Permits, 'all'>, idleMs: number, now: () => number = () => performance.now()) {
    this.#permits = permits
    this.#idleMs = idleMs
    this.#now = now
    if (idleMs > 0) this.#timer = setInterval(() => this.look(), timerMs(idleMs / looks)).unref()
  }

  look(): void {
    const now = this.#now()
    for (const permit of this.#permits.all()) {
      const { stream } = permit.what
      if (stream === undefined) continue
      const moved = stream.moved()
      const seen = this.#seen.get(permit)
      if (seen?.moved !== moved) this.#seen.set(permit, { moved, at: now })
      else if (now - seen.at >= this.#idleMs) stream.stalled()
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
