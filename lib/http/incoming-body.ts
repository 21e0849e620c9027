import type { Body, BodyReader, ResetReason } from './exchange.ts'
import type { HeaderList } from './header-list.ts'

/** Whose body it is: a connection that stands still while nobody takes it. */
export type BodySource = {
  /** The reader takes bytes (again). */
  bodyWanted(): void
  /** Nobody wants the rest. */
  bodyUnwanted(): void
}

/** The body of a message that arrives. */
export class IncomingBody implements Body {
  readonly length: number | undefined
  readonly #source: BodySource
  #reader: BodyReader | undefined
  #full = false
  #unwanted = false
  #over: 'whole' | ResetReason | undefined
  #trailers: HeaderList | undefined
  received = 0
  /** What came after nobody wanted it. */
  dropped = 0

  constructor(source: BodySource, length: number | undefined) {
    this.#source = source
    this.length = length
  }

  /** True when bytes may be given to it. */
  get ready(): boolean {
    return this.#unwanted || (this.#reader !== undefined && !this.#full)
  }
  get unwanted(): boolean {
    return this.#unwanted
  }
  get over(): boolean {
    return this.#over !== undefined
  }

  // ---- from the connection ----

  give(buffer: Buffer, start: number, end: number): void {
    if (this.#unwanted || this.#reader === undefined) {
      this.dropped += end - start
      return
    }
    this.received += end - start
    if (!this.#reader.bytes(buffer, start, end)) this.#full = true
  }

  finish(trailers: HeaderList | undefined): void {
    if (this.#over !== undefined) return
    this.#over = 'whole'
    this.#trailers = trailers
    if (!this.#unwanted) this.#reader?.end(trailers)
  }

  fail(reason: ResetReason): void {
    if (this.#over !== undefined) return
    this.#over = reason
    if (!this.#unwanted) this.#reader?.broken(reason)
  }

  // ---- from the reader ----

  read(reader: BodyReader): void {
    if (this.#reader !== undefined) throw new TypeError('body is already being read')
    this.#reader = reader
    if (this.#over === 'whole') reader.end(this.#trailers)
    else if (this.#over !== undefined) reader.broken(this.#over)
    else this.#source.bodyWanted()
  }

  resume(): void {
    if (!this.#full) return
    this.#full = false
    if (this.#over === undefined) this.#source.bodyWanted()
  }

  discard(): void {
    if (this.#unwanted) return
    this.#unwanted = true
    this.#full = false
    if (this.#over === undefined) this.#source.bodyUnwanted()
  }
}
