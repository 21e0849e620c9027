import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { MeshError, type SocketAddress } from '#base'
import type { SpiffeId } from '#identity'
import { ByteQueue, type Batch } from './byte-queue.ts'
import type { ByteStream } from './byte-stream.ts'
import { tunnelDuplex } from './duplex.ts'
import type { Message } from './fields.ts'
import { forwardTunnel } from './forward.ts'
import { errorCode } from './frames.ts'
import { brokenCode } from './h2-error.ts'
import { readBytes } from './memory.ts'
import type { Session } from './session.ts'
import type { Stream, StreamListener } from './stream.ts'
import type { Transferred, Tunnel } from './tunnel.ts'
import { tunnelBytes } from './tunnel-bytes.ts'

/** Who reads and writes a tunnel: a forward or a duplex view. */
export type TunnelUser = {
  /** Bytes or the end have arrived; called once per loop turn, and whenever a slab is full. */
  received(): void
  writable(): void
  /** Nothing more comes or goes. Undefined after a plain end. */
  gone(code: number): void
}

/** A stream with the bytes that wait for its user. */
export class TunnelStream implements StreamListener, Tunnel {
  readonly session: Session
  readonly stream: Stream
  readonly queue: ByteQueue
  readonly peer: SpiffeId
  readonly remote: SocketAddress
  #user: TunnelUser | undefined
  #isDirty = false
  /** Set once the stream has been reset by anybody. */
  resetCode: number | undefined
  onResponse: ((answer: Message | MeshError) => void) | undefined
  #lost: AbortController | undefined
  #onLeaving: (() => void) | undefined

  constructor(session: Session, stream: Stream) {
    this.session = session
    this.stream = stream
    this.queue = new ByteQueue(session.budget)
    this.peer = session.peer
    this.remote = session.remote
    stream.listener = this
  }

  // ---- from the connection ----

  response(answer: Message): void {
    this.onResponse?.(answer)
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    if (this.queue.push(buffer, start, end)) {
      // What fills a slab is handed on at once, while it is still in the cache; the rest at the end of the loop turn.
      if (this.queue.bytes >= readBytes) this.#user?.received()
      this.again()
    } else {
      // No memory is left for readers that stand still; this one's loss is everybody's gain.
      this.session.connection.consumed(this.stream, end - start)
      this.#resetBoth(errorCode.enhanceYourCalm)
    }
  }

  ended(): void {
    this.again()
    if (this.stream.closed) this.session.streamClosed()
  }

  writable(): void {
    this.#user?.writable()
  }

  reset(code: number = brokenCode, remote = false): void {
    if (!remote) return this.#resetBoth(code)
    this.#gone(code)
  }

  /** Asks for `received` at the end of this loop turn. */
  again(): void {
    if (this.#isDirty) return
    this.#isDirty = true
    this.session.markDirty(this)
  }

  flush(): void {
    this.#isDirty = false
    this.#user?.received()
  }

  leaving(): void {
    this.#onLeaving?.()
  }

  // ---- from the user ----

  onLeaving(told: () => void): void {
    this.#onLeaving = told
    if (this.session.leaving) queueMicrotask(told)
  }

  use(user: TunnelUser): void {
    if (this.#user !== undefined) throw new TypeError('tunnel is already in use')
    this.#user = user
    if (this.resetCode !== undefined) user.gone(this.resetCode)
    else if (this.queue.bytes > 0 || this.stream.remoteEnded) this.again()
  }

  get sendable(): number {
    return this.session.connection.sendable(this.stream)
  }

  send(buffer: Buffer, n: number, sent: () => void): void {
    this.session.send(this.stream, buffer, n, sent)
  }

  end(): void {
    this.session.connection.end(this.stream)
    this.session.streamClosed()
  }

  /** A batch has been written: its room goes back to the peer. */
  done(batch: Batch): void {
    this.queue.release(batch)
    this.session.connection.consumed(this.stream, batch.bytes)
    this.session.flush()
  }

  #resetBoth(code: number): void {
    if (!this.stream.closed) this.session.connection.reset(this.stream, code)
    this.#gone(code)
    this.session.streamClosed()
  }

  /** Made only for those who ask: most tunnels live without. */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController()
      if (this.resetCode !== undefined) this.#lost.abort(this.session.lossError(this.resetCode))
    }
    return this.#lost.signal
  }

  /** An answered tunnel tells its end by its user. */
  protected forgetLost(): void {
    this.#lost = undefined
  }

  #gone(code: number): void {
    if (this.resetCode !== undefined) return
    this.resetCode = code
    this.#lost?.abort(this.session.lossError(code))
    this.onResponse?.(this.session.lossError(code))
    this.#user?.gone(code)
    if (this.#user === undefined) this.discard()
    this.session.streamClosed()
  }

  /** Our direction has ended with a refusal: the peer's ends too, without a reset if it agrees. */
  protected refused(): void {
    if (!this.stream.closed) this.session.connection.reset(this.stream, errorCode.noError)
    this.discard()
    this.session.streamClosed()
  }

  /** Drops what waits unread. */
  discard(): void {
    const batch = this.queue.take()
    if (batch) this.done(batch)
  }

  forward(app: Socket, signal: AbortSignal): Promise<Transferred> {
    return forwardTunnel(this, app, signal)
  }

  duplex(): Duplex {
    return tunnelDuplex(this)
  }

  byteStream(): ByteStream {
    return tunnelBytes(this)
  }
}
