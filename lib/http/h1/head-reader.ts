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

type HeadState = 'more' | 'whole' | 'too-large' | 'forbidden'

/** Room that a head gets first when it comes in pieces. */
const firstRoom = 1 << 10

/**
 * Finds the empty line that ends a head, or the trailers. Every line ends with CR LF, every CR and LF ends a line, and no
 * other control character but a tab is in between: so what comes after it needs to look for lines only. A head that comes
 * in one piece is not copied.
 */
export class HeadReader {
  readonly #max: number
  /** Where a head that is its message's first line may not begin with an empty line. */
  #room: Buffer | undefined
  #used = 0
  /** Of the head so far: bytes seen, whether the line at hand has any, and whether the last was a CR. */
  #seen = 0
  #inLine = false
  #afterCr = false
  /** Lines with something in them. */
  lines = 0
  /** The head without its last empty line, once it is whole. */
  text = ''
  /** How far `read` has come in what it was given. */
  at = 0

  constructor(max: number) {
    this.#max = max
  }

  /** True once a byte of it has arrived. */
  get begun(): boolean {
    return this.#seen > 0
  }

  reset(): void {
    this.#room = undefined
    this.#used = 0
    this.#seen = 0
    this.#inLine = false
    this.#afterCr = false
    this.lines = 0
    this.text = ''
  }

  /** Reads on in `buffer[start, end)`. `emptyAllowed` is how many empty lines may come first. */
  read(buffer: Buffer, start: number, end: number, emptyAllowed: number): HeadState {
    // Byte by byte of what every message has most of: nothing is looked up or kept that the loop does not need.
    const last = Math.min(end, start + this.#max - this.#seen)
    let at = start
    while (at < last) {
      if (!this.#afterCr) {
        const lineEnd = lineUntil(buffer, at, last)
        if (lineEnd > at) this.#inLine = true
        at = lineEnd
        if (at === last) break
        if (buffer[at] !== cr) return this.#stop(at, 'forbidden')
        this.#afterCr = true
        at++
        continue
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
    this.#keep(buffer, start, end)
    this.at = end
    return 'more'
  }

  #stop(at: number, state: HeadState): HeadState {
    this.at = at
    return state
  }

  #textUntil(buffer: Buffer, start: number, end: number): string {
    let text: string
    if (this.#room === undefined) text = buffer.toString('latin1', start, end - 2)
    else {
      this.#keep(buffer, start, end)
      text = this.#room.toString('latin1', 0, this.#used - 2)
    }
    return text.startsWith('\r\n') ? text.slice(2) : text
  }

  #keep(buffer: Buffer, start: number, end: number): void {
    const n = end - start
    const room = this.#room
    if (room === undefined || room.length < this.#used + n) {
      const larger = Buffer.allocUnsafe(Math.max(firstRoom, 2 * (room?.length ?? 0), this.#used + n))
      room?.copy(larger, 0, 0, this.#used)
      this.#room = larger
    }
    if (this.#room) buffer.copy(this.#room, this.#used, start, end)
    this.#used += n
  }
}
