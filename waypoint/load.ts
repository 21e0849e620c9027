/** How much of what is still free one may hold: alone three quarters of all, and with others an equal share of them. */
const share = 3
/** Holders that are remembered with nothing in their hands. */
const maxEmpty = 1_024

/**
 * What the process has under way, by whom. One that takes everything serves nobody in the end: it says no while it still
 * can, to those who have much before those who have little.
 */
export class Load {
  active = 0
  limit: number
  readonly #by = new Map<string, number>()

  constructor(limit: number) {
    this.limit = limit
  }

  /** Holders that are remembered. */
  get known(): number {
    return this.#by.size
  }

  /** False: there is no room for it. Otherwise it counts until `leave` is told of as much. */
  enter(who: string, amount = 1): boolean {
    const own = this.#by.get(who) ?? 0
    const free = this.limit - this.active
    if (amount > free || own + amount > share * (free - amount + 1)) return false
    this.active += amount
    this.#by.set(who, own + amount)
    return true
  }

  leave(who: string, amount = 1): void {
    this.active -= amount
    this.#by.set(who, (this.#by.get(who) ?? amount) - amount)
    if (this.#by.size > maxEmpty) for (const [one, own] of this.#by) if (own === 0) this.#by.delete(one)
  }
}
