import type { Message } from './fields.ts'
import type { ReceiveWindow } from './flow.ts'
import { StreamMap } from './stream-map.ts'

/** Whoever uses a stream. Buffers are valid only during the call. */
export type StreamListener = {
  response(answer: Message): void
  /** An answer before the answer. */
  interim?(answer: Message): void
  /** The last fields of a message; its end follows. */
  trailers?(fields: Message): void
  bytes(buffer: Buffer, start: number, end: number): void
  /** The peer has sent all it wanted to. */
  ended(): void
  /** The stream is gone; `remote` when the peer or the connection ended it. */
  reset(code: number, remote: boolean): void
  /** More may be sent than before. */
  writable(): void
  /** The connection takes no more streams. */
  leaving?(): void
}

/** One stream of a connection; changed only by `Connection`. */
export class Stream {
  readonly id: number
  listener: StreamListener | undefined
  /** May be negative after the peer made its initial window smaller. */
  sendWindow: number
  readonly receiveWindow: ReceiveWindow
  /** What its request's fields take. */
  readonly headerBytes: number
  /** Received and not yet given back. */
  held = 0
  /** Bytes that have left for a reader, and when the last did. */
  moved = 0
  movedAt: number
  answered = false
  /** What our own request or answer on it takes, written as HEADERS. */
  saidBytes = 0
  localEnded = false
  remoteEnded = false
  closed = false

  constructor(
    id: number,
    sendWindow: number,
    receiveWindow: ReceiveWindow,
    headerBytes: number,
    now: number,
  ) {
    this.id = id
    this.sendWindow = sendWindow
    this.receiveWindow = receiveWindow
    this.headerBytes = headerBytes
    this.movedAt = now
  }
}

/** Streams that we reset lately: frames that were on the way are no fault of the peer. */
const maxRemembered = 1000
/** Ranges of numbers that a client has left out. No real one leaves out any; it matters only which error is right. */
const maxGaps = 16

/** The open streams of a connection, and what is known of the others. */
export class StreamTable {
  readonly open = new StreamMap()
  readonly #resetByUs = new Set<number>()
  readonly #gaps: (readonly [from: number, to: number])[] = []
  /** Highest stream that the client side of this connection has opened. */
  last = 0

  /** The number of the next stream that a client opens. */
  get nextId(): number {
    return this.last === 0 ? 1 : this.last + 2
  }

  /** idle: never opened. skipped: never opened, and too late now. forgotten: closed so that nothing may follow. */
  stateOf(id: number): 'open' | 'idle' | 'skipped' | 'reset-by-us' | 'forgotten' {
    if (this.open.get(id)) return 'open'
    if (id > this.last || id % 2 === 0) return 'idle'
    if (this.#resetByUs.has(id)) return 'reset-by-us'
    return this.#gaps.some(([from, to]) => from <= id && id <= to) ? 'skipped' : 'forgotten'
  }

  add(stream: Stream): void {
    if (stream.id > this.nextId && this.#gaps.length < maxGaps) this.#gaps.push([this.nextId, stream.id - 2])
    this.last = stream.id
    this.open.add(stream)
  }

  remove(stream: Stream): void {
    stream.closed = true
    this.open.delete(stream)
  }

  rememberReset(id: number): void {
    this.#resetByUs.add(id)
    if (this.#resetByUs.size <= maxRemembered) return
    for (const oldest of this.#resetByUs) {
      this.#resetByUs.delete(oldest)
      break
    }
  }
}
