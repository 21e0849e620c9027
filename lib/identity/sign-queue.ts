/** A place in the queue. It may become urgent while it waits: somebody has come who needs what was merely prepared. */
export type Ticket = { urgent: boolean }

/** Runs at most `parallel` tasks at a time; urgent ones overtake those that merely prepare. */
export class SignQueue {
  readonly #parallel: number
  #running = 0
  readonly #waiting: { readonly ticket: Ticket; readonly start: () => void }[] = []

  constructor(parallel: number) {
    this.#parallel = parallel
  }

  /** How long the queue gets is bounded by the caller: one task per identity. */
  async run<T>(task: () => Promise<T>, ticket: Ticket): Promise<T> {
    if (this.#running >= this.#parallel)
      await new Promise<void>((start) => this.#waiting.push({ ticket, start }))
    else this.#running++
    try {
      return await task()
    } finally {
      const next = this.#next()
      if (next) next.start()
      else this.#running--
    }
  }

  #next() {
    const urgent = this.#waiting.findIndex(({ ticket }) => ticket.urgent)
    return this.#waiting.splice(Math.max(urgent, 0), 1)[0]
  }
}
