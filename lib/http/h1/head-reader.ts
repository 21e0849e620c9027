/** What a byte may mean in a head: ordinary, a forbidden control character, CR or LF. */
const plain = 0
const forbidden = 1
const carriageReturn = 2
const lineFeed = 3
const classes = new Uint8Array(256)
for (let byte = 0; byte < 0x20; byte++) classes[byte] = forbidden
classes[0x7f] = forbidden
classes[0x09] = plain
classes[0x0d] = carriageReturn
classes[0x0a] = lineFeed

export type HeadState = 'more' | 'whole' | 'too-large' | 'forbidden'

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
  /** Of the head so far: bytes seen, those of the line at hand, and whether the last was a CR. */
  #seen = 0
  #line = 0
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
    this.#line = 0
    this.#afterCr = false
    this.lines = 0
    this.text = ''
  }

  /** Reads on in `buffer[start, end)`. `emptyAllowed` is how many empty lines may come first. */
  read(buffer: Buffer, start: number, end: number, emptyAllowed: number): HeadState {
    for (let at = start; at < end; at++) {
      const kind = classes[buffer[at] ?? 0]
      if (++this.#seen > this.#max) return this.#stop(at, 'too-large')
      if (kind === plain && !this.#afterCr) {
        this.#line++
        continue
      }
      if (this.#afterCr ? kind !== lineFeed : kind !== carriageReturn) return this.#stop(at, 'forbidden')
      this.#afterCr = kind === carriageReturn
      if (this.#afterCr) continue
      if (this.#line > 0) {
        this.lines++
        this.#line = 0
      } else if (this.lines > 0 || this.#seen > 2 * emptyAllowed) {
        this.at = at + 1
        this.text = this.#textUntil(buffer, start, at + 1)
        return 'whole'
      }
    }
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
