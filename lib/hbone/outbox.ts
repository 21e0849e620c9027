import { releaseSlab, sizeFor, takeSlab, unsentBudget } from './memory.ts'

/** A staging buffer is as large as what is put in first, but leaves room for an answer's head and a small body. */
const leastSlab = 4 << 10
const largestSlab = 128 << 10

/** A buffer that counts among what peers have not taken, until it is given away. */
function takeCounted(n: number): Buffer {
  const slab = takeSlab(sizeFor(n))
  unsentBudget.spend(slab.length)
  return slab
}

function releaseCounted(slab: Buffer): void {
  unsentBudget.give(slab.length)
  releaseSlab(slab)
}

/** Bytes gathered for one write, behind `headroom` bytes for whoever frames them. */
export class Outbox {
  readonly #headroom: number
  slab: Buffer | undefined
  from = 0
  to = 0

  constructor(headroom: number) {
    this.#headroom = headroom
  }

  get bytes(): number {
    return this.to - this.from
  }

  /** Copies in as much as there is room for. A head that waits for its body goes where both have room. */
  put(buffer: Buffer, start: number, end: number): number {
    let slab = this.slab ?? this.#open(end - start)
    if (end - start > slab.length - this.to && this.bytes < leastSlab) slab = this.#grow(slab, end - start)
    const n = Math.min(end - start, slab.length - this.to)
    buffer.copy(slab, this.to, start, start + n)
    this.to += n
    return n
  }

  /** Puts in Latin-1 text if it fits. */
  putText(text: string): boolean {
    const slab = this.slab ?? this.#open(text.length)
    if (text.length > slab.length - this.to) return false
    slab.write(text, this.to, 'latin1')
    this.to += text.length
    return true
  }

  #open(n: number): Buffer {
    this.slab = takeCounted(Math.min(largestSlab, Math.max(leastSlab, n + this.#headroom)))
    this.from = this.#headroom
    this.to = this.#headroom
    return this.slab
  }

  #grow(slab: Buffer, n: number): Buffer {
    const used = this.bytes
    const larger = takeCounted(Math.min(largestSlab, this.#headroom + used + n))
    if (larger.length <= slab.length) {
      releaseCounted(larger)
      return slab
    }
    slab.copy(larger, this.#headroom, this.from, this.to)
    releaseCounted(slab)
    this.slab = larger
    this.from = this.#headroom
    this.to = this.#headroom + used
    return larger
  }

  /** Gives the buffer away, which is counted no more. */
  take(): Buffer | undefined {
    const { slab } = this
    if (slab) unsentBudget.give(slab.length)
    this.slab = undefined
    this.from = 0
    this.to = 0
    return slab
  }

  clear(): void {
    const slab = this.take()
    if (slab) releaseSlab(slab)
  }
}
