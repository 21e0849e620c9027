/** Below this an update to a nearly closed window costs more than it moves. */
const leastUpdate = 64 << 10

/** What a peer may still send us, and what we owe it as WINDOW_UPDATE. */
export class ReceiveWindow {
  #size: number
  #left: number
  #uncredited = 0

  /** `left` differs from `size` where the peer starts from the protocol's default. */
  constructor(size: number, left: number = size) {
    this.#size = size
    this.#left = left
  }

  get size(): number {
    return this.#size
  }

  /** Counts received bytes; false when the peer sent more than it may. */
  take(n: number): boolean {
    this.#left -= n
    return this.#left >= 0
  }

  /**
   * Returns bytes to the peer: the increment to announce now, 0 while it is not yet worth a frame. With it the window
   * becomes `wanted` large: at once where it grows, by keeping bytes back where it shrinks.
   */
  credit(n: number, wanted: number = this.#size): number {
    this.#uncredited += n
    if (this.#uncredited * 2 < this.#size) return 0
    const change = Math.max(wanted - this.#size, -this.#uncredited)
    this.#size += change
    this.#uncredited += change
    return this.#announce()
  }

  /** Returns bytes of a window that many share: where it is nearly closed, soon. */
  creditShared(n: number): number {
    this.#uncredited += n
    const soon = this.#uncredited >= Math.max(this.#left, leastUpdate)
    return soon || this.#uncredited * 4 >= this.#size ? this.#announce() : 0
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
