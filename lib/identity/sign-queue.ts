/** Runs at most `parallel` tasks at a time; urgent ones overtake those that merely prepare. */
export class SignQueue {
  readonly #parallel: number
  #running = 0
  readonly #urgent: (() => void)[] = []
  readonly #later: (() => void)[] = []

  constructor(parallel: number) {
    this.#parallel = parallel
  }

  /** How long the queue gets is bounded by the caller: one task per identity. */
  async run<T>(task: () => Promise<T>, urgent: boolean): Promise<T> {
    if (this.#running >= this.#parallel) {
      await new Promise<void>((resolve) => (urgent ? this.#urgent : this.#later).push(resolve))
    } else this.#running++
    try {
      return await task()
    } finally {
      const next = this.#urgent.shift() ?? this.#later.shift()
      if (next) next()
      else this.#running--
    }
  }
}
