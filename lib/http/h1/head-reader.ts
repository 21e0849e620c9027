import { MemoryBudget, releaseSlab, slabFor } from '#hbone'

const cr = 0x0d
const lf = 0x0a
const tab = 0x09
const firstPrintable = 0x20
const del = 0x7f

/** Where in `[at, end)` the first byte is that does not belong into a line: a control character but the tab. */
function lineUntil(buffer: Buffer, at: number, end: number): number {
  for (let i = at; i < end; i++) {
    const byte = buffer[i] ?? 0
    if ((byte < firstPrintable && byte !== tab) || byte === del) return i
  }
  return end
}

/** `no-room`: others' heads that are not whole hold too much. */
type HeadState = 'more' | 'whole' | 'too-large' | 'forbidden' | 'no-room'

/** Room that a head gets first when it comes in pieces. */
const firstRoom = 1 << 10
/** As much of it may always wait for the rest: usual heads are smaller. What is larger has to find room among others. */
const alwaysRoom = 4 << 10
/**
 * Of all heads in pieces that are larger: some hundreds of the largest (60 KiB). The one that has waited for longest gives
 * way: heads that mean to come to their end do so within moments, and others' may take a minute.
 */
const budget = new MemoryBudget(32 << 20)
const holders = new Set<HeadReader>()

/** What heads in pieces hold at the moment, beyond what each may always have. */
export const headUse = (): number => budget.used

/**
 * Finds the empty line that ends a head, or the trailers. Every line ends with CR LF (or, where that is allowed, each
 * with LF), every CR and LF ends a line, and no other control character but a tab is in between: so what comes after it
 * needs to look for lines only. A head that comes in one piece is not copied.
 */
export class HeadReader {
  readonly #max: number
  readonly #onGivenUp: () => void
  /** Where a head that is its message's first line may not begin with an empty line. */
  #room: Buffer | undefined
  #used = 0
  /** Of the head so far: bytes seen, whether the line at hand has any, and whether the last was a CR. */
  #seen = 0
  #inLine = false
  #afterCr = false
  /** Its first line ended without a CR: all others do. */
  #isBare = false
  /** Lines with something in them. */
  lines = 0
  /** The head without its last empty line, once it is whole. */
  text = ''
  /** How far `read` has come in what it was given. */
  at = 0

  /** `onGivenUp`: others needed its room. */
  constructor(max: number, onGivenUp: () => void) {
    this.#max = max
    this.#onGivenUp = onGivenUp
  }

  /** True once a byte of it has arrived. */
  get begun(): boolean {
    return this.#seen > 0
  }

  /** To be called where a head is not read to its end, too: it may hold memory that others wait for. */
  reset(): void {
    this.#release()
    holders.delete(this)
    this.#used = 0
    this.#seen = 0
    this.#inLine = false
    this.#afterCr = false
    this.#isBare = false
    this.lines = 0
    this.text = ''
  }

  /** Reads on in `buffer[start, end)`. `emptyAllowed` is how many empty lines may come first; `bareAllowed`: a head all of LF. */
  read(buffer: Buffer, start: number, end: number, emptyAllowed: number, bareAllowed = false): HeadState {
    // Byte by byte of what every message has most of: nothing is looked up or kept that the loop does not need.
    const last = Math.min(end, start + this.#max - this.#seen)
    let at = start
    while (at < last) {
      if (!this.#afterCr) {
        const lineEnd = lineUntil(buffer, at, last)
        if (lineEnd > at) this.#inLine = true
        at = lineEnd
        if (at === last) break
        if (buffer[at] === cr && !this.#isBare) {
          this.#afterCr = true
          at++
          continue
        }
        if (bareAllowed && this.lines === 0 && this.#inLine) this.#isBare = true
        if (!this.#isBare) return this.#stop(at, 'forbidden')
      }
      if (buffer[at] !== lf) return this.#stop(at, 'forbidden')
      this.#afterCr = false
      at++
      if (this.#inLine) {
        this.#inLine = false
        this.lines++
      } else if (this.lines > 0 || this.#seen + at - start > 2 * emptyAllowed) {
        this.at = at
        this.text = this.#textUntil(buffer, start, at)
        return 'whole'
      }
    }
    if (last < end) return this.#stop(last, 'too-large')
    this.#seen += end - start
    if (!this.#keep(buffer, start, end)) return this.#stop(end, 'no-room')
    this.at = end
    return 'more'
  }

  #stop(at: number, state: HeadState): HeadState {
    this.at = at
    return state
  }

  #textUntil(buffer: Buffer, start: number, end: number): string {
    const room = this.#room
    const last = this.#isBare ? 1 : 2
    const text =
      room === undefined
        ? buffer.toString('latin1', start, end - last)
        : (room.toString('latin1', 0, this.#used) + buffer.toString('latin1', start, end)).slice(0, -last)
    if (this.#isBare) return text.replaceAll('\n', '\r\n')
    return text.startsWith('\r\n') ? text.slice(2) : text
  }

  /** False, with nothing more kept, where that would be too much. */
  #keep(buffer: Buffer, start: number, end: number): boolean {
    const needed = this.#used + end - start
    const room = this.#room
    if (room === undefined || room.length < needed) {
      const larger = this.#roomFor(Math.max(firstRoom, 2 * (room?.length ?? 0), needed))
      if (larger === undefined) return false
      room?.copy(larger, 0, 0, this.#used)
      this.#release()
      this.#room = larger
    }
    if (this.#room) buffer.copy(this.#room, this.#used, start, end)
    this.#used = needed
    return true
  }

  #release(): void {
    const room = this.#room
    this.#room = undefined
    if (room === undefined || room.length <= alwaysRoom) return
    budget.give(room.length)
    releaseSlab(room)
  }

  /** Undefined where there is none. */
  #roomFor(bytes: number): Buffer | undefined {
    if (bytes <= alwaysRoom) return Buffer.allocUnsafe(bytes)
    const slab = slabFor(bytes)
    while (!budget.take(slab.length)) {
      const oldest = holders.values().find((one) => one !== this)
      if (oldest === undefined) {
        releaseSlab(slab)
        return undefined
      }
      oldest.reset()
      oldest.#onGivenUp()
    }
    holders.add(this)
    return slab
  }
}
