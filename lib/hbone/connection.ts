import { type ConnectionEvents, ConnectionState, type Role } from './connection-state.ts'
import {
  endFrame,
  errorCode,
  largestWindow,
  pingFrame,
  preface,
  setting,
  settingsFrame,
  windowFrame,
} from './frames.ts'
import type { Dialect } from './fields.ts'
import type { Field } from './hpack/decode.ts'
import { hpackEncode } from './hpack/encode.ts'
import type { HboneLimits } from './limits.ts'
import { Receiver } from './receiver.ts'
import type { Stream } from './stream.ts'

export type { ConnectionEvents } from './connection-state.ts'

const connectProtocol = [setting.enableConnectProtocol, 1] as const

/**
 * HTTP/2 without I/O, for CONNECT tunnels unless told otherwise: bytes go in through `receive`, come out of `takeOutput`, and DATA is framed
 * by whoever holds the bytes, after `claim`. Nothing a peer sends makes it throw.
 */
export class Connection {
  readonly #state: ConnectionState
  readonly #receiver: Receiver

  /** `ample` says whether there is memory to spare: without it windows do not grow. */
  constructor(
    role: Role,
    limits: HboneLimits,
    events: ConnectionEvents,
    now: () => number = () => performance.now(),
    ample: () => boolean = () => true,
    dialect?: Dialect,
  ) {
    this.#state = new ConnectionState(role, limits, events, now, ample, dialect)
    this.#receiver = new Receiver(this.#state)
    this.#begin(role, limits)
  }

  #begin(role: Role, { maxStreams, maxFrameBytes, maxHeaderBytes }: HboneLimits): void {
    if (role === 'client') this.#state.write(preface)
    this.#state.write(
      settingsFrame([
        role === 'client' ? [setting.enablePush, 0] : [setting.maxConcurrentStreams, maxStreams],
        [setting.initialWindowSize, this.#state.firstWindow],
        [setting.maxFrameSize, maxFrameBytes],
        [setting.maxHeaderListSize, maxHeaderBytes],
        ...(role === 'server' && this.#state.dialect.general ? [connectProtocol] : []),
      ]),
    )
    const more = this.#state.receiveWindow.open()
    if (more > 0) this.#state.write(windowFrame(0, more))
  }

  get streamCount(): number {
    return this.#state.table.open.size
  }
  /** Received bytes that have not been given back. */
  get held(): number {
    return this.#state.held
  }
  /** True while so much is held that there is little room for others. */
  get starved(): boolean {
    return this.#state.starved
  }
  /** Requests or answers of ours on the open streams, in bytes. */
  get saidHeaders(): number {
    return this.#state.saidHeaders
  }
  get peerMaxFrame(): number {
    return this.#state.peerMaxFrame
  }
  get peerMaxStreams(): number {
    return this.#state.peerMaxStreams
  }
  /** The peer takes CONNECT with a protocol (RFC 8441). */
  get peerConnectProtocol(): boolean {
    return this.#state.peerConnectProtocol
  }
  get failed(): boolean {
    return this.#state.failed
  }
  /** True when the peer has broken the rules. */
  get violated(): boolean {
    return this.#state.violated
  }

  /** Takes bytes of the peer; false once the connection has failed. The buffer may be reused afterwards. */
  receive(bytes: Buffer, start: number, end: number): boolean {
    return this.#receiver.receive(bytes, start, end)
  }

  /** Frames to be written before any DATA; undefined when there are none. */
  takeOutput(): Buffer | undefined {
    return this.#state.takeOutput()
  }

  /** Client: opens a stream. */
  open(fields: readonly Field[], endStream = false): Stream {
    const state = this.#state
    const stream = state.newStream(state.table.nextId)
    state.table.add(stream)
    state.say(stream, hpackEncode(fields), endStream)
    if (endStream) state.localEnd(stream)
    return stream
  }

  /** True while streams may be opened as far as their numbers go. */
  get hasIds(): boolean {
    return this.#state.table.nextId < largestWindow && !this.#state.draining
  }

  /** Server: answers a stream. */
  respond(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    if (stream.closed || stream.localEnded) return
    stream.answered = true
    this.#state.say(stream, hpackEncode(fields), endStream)
    if (endStream) this.#state.localEnd(stream)
  }

  /** Server: an answer before the answer. */
  inform(stream: Stream, fields: readonly Field[]): void {
    if (stream.closed || stream.answered) return
    this.#state.say(stream, hpackEncode(fields), false)
  }

  /** Ends our direction of a stream with these fields. */
  trail(stream: Stream, fields: readonly Field[]): void {
    if (stream.closed || stream.localEnded) return
    this.#state.say(stream, hpackEncode(fields), true)
    this.#state.localEnd(stream)
  }

  /** How many bytes of DATA may be sent now. */
  sendable(stream: Stream): number {
    if (stream.closed || stream.localEnded) return 0
    return Math.max(0, Math.min(this.#state.sendWindow, stream.sendWindow))
  }

  /** Takes room for `n` bytes of DATA that the caller sends; n is at most `sendable`. */
  claim(stream: Stream, n: number): void {
    this.#state.sendWindow -= n
    stream.sendWindow -= n
    this.#state.glitches.sentData()
  }

  /** Ends our direction of a stream. */
  end(stream: Stream): void {
    if (stream.closed || stream.localEnded) return
    this.#state.write(endFrame(stream.id))
    this.#state.localEnd(stream)
  }

  /** The DATA that was claimed last says itself that it is the end of our direction. */
  ended(stream: Stream): void {
    if (!stream.closed && !stream.localEnded) this.#state.localEnd(stream)
  }

  /** Ends both directions of a stream. The listener is not called. */
  reset(stream: Stream, code: number): void {
    this.#state.reset(stream, code)
  }

  /** The same for what the peer has made of the stream, which counts like a malformed request (CVE-2025-8671). */
  resetFaulty(stream: Stream, code: number): void {
    this.#state.reset(stream, code)
    if (!this.#state.glitches.glitch()) this.#state.fail(errorCode.enhanceYourCalm, 'too many bad requests')
  }

  /** Received bytes have left our hands: the peer may send as many more. */
  consumed(stream: Stream, n: number): void {
    this.#state.consumed(stream, n)
  }

  /** Where readers that stand still leave the others no room: resets the one that holds most. */
  relieve(stallMs: number): void {
    const stream = this.starved ? this.#state.stalled(stallMs) : undefined
    stream?.listener?.reset(errorCode.enhanceYourCalm, false)
  }

  ping(payload: Buffer): void {
    this.#state.pings++
    this.#state.write(pingFrame(payload, false))
  }

  /** Says that no further stream will be taken; those on the way are, and open ones go on. */
  goaway(): void {
    this.#state.goaway()
  }

  /** Takes no stream from now on. */
  endGoaway(): void {
    this.#state.endGoaway()
  }

  /** True while the peer may not yet know that we leave. */
  get leaving(): boolean {
    return this.#state.leaving
  }

  /** Tells all that is open that the connection takes no more, and may not last. */
  tellLeaving(): void {
    for (const stream of this.#state.table.open.values()) stream.listener?.leaving?.()
  }

  /** To be called now and then: fails when the peer has not sent in time what it owes us. */
  checkTime(): void {
    this.#receiver.checkTime()
  }

  /** The transport is gone, or must go: tells every stream. */
  close(code: number): void {
    this.#state.close(code)
  }
}
