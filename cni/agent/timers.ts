/** One timer per pod: a later request replaces an earlier one. */
export class Timers implements Disposable {
  readonly #fire: (key: string) => void
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(fire: (key: string) => void) {
    this.#fire = fire
  }

  set(key: string, afterMs: number): void {
    clearTimeout(this.#timers.get(key))
    const timer = setTimeout(() => {
      this.#timers.delete(key)
      this.#fire(key)
    }, afterMs)
    this.#timers.set(key, timer)
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
