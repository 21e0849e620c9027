/** How finely a window is looked at. */
const slots = 10

/** How often something has happened in the last while. */
export class RecentCount {
  readonly #counts: number[] = Array.from({ length: slots }, () => 0)
  #slot = 0

  add(windowMs: number, now: number): void {
    this.#turn(windowMs, now)
    const at = this.#slot % slots
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  count(windowMs: number, now: number): number {
    this.#turn(windowMs, now)
    return this.#counts.reduce((sum, one) => sum + one, 0)
  }

  /** Forgets what is longer ago. */
  #turn(windowMs: number, now: number): void {
    const slot = Math.floor((now * slots) / windowMs)
    const passed = Math.min(slots, Math.max(0, slot - this.#slot))
    for (let i = 1; i <= passed; i++) this.#counts[(slot - passed + i) % slots] = 0
    this.#slot = Math.max(slot, this.#slot)
  }
}
