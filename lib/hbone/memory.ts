// The buffers of a process's byte paths. They are shared by all connections of the process on purpose: a bound per
// process can only be kept by something that the process has once.

/** One read from a plaintext socket, and the largest TLS write (facts: dataplane.md §4). */
export const readBytes = 256 << 10
/** Bytes that slow readers and slow peers may make a process keep, unless the operator says otherwise. */
const defaultBufferBytes = 256 << 20
/** This part of them is for what peers have not taken yet. */
const unsentPart = 1 / 4

/**
 * Sizes that buffers come in. Memory outside V8's heap is dear to make (malloc, often mmap) and each byte of it hastens
 * the next garbage collection, so buffers of all sizes are used again, not only the large ones.
 */
const sizes = [4, 8, 16, 32, 64, 128, 256].map((kib) => kib << 10)
/** Kept for reuse, of each size. */
const maxPooledBytes = 4 << 20
const pools = new Map(sizes.map((size): [number, Buffer[]] => [size, []]))

/** The smallest size that holds `n` bytes; `n` is at most `readBytes`. */
export const sizeFor = (n: number): number => sizes.find((size) => size >= n) ?? readBytes

/** A buffer of one of the sizes; give it back with `releaseSlab` when no write uses it any more. */
export const takeSlab = (size: number = readBytes): Buffer =>
  pools.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size)

/** A buffer that holds `n` bytes, of one of the sizes as far as they go. */
export const slabFor = (n: number): Buffer =>
  n > readBytes ? Buffer.allocUnsafeSlow(n) : takeSlab(sizeFor(n))

/** Gives a buffer of `slabFor` back; its bytes are somebody else's from then on. */
export const releaseSlab = (slab: Buffer): void => {
  const pool = pools.get(slab.length)
  if (pool && pool.length * slab.length < maxPooledBytes) pool.push(slab)
}

/** What a connection may have although others have used up the process's: one turn of a fast reader. */
const reservedBytes = 256 << 10

/** A count of bytes with a ceiling, and perhaps with a share in another's. */
export class MemoryBudget {
  #limit: number
  readonly #shared: MemoryBudget | undefined
  #used = 0
  constructor(limit: number, shared?: MemoryBudget) {
    this.#limit = limit
    this.#shared = shared
  }
  get used(): number {
    return this.#used
  }
  /** True while more than half is left: memory may be spent for speed. */
  get ample(): boolean {
    return this.#used * 2 < this.#limit && (this.#shared?.ample ?? true)
  }
  set limit(bytes: number) {
    this.#limit = bytes
  }
  take(n: number): boolean {
    if (this.#used + n > this.#limit) return false
    if (this.#shared?.take(n) === false) {
      if (this.#used + n > reservedBytes) return false
      this.#shared.spend(n)
    }
    this.#used += n
    return true
  }
  /** For bytes that are there already, whatever the ceiling. */
  spend(n: number): void {
    this.#used += n
  }
  give(n: number): void {
    this.#used -= n
    this.#shared?.give(n)
  }
}

/** What waits for slow readers in the whole process. */
export const processBudget = new MemoryBudget(defaultBufferBytes)
/** What applications have said and peers have not taken: when half of it is used, reads become short. */
export const unsentBudget = new MemoryBudget(defaultBufferBytes * unsentPart)

/** Sets what the byte paths of this process may keep for slow readers and slow peers. */
export function limitBuffers(bytes: number): void {
  processBudget.limit = bytes
  unsentBudget.limit = bytes * unsentPart
}
