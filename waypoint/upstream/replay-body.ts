import type { Body, BodyReader, HeaderList, ResetReason } from '#http'

/** What is kept of a request's body so that it can be sent again (Envoy: the buffer limit of a connection). */
export const replayBytes = 1 << 20

type End = Readonly<
  { kind: 'whole'; trailers: HeaderList | undefined } | { kind: 'broken'; reason: ResetReason }
>

/**
 * The body of a request, for as many tries as it takes: what has come is kept up to `replayBytes`; beyond that there is
 * only the one try that is reading. Back-pressure goes through to the client.
 */
export class ReplayBody {
  readonly #source: Body
  readonly #kept: Buffer[] = []
  #keptBytes = 0
  #keeps: boolean
  #end: End | undefined
  #started = false
  #live: Try | undefined
  #waiting = false
  readonly #onWhole: (() => void)[] = []

  /** `keeps`: it may have to be sent more than once. */
  constructor(source: Body, keeps: boolean) {
    this.#source = source
    this.#keeps = keeps
  }

  get length(): number | undefined {
    return this.#source.length
  }
  get received(): number {
    return this.#source.received
  }
  /** Could another try still send all of it? */
  get replayable(): boolean {
    return this.#keeps
  }
  /** Runs when the last byte has come; never for one that broke. */
  onWhole(listener: () => void): void {
    if (this.#end?.kind === 'whole') listener()
    else this.#onWhole.push(listener)
  }

  /** For the next try; the one before gets nothing more. */
  next(): Body {
    const made = new Try(this, this.#kept, () => this.#end)
    this.#live = made
    return made
  }

  /** Of a body that is here as a whole: one more copy, for somebody else. Undefined when it is not. */
  copy(): Body | undefined {
    return this.#keeps && this.#end?.kind === 'whole'
      ? new Try(undefined, this.#kept, () => this.#end)
      : undefined
  }

  /** No more tries. What the client still sends is nobody's. */
  finish(): void {
    this.#live = undefined
    this.#keeps = false
    if (!this.#started || this.#end === undefined) this.#source.discard()
  }

  /** A try has read what there was and wants more. */
  want(one: Try): void {
    if (one !== this.#live || this.#end) return
    if (!this.#started) {
      this.#started = true
      this.#source.read(this.#reader)
    } else if (this.#waiting) {
      this.#waiting = false
      this.#source.resume()
    }
  }

  /** A try wants nothing more. */
  leave(one: Try): void {
    if (one === this.#live) this.#live = undefined
  }

  readonly #reader: BodyReader = {
    bytes: (buffer, start, end) => {
      const live = this.#live
      if (this.#keeps) this.#keep(buffer, start, end, live)
      const goesOn = live?.arrived(buffer, start, end) ?? false
      this.#waiting = !goesOn
      return goesOn
    },
    end: (trailers) => {
      this.#end = { kind: 'whole', trailers }
      this.#live?.ended(this.#end)
      for (const listener of this.#onWhole) listener()
    },
    broken: (reason) => {
      this.#end = { kind: 'broken', reason }
      this.#live?.ended(this.#end)
    },
  }

  #keep(buffer: Buffer, start: number, end: number, live: Try | undefined): void {
    if (this.#keptBytes + end - start > replayBytes) {
      this.#keeps = false
      // Those that are behind still need it.
      if (live?.isCurrent !== false) this.#kept.length = 0
      return
    }
    this.#kept.push(Buffer.from(buffer.subarray(start, end)))
    this.#keptBytes += end - start
    live?.skip()
  }
}

/** The body as one try sees it: first what was kept, then what comes. */
class Try implements Body {
  readonly #whole: ReplayBody | undefined
  readonly #kept: readonly Buffer[]
  readonly #endOf: () => End | undefined
  #reader: BodyReader | undefined
  #next = 0
  #isOver = false
  received = 0

  constructor(whole: ReplayBody | undefined, kept: readonly Buffer[], endOf: () => End | undefined) {
    this.#whole = whole
    this.#kept = kept
    this.#endOf = endOf
  }

  get length(): number | undefined {
    return this.#whole ? this.#whole.length : this.#kept.reduce((sum, { length }) => sum + length, 0)
  }
  get isCurrent(): boolean {
    return this.#next >= this.#kept.length
  }

  read(reader: BodyReader): void {
    this.#reader = reader
    this.#deliver()
  }

  resume(): void {
    this.#deliver()
  }

  discard(): void {
    this.#isOver = true
    this.#reader = undefined
    this.#whole?.leave(this)
  }

  /** What was just kept is handed over directly. */
  skip(): void {
    this.#next = this.#kept.length
  }

  arrived(buffer: Buffer, start: number, end: number): boolean {
    if (this.#isOver || !this.#reader) return false
    this.received += end - start
    return this.#reader.bytes(buffer, start, end)
  }

  ended(end: End): void {
    if (!this.#isOver && this.isCurrent) this.#tell(end)
  }

  #deliver(): void {
    while (!this.#isOver && this.#reader) {
      const piece = this.#kept[this.#next]
      if (!piece) break
      this.#next++
      this.received += piece.length
      if (!this.#reader.bytes(piece, 0, piece.length)) return
    }
    if (this.#isOver) return
    const end = this.#endOf()
    if (end) this.#tell(end)
    else this.#whole?.want(this)
  }

  #tell(end: End): void {
    this.#isOver = true
    if (end.kind === 'whole') this.#reader?.end(end.trailers)
    else this.#reader?.broken(end.reason)
  }
}
