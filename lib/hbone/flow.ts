/** What a peer may still send us, and what we owe it as WINDOW_UPDATE. */
export class ReceiveWindow {
  readonly #size: number
  #left: number
  #uncredited = 0

  /** `left` differs from `size` where the peer starts from the protocol's default. */
  constructor(size: number, left: number = size) {
    this.#size = size
    this.#left = left
  }

  /** Counts received bytes; false when the peer sent more than it may. */
  take(n: number): boolean {
    this.#left -= n
    return this.#left >= 0
  }

  /** Returns bytes to the peer: the increment to announce now, 0 while it is not yet worth a frame. */
  credit(n: number): number {
    this.#uncredited += n
    if (this.#uncredited * 2 < this.#size) return 0
    return this.#announce()
  }

  /** Opens a window that started smaller than its size. */
  open(): number {
    this.#uncredited += this.#size - this.#left
    return this.#announce()
  }

  #announce(): number {
    const n = this.#uncredited
    this.#left += n
    this.#uncredited = 0
    return n
  }
}
