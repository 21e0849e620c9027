import { type MemoryBudget, readBytes, releaseSlab, sizeFor, takeSlab } from './memory.ts'

type Chunk = { readonly buffer: Buffer; used: number }

/** A chunk is not more than this many times as large as what is known to go into it. */
const largestSpare = 16

/** Bytes that were taken out of a queue to be written; `release` them when the write is over. */
export type Batch = Readonly<{ views: readonly Buffer[]; bytes: number; chunks: readonly Chunk[] }>

/** Copies pieces together into few chunks: one write per loop turn instead of one per TLS record. */
export class ByteQueue {
  readonly #budget: MemoryBudget
  #chunks: Chunk[] = []
  /** How large the next chunk should be: as large as the last batch was, growing while it fills. */
  #nextSize = 0
  bytes = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  /** Appends a copy of `source[start, end)`; false, with nothing appended, when the budget is used up. */
  push(source: Buffer, start: number, end: number): boolean {
    const tail = this.#chunks.at(-1)
    const room = tail === undefined ? 0 : tail.buffer.length - tail.used
    const fits = Math.min(room, end - start)
    const rest = end - start - fits
    const added = rest > 0 ? this.#allocate(rest) : undefined
    if (rest > 0 && added === undefined) return false
    if (tail !== undefined && fits > 0) {
      source.copy(tail.buffer, tail.used, start, start + fits)
      tail.used += fits
    }
    if (added !== undefined) {
      source.copy(added, 0, start + fits, end)
      this.#chunks.push({ buffer: added, used: rest })
    }
    this.bytes += end - start
    return true
  }

  #allocate(atLeast: number): Buffer | undefined {
    // A piece larger than a slab does not come from TLS; whoever sends one gets a buffer of its own.
    const exact = atLeast > readBytes ? atLeast : sizeFor(atLeast)
    const hoped = Math.min(this.#nextSize, largestSpare * Math.max(atLeast, this.bytes))
    const size = this.#budget.ample ? Math.max(exact, sizeFor(hoped)) : exact
    if (!this.#budget.take(size)) return undefined
    this.#nextSize = Math.min(readBytes, size * 2)
    return takeSlab(size)
  }

  /** Everything that waits; undefined when nothing does. */
  take(): Batch | undefined {
    if (this.bytes === 0) return undefined
    const chunks = this.#chunks
    const bytes = this.bytes
    this.#chunks = []
    this.bytes = 0
    // The next batch will be about as large as this one.
    this.#nextSize = bytes
    return { views: chunks.map(({ buffer, used }) => buffer.subarray(0, used)), bytes, chunks }
  }

  release(batch: Batch): void {
    for (const { buffer } of batch.chunks) {
      this.#budget.give(buffer.length)
      releaseSlab(buffer)
    }
  }
}
