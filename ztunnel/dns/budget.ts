/** Forwarded questions of one pod that may be in flight: five seconds of a silent upstream at 25 a second. */
export const maxInFlightPerPod = 128
/** Of all pods of a worker. Each has a socket and some kilobytes. */
export const maxInFlight = 1_024

/** How many of something may be under way at once, here and in the whole that this is a part of. */
export class InFlight {
  readonly #most: number
  readonly #whole: InFlight | undefined
  #count = 0

  constructor(most: number, whole?: InFlight) {
    this.#most = most
    this.#whole = whole
  }

  get count(): number {
    return this.#count
  }

  /** Room for one until it is disposed; undefined when there is none. */
  take(): Disposable | undefined {
    if (this.#count >= this.#most) return undefined
    const rest = this.#whole?.take()
    if (this.#whole && !rest) return undefined
    this.#count++
    return {
      [Symbol.dispose]: () => {
        this.#count--
        rest?.[Symbol.dispose]()
      },
    }
  }
}

/** Questions of one pod per second, over time and at once. An answer costs some 20 µs, so a flood takes a tenth of a core. */
export const standardRate = { perSecond: 5_000, burst: 10_000 }

/** A token bucket. */
export class Rate {
  readonly #perSecond: number
  readonly #burst: number
  #tokens: number
  #at: number

  constructor(now = performance.now(), limits = standardRate) {
    this.#perSecond = limits.perSecond
    this.#burst = limits.burst
    this.#tokens = limits.burst
    this.#at = now
  }

  /** May one more pass? */
  allows(now = performance.now()): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#perSecond) / 1_000)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
