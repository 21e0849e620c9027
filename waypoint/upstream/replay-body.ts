import type { Body, BodyReader, HeaderList, ResetReason } from '#http'
import { KeptBytes } from './kept-bytes.ts'

type End = Readonly<
  { kind: 'whole'; trailers: HeaderList | undefined } | { kind: 'broken'; reason: ResetReason }
>

/**
 * The body of a request, for as many tries as it takes: what has come is kept up to `replayBytes`; beyond that there is
 * only the one try that is reading. Back-pressure goes through to the client.
 */
export class ReplayBody {
  readonly #source: Body
  #kept = new KeptBytes()
  #keeps: boolean
  /** Everything that has come is kept. */
  #hasAll = true
  #end: End | undefined
  #started = false
  #live: Try | undefined
  #waiting = false
  #finished = false
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
    return this.#keeps && this.#hasAll
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
    return this.replayable && this.#end?.kind === 'whole'
      ? new Try(undefined, this.#kept.retain(), () => this.#end)
      : undefined
  }

  /** There will be no other try than the one at hand: nothing has to be kept that it has read. */
  settle(): void {
    this.#keeps = false
    if (this.#live?.isCurrent === true) this.#drop(this.#live)
  }

  /** No more tries. What the client still sends is nobody's. */
  finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#live?.cut()
    this.#live = undefined
    this.#keeps = false
    this.#hasAll = false
    this.#kept.release()
    if (!this.#started || this.#end === undefined) this.#source.discard()
  }

  /** A try has read what there was and wants more. */
  want(one: Try): void {
    if (one !== this.#live || this.#end) return
    if (!this.#keeps) this.#drop(one)
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
      const isCurrent = live?.isCurrent === true
      const isKept = this.#keeps && this.#kept.append(buffer, start, end)
      if (!isCurrent) {
        // A try that is behind, or is yet to come, still needs it.
        if (!isKept && (live || this.#keeps)) this.#kept.force(buffer, start, end)
        this.#keeps &&= isKept
        this.#waiting = true
        return false
      }
      this.#keeps = isKept
      if (!this.#keeps) this.#drop(live)
      const goesOn = live.arrived(buffer, start, end, this.#kept.length)
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

  /** What this try has read nobody will ask for again. */
  #drop(live: Try): void {
    this.#hasAll = false
    if (this.#kept.length === 0) return
    this.#kept.release()
    this.#kept = new KeptBytes()
    live.rebase(this.#kept)
  }
}

/** The body as one try sees it: first what was kept, then what comes. */
class Try implements Body {
  readonly #whole: ReplayBody | undefined
  readonly #endOf: () => End | undefined
  #kept: KeptBytes
  #reader: BodyReader | undefined
  #position = 0
  #isOver = false
  received = 0

  /** Without `whole` it is a copy, which has the bytes for itself. */
  constructor(whole: ReplayBody | undefined, kept: KeptBytes, endOf: () => End | undefined) {
    this.#whole = whole
    this.#kept = kept
    this.#endOf = endOf
  }

  get length(): number | undefined {
    return this.#whole ? this.#whole.length : this.#kept.length
  }
  /** It has read all that is kept, and takes what comes. */
  get isCurrent(): boolean {
    return !this.#isOver && this.#reader !== undefined && this.#position === this.#kept.length
  }

  read(reader: BodyReader): void {
    if (this.#isOver) return reader.broken('local-reset')
    this.#reader = reader
    this.#deliver()
  }

  resume(): void {
    this.#deliver()
  }

  discard(): void {
    this.#finish()
    this.#reader = undefined
    this.#whole?.leave(this)
  }

  /** What comes is handed over directly; with it the try is at `position` of what is kept. */
  arrived(buffer: Buffer, start: number, end: number, position: number): boolean {
    this.#position = position
    this.received += end - start
    return this.#reader?.bytes(buffer, start, end) ?? false
  }

  /** What it has not read yet it will not get. */
  cut(): void {
    if (!this.#isOver) this.#tell({ kind: 'broken', reason: 'local-reset' })
  }

  rebase(kept: KeptBytes): void {
    this.#kept = kept
    this.#position = 0
  }

  ended(end: End): void {
    if (this.isCurrent) this.#tell(end)
  }

  #deliver(): void {
    while (!this.#isOver && this.#reader) {
      const piece = this.#kept.view(this.#position)
      if (!piece) break
      this.#position += piece.length
      this.received += piece.length
      if (!this.#reader.bytes(piece, 0, piece.length)) return
    }
    if (this.#isOver) return
    const end = this.#endOf()
    if (end) this.#tell(end)
    else this.#whole?.want(this)
  }

  #tell(end: End): void {
    this.#finish()
    if (end.kind === 'whole') this.#reader?.end(end.trailers)
    else this.#reader?.broken(end.reason)
  }

  #finish(): void {
    if (!this.#isOver && !this.#whole) this.#kept.release()
    this.#isOver = true
  }
}
