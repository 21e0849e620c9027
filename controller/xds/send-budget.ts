/** The right to have some bytes on their way. Releasing it twice is releasing it once. */
export type Permit = Readonly<{
  /** Fewer turned out to be needed. */
  shrink(bytes: number): void
  release(): void
}>

type Waiter = Readonly<{ holder: string; bytes: number; granted: (permit: Permit) => void }>

/**
 * Bounds what is buffered for all clients together. After a restart of all of them each is owed the whole mesh; a response
 * is built when there is room for it, so that who waits costs nothing. First come, first served, but a holder whose client
 * does not read waits for itself only.
 */
export class SendBudget {
  readonly #limit: number
  readonly #holders = new Set<string>()
  #waiting: readonly Waiter[] = []
  #used = 0

  constructor(limitBytes: number) {
    this.#limit = limitBytes
  }

  /** Bytes on their way or about to be. */
  get used(): number {
    return this.#used
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Calls `granted` when there is room, perhaps before it returns. Dispose to ask no more. */
  ask(holder: string, bytes: number, granted: (permit: Permit) => void): Disposable {
    const waiter = { holder, bytes, granted }
    if (this.#next() === undefined && this.#fits(waiter)) this.#grant(waiter)
    else this.#waiting = [...this.#waiting, waiter]
    return {
      [Symbol.dispose]: () => {
        this.#waiting = this.#waiting.filter((each) => each !== waiter)
      },
    }
  }

  /** What is larger than the limit goes alone, instead of never. */
  #fits({ holder, bytes }: Waiter): boolean {
    if (this.#holders.has(holder)) return false
    return this.#holders.size === 0 || this.#used + bytes <= this.#limit
  }

  #grant({ holder, bytes, granted }: Waiter): void {
    let left = bytes
    let isHeld = true
    this.#used += bytes
    this.#holders.add(holder)
    const shrink = (to: number) => {
      if (!isHeld || to >= left) return
      this.#used -= left - to
      left = to
    }
    granted({
      shrink,
      release: () => {
        if (!isHeld) return
        shrink(0)
        isHeld = false
        this.#holders.delete(holder)
        this.#wake()
      },
    })
  }

  #wake(): void {
    for (let next = this.#next(); next && this.#fits(next); next = this.#next()) {
      const granted = next
      this.#waiting = this.#waiting.filter((each) => each !== granted)
      this.#grant(granted)
    }
  }

  /** The first that waits for room and not for its own holder. Nobody overtakes it: a large one would wait for ever. */
  #next(): Waiter | undefined {
    return this.#waiting.find(({ holder }) => !this.#holders.has(holder))
  }
}
