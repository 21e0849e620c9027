/** How much each may ask for. */
export type AllowanceOptions = Readonly<{
  /** So many at once… */
  burst: number
  /** …and so many more every second. */
  perSecond: number
  now: () => number
}>

/** Keys in memory at a time. Whoever is forgotten starts with a full allowance again. */
const maxKeys = 10_000

/** How much each of many may still do: a token bucket per key. */
export class Allowances {
  readonly #options: AllowanceOptions
  readonly #left = new Map<string, Readonly<{ amount: number; atMs: number }>>()

  constructor(options: AllowanceOptions) {
    this.#options = options
  }

  /** Has `key` anything left? */
  has(key: string): boolean {
    return this.#amount(key) >= 1
  }

  /** Takes one from `key`; false when it has none left. */
  take(key: string): boolean {
    const amount = this.#amount(key)
    if (amount < 1) return false
    this.#left.delete(key)
    this.#left.set(key, { amount: amount - 1, atMs: this.#options.now() })
    if (this.#left.size > maxKeys) this.#forgetOldest()
    return true
  }

  #amount(key: string): number {
    const { burst, perSecond, now } = this.#options
    const known = this.#left.get(key)
    return known ? Math.min(burst, known.amount + ((now() - known.atMs) / 1000) * perSecond) : burst
  }

  /** Maps keep the order of insertion. */
  #forgetOldest(): void {
    const [oldest] = this.#left.keys()
    if (oldest !== undefined) this.#left.delete(oldest)
  }
}
