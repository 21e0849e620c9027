/** So many at once, and so many per second in the long run. */
export type Rate = Readonly<{ burst: number; perSecond: number }>

/** How much of something one client may still do. */
export class Allowance {
  readonly #rate: Rate
  readonly #now: () => number
  #left: number
  #atMs: number

  constructor(rate: Rate, now: () => number = () => performance.now()) {
    this.#rate = rate
    this.#now = now
    this.#left = rate.burst
    this.#atMs = now()
  }

  /** True: it may be done once more, and is counted. */
  take(): boolean {
    this.#refill()
    if (this.#left < 1) return false
    this.#left--
    return true
  }

  /** Milliseconds until `take` says yes. */
  get waitMs(): number {
    this.#refill()
    return Math.max(0, Math.ceil(((1 - this.#left) / this.#rate.perSecond) * 1000))
  }

  /** Nothing is remembered against it. */
  get isFull(): boolean {
    this.#refill()
    return this.#left >= this.#rate.burst
  }

  #refill(): void {
    const now = this.#now()
    this.#left = Math.min(this.#rate.burst, this.#left + ((now - this.#atMs) / 1000) * this.#rate.perSecond)
    this.#atMs = now
  }
}
