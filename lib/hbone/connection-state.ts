import { type Dialect, type Message, tunnelDialect } from './fields.ts'
import { ReceiveWindow } from './flow.ts'
import {
  defaultMaxFrame,
  defaultWindow,
  drainPing,
  errorCode,
  goawayFrame,
  headersFrames,
  largestWindow,
  pingFrame,
  rstFrame,
  windowFrame,
} from './frames.ts'
import { Glitches } from './glitches.ts'
import type { HboneLimits } from './limits.ts'
import { Stream, StreamTable } from './stream.ts'

export type ConnectionEvents = {
  /** Server: a peer opened a stream; its listener has to be set during the call. */
  request(stream: Stream, request: Message): void
  /** The peer's settings are known. */
  ready(): void
  pong(payload: Buffer): void
  /** The peer takes no streams after `lastId`. */
  goaway(lastId: number, code: number): void
  /** The connection is over; its output ends with a GOAWAY. Streams have been told before. */
  failed(code: number, reason: string): void
}

export type Role = 'server' | 'client'

/**
 * A window is at most this part of what has moved through it: an application that stops when the kernel's buffers are
 * full has not earned a large one.
 */
const earned = 1 / 8

/** What sending and receiving share: windows, streams, output, and the ways in which all of it ends. */
export class ConnectionState {
  readonly role: Role
  readonly dialect: Dialect
  readonly limits: HboneLimits
  readonly events: ConnectionEvents
  readonly glitches: Glitches
  readonly table = new StreamTable()
  readonly receiveWindow: ReceiveWindow
  sendWindow = defaultWindow
  peerInitialWindow = defaultWindow
  peerMaxFrame = defaultMaxFrame
  /** Unlimited until the peer says otherwise (RFC 9113 §6.5.2). */
  peerMaxStreams = Number.POSITIVE_INFINITY
  /** The peer takes CONNECT with a protocol (RFC 8441). */
  peerConnectProtocol = false
  settingsAcked = false
  /** PINGs of ours that have not been answered. */
  pings = 0
  /** No further streams, by our wish or the peer's. */
  draining = false
  failed = false
  /** The peer has broken the rules. */
  violated = false
  /** Received bytes that have not been given back. */
  held = 0
  /** Header fields of the requests that are open. */
  heldHeaders = 0
  /** Requests or answers of ours on the open streams, in bytes: nothing that a peer could make us say. */
  saidHeaders = 0
  /** The sum of the streams' windows. */
  #promised = 0
  #output: Buffer[] = []
  readonly now: () => number
  readonly startedAt: number
  readonly #ample: () => boolean
  #goaway: 'none' | 'announced' | 'said' = 'none'

  constructor(
    role: Role,
    limits: HboneLimits,
    events: ConnectionEvents,
    now: () => number,
    ample: () => boolean,
    dialect: Dialect = tunnelDialect,
  ) {
    this.#ample = ample
    this.dialect = dialect
    this.role = role
    this.limits = limits
    this.events = events
    this.now = now
    this.startedAt = now()
    this.glitches = new Glitches(limits, now)
    // A window cannot be made smaller than the default that the peer starts with.
    this.receiveWindow = new ReceiveWindow(Math.max(limits.connectionWindow, defaultWindow), defaultWindow)
  }

  write(frame: Buffer): void {
    this.#output.push(frame)
  }

  takeOutput(): Buffer | undefined {
    const parts = this.#output
    if (parts.length === 0) return undefined
    this.#output = []
    return parts.length === 1 ? parts[0] : Buffer.concat(parts)
  }

  /** True while so much is held that there is little room for others. */
  get starved(): boolean {
    return this.held > this.limits.maxHeldBytes
  }

  /** What a peer may send on a new stream. */
  get firstWindow(): number {
    return Math.min(this.limits.firstStreamWindow, this.limits.streamWindow)
  }

  newStream(id: number, headerBytes = 0): Stream {
    // Before the peer knows our setting it goes by the default.
    const window = new ReceiveWindow(this.firstWindow, Math.max(this.firstWindow, defaultWindow))
    this.#promised += window.size
    this.heldHeaders += headerBytes
    return new Stream(id, this.peerInitialWindow, window, headerBytes, this.now())
  }

  /** Writes a request or an answer. */
  say(stream: Stream, block: Buffer, endStream: boolean): void {
    const frames = headersFrames(stream.id, block, endStream, this.peerMaxFrame)
    stream.saidBytes += frames.length
    this.saidHeaders += frames.length
    this.write(frames)
  }

  #remove(stream: Stream): void {
    if (stream.closed) return
    this.table.remove(stream)
    this.heldHeaders -= stream.headerBytes
    this.saidHeaders -= stream.saidBytes
    if (!stream.remoteEnded) this.#promised -= stream.receiveWindow.size
  }

  /**
   * How large a stream's window may be that has just taken its bytes: half of what the others leave of the connection's,
   * so that equals get equal shares and there is always one share more.
   */
  #wantedWindow({ receiveWindow: { size }, moved }: Stream): number {
    if (!this.#ample()) return this.firstWindow
    const share = (this.receiveWindow.size - (this.#promised - size)) / 2
    return Math.floor(Math.max(this.firstWindow, Math.min(share, moved * earned, this.limits.streamWindow)))
  }

  /** Of the streams that have stood still for `ms`, the one that holds most. */
  stalled(ms: number): Stream | undefined {
    const before = this.now() - ms
    let worst: Stream | undefined
    for (const stream of this.table.open.values()) {
      if (stream.movedAt < before && stream.held > (worst?.held ?? 0)) worst = stream
    }
    return worst
  }

  /** DATA has been taken in. */
  hold(stream: Stream, n: number): void {
    stream.held += n
    this.held += n
  }

  /** Received bytes have left our hands: the peer may send as many more. */
  consumed(stream: Stream, n: number): void {
    if (n === 0) return
    stream.held -= n
    stream.moved += n
    stream.movedAt = this.now()
    this.held -= n
    if (!stream.closed && !stream.remoteEnded) {
      const window = stream.receiveWindow
      const before = window.size
      const more = window.credit(n, this.#wantedWindow(stream))
      this.#promised += window.size - before
      if (more > 0) this.write(windowFrame(stream.id, more))
    }
    this.credit(n)
  }

  /** Room of the connection alone. */
  credit(n: number): void {
    if (this.failed) return
    const more = this.receiveWindow.creditShared(n)
    if (more > 0) this.write(windowFrame(0, more))
  }

  localEnd(stream: Stream): void {
    stream.localEnded = true
    if (stream.remoteEnded) this.#remove(stream)
  }

  remoteEnd(stream: Stream): void {
    if (!stream.remoteEnded) this.#promised -= stream.receiveWindow.size
    stream.remoteEnded = true
    if (stream.localEnded) this.#remove(stream)
    stream.listener?.ended()
  }

  /** Ends both directions of a stream. The listener is not called. */
  reset(stream: Stream, code: number): void {
    if (stream.closed) return
    this.write(rstFrame(stream.id, code))
    this.#remove(stream)
    this.table.rememberReset(stream.id)
  }

  /** A stream that somebody else has ended. */
  drop(stream: Stream, code: number): void {
    this.#remove(stream)
    stream.listener?.reset(code, true)
  }

  /** Tells every stream that the connection is gone. */
  close(code: number): void {
    if (this.failed) return
    this.failed = true
    for (const stream of this.table.open.values()) this.drop(stream, code)
  }

  /**
   * A server first says that it is about to leave, and which stream is the last when the peer has heard it: no CONNECT
   * that was on the way is lost (RFC 9113 §6.8). A client is asked for no streams, so it says all at once.
   */
  goaway(): void {
    if (this.#goaway !== 'none' || this.failed) return
    if (this.role === 'client') return this.endGoaway()
    this.#goaway = 'announced'
    this.write(goawayFrame(largestWindow, errorCode.noError))
    this.write(pingFrame(drainPing, false))
    this.pings++
  }

  /** Takes no stream from now on; open ones go on. */
  endGoaway(): void {
    if (this.#goaway === 'said' || this.failed) return
    this.#goaway = 'said'
    this.draining = true
    this.write(goawayFrame(this.role === 'server' ? this.table.last : 0, errorCode.noError))
  }

  /** True while the peer may not yet know that we leave. */
  get leaving(): boolean {
    return this.#goaway === 'announced'
  }

  /** A connection error (RFC 9113 §5.4.1). */
  fail(code: number, reason: string): false {
    if (this.failed) return false
    this.violated = true
    this.write(goawayFrame(this.role === 'server' ? this.table.last : 0, code))
    this.close(code)
    this.events.failed(code, reason)
    return false
  }
}
