import { type Batch, ByteQueue, type H2Stream } from '#hbone'
import type { ResetReason } from '../exchange.ts'
import type { HeaderList } from '../header-list.ts'
import { type BodySource, IncomingBody } from '../incoming-body.ts'
import type { H2Link } from './link.ts'

/**
 * What arrives on a stream, between the connection and its reader: what the reader does not take waits here, as much as
 * the stream's window allows. Room goes back to the peer when bytes have been taken.
 */
export class H2Incoming implements BodySource {
  readonly #link: H2Link
  readonly #stream: H2Stream
  readonly #onUnwanted: () => void
  readonly #queue: ByteQueue
  readonly body: IncomingBody
  /** What content-length has promised; no more and no less may come. */
  readonly #promised: number | undefined
  #arrived = 0
  #batch: Batch | undefined
  #view = 0
  #delivering = false
  #ended = false
  #trailers: HeaderList | undefined

  constructor(
    link: H2Link,
    stream: H2Stream,
    length: number | undefined,
    promised: number | undefined,
    onUnwanted: () => void,
  ) {
    this.#link = link
    this.#stream = stream
    this.#promised = promised
    this.#onUnwanted = onUnwanted
    this.#queue = new ByteQueue(link.budget)
    this.body = new IncomingBody(this, length)
  }

  /** Takes DATA in; the reason why the stream has to end. */
  take(buffer: Buffer, start: number, end: number): ResetReason | undefined {
    const n = end - start
    this.#arrived += n
    if (this.#promised !== undefined && this.#arrived > this.#promised) {
      this.#link.connection.consumed(this.#stream, n)
      return 'protocol-error'
    }
    if (this.body.ready && this.#batch === undefined && this.#queue.bytes === 0) {
      this.body.give(buffer, start, end)
      this.#link.connection.consumed(this.#stream, n)
      return undefined
    }
    if (this.#queue.push(buffer, start, end)) return undefined
    this.#link.connection.consumed(this.#stream, n)
    return 'overflow'
  }

  setTrailers(trailers: HeaderList): void {
    this.#trailers = trailers
  }

  /** The peer has sent all it wanted to; false when it had promised more. */
  end(): boolean {
    if (this.#promised !== undefined && this.#arrived !== this.#promised) return false
    this.#ended = true
    this.#deliver()
    return true
  }

  /** Nothing more comes, and what waits is not wanted. */
  fail(reason: ResetReason): void {
    this.#drop()
    this.body.fail(reason)
  }

  bodyWanted(): void {
    this.#deliver()
    this.#link.flush()
  }

  bodyUnwanted(): void {
    this.#deliver()
    this.#onUnwanted()
    this.#link.flush()
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    while (this.body.ready && !this.body.over) {
      this.#batch ??= this.#queue.take()
      const batch = this.#batch
      if (batch === undefined) break
      const view = batch.views[this.#view]
      if (view === undefined) this.#done(batch)
      else {
        this.#view++
        this.body.give(view, 0, view.length)
      }
    }
    this.#delivering = false
    if (this.#ended && this.#queue.bytes === 0 && this.#exhausted()) this.body.finish(this.#trailers)
  }

  /** True when the batch at hand has been given in full. */
  #exhausted(): boolean {
    const batch = this.#batch
    if (batch === undefined) return true
    if (this.#view < batch.views.length) return false
    this.#done(batch)
    return true
  }

  #done(batch: Batch): void {
    this.#batch = undefined
    this.#view = 0
    this.#queue.release(batch)
    this.#link.connection.consumed(this.#stream, batch.bytes)
  }

  #drop(): void {
    const batch = this.#batch
    if (batch !== undefined) this.#done(batch)
    const rest = this.#queue.take()
    if (rest !== undefined) this.#done(rest)
  }
}
