// The buffers of a process's byte paths. They are shared by all connections of the process on purpose: a bound per
// process can only be kept by something that the process has once.

/** One read from a plaintext socket, and the largest TLS write (facts: dataplane.md §4). */
export const readBytes = 256 << 10
/** Slabs kept for reuse: 16 MiB. */
const maxPooledSlabs = 64
/** Bytes that slow readers may make a process keep. */
const maxBufferedBytes = 256 << 20

const slabs: Buffer[] = []

/** A buffer of `readBytes`; give it back with `releaseSlab` when no write uses it any more. */
export const takeSlab = (): Buffer => slabs.pop() ?? Buffer.allocUnsafeSlow(readBytes)
export const releaseSlab = (slab: Buffer): void => {
  if (slab.length === readBytes && slabs.length < maxPooledSlabs) slabs.push(slab)
}

/** A count of bytes with a ceiling. */
export class MemoryBudget {
  readonly #limit: number
  #used = 0
  constructor(limit: number) {
    this.#limit = limit
  }
  get used(): number {
    return this.#used
  }
  take(n: number): boolean {
    if (this.#used + n > this.#limit) return false
    this.#used += n
    return true
  }
  give(n: number): void {
    this.#used -= n
  }
}

/** What waits for slow readers in the whole process. */
export const processBudget = new MemoryBudget(maxBufferedBytes)
