import { MemoryBudget, releaseSlab, slabFor } from '#hbone'

/** What is kept of a request's body so that it can be sent again (Envoy: the buffer limit of a connection). */
const replayBytes = 1 << 20
/** All requests together; beyond that they are sent once. */
const processReplayBytes = 128 << 20
/** Small pieces share buffers: a piece of one byte costs one byte. */
const [firstSlab, largestSlab] = [4 << 10, 64 << 10]

const budget = new MemoryBudget(processReplayBytes)

/** What is kept at the moment, with its spare room. */
export const replayUse = (): number => budget.used

type Slab = { readonly buffer: Buffer; used: number }

/** Bytes that several may read; who has it calls `release` once, and the last of them frees it. */
export class KeptBytes {
  readonly #slabs: Slab[] = []
  #users = 1
  length = 0

  /** Keeps a copy; false, with nothing kept, where that would be too much. */
  append(buffer: Buffer, start: number, end: number): boolean {
    if (this.length + end - start > replayBytes) return false
    return this.#put(buffer, start, end, (size) => budget.take(size))
  }

  /** For bytes that have nowhere else to be. */
  force(buffer: Buffer, start: number, end: number): void {
    this.#put(buffer, start, end, (size) => {
      budget.spend(size)
      return true
    })
  }

  #put(buffer: Buffer, start: number, end: number, claim: (size: number) => boolean): boolean {
    const tail = this.#slabs.at(-1)
    const fits = tail === undefined ? 0 : Math.min(tail.buffer.length - tail.used, end - start)
    const rest = end - start - fits
    if (rest > 0) {
      const added = slabFor(Math.max(rest, Math.min(largestSlab, Math.max(firstSlab, this.length))))
      if (!claim(added.length)) {
        releaseSlab(added)
        return false
      }
      buffer.copy(added, 0, start + fits, end)
      this.#slabs.push({ buffer: added, used: rest })
    }
    if (tail !== undefined && fits > 0) {
      buffer.copy(tail.buffer, tail.used, start, start + fits)
      tail.used += fits
    }
    this.length += end - start
    return true
  }

  /** What is there from a position on, as far as it is in one piece. */
  view(position: number): Buffer | undefined {
    let from = 0
    for (const { buffer, used } of this.#slabs) {
      if (position < from + used) return buffer.subarray(position - from, used)
      from += used
    }
    return undefined
  }

  retain(): this {
    this.#users++
    return this
  }

  release(): void {
    if (--this.#users !== 0) return
    for (const { buffer } of this.#slabs.splice(0)) {
      budget.give(buffer.length)
      releaseSlab(buffer)
    }
  }
}
