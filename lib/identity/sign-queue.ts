/** Somebody waits for it; somebody soon will; it merely gets old (ztunnel: identity/manager.rs). */
export type Priority = 'realtime' | 'warmup' | 'background'
const rank: Record<Priority, number> = { realtime: 0, warmup: 1, background: 2 }

/** A place in the queue. It may rise while it waits: somebody has come who needs what was merely prepared. */
export type Ticket = { priority: Priority; dueAt: number }

const before = (a: Ticket, b: Ticket): boolean =>
  rank[a.priority] < rank[b.priority] || (a.priority === b.priority && a.dueAt < b.dueAt)

/** Runs at most `parallel` tasks at a time: the more pressing first, among equals the one that was due first. */
export class SignQueue {
  readonly #parallel: number
  #running = 0
  readonly #waiting: { readonly ticket: Ticket; readonly start: () => void }[] = []

  constructor(parallel: number) {
    this.#parallel = parallel
  }

  /** Nothing is ever dropped; how long the queue gets is bounded by the caller: one task per identity. */
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
    let best = 0
    for (const [i, { ticket }] of this.#waiting.entries()) {
      const champion = this.#waiting[best]
      if (champion && before(ticket, champion.ticket)) best = i
    }
    return this.#waiting.splice(best, 1)[0]
  }
}
