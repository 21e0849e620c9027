import { parseRequest, parseResponse, type Request } from './fields.ts'
import { ReceiveWindow } from './flow.ts'
import { type FrameHeader, FrameReader, type FrameSink, type Handling } from './frame-reader.ts'
import {
  defaultMaxFrame,
  defaultWindow,
  endFrame,
  errorCode,
  flag,
  frameType,
  goawayFrame,
  headersFrames,
  largestWindow,
  pingFrame,
  preface,
  rstFrame,
  setting,
  settingsAck,
  settingsFrame,
  windowFrame,
} from './frames.ts'
import { Glitches } from './glitches.ts'
import { type Block, HeaderBlocks } from './header-block.ts'
import type { Decoded, Field } from './hpack/decode.ts'
import { hpackEncode } from './hpack/encode.ts'
import type { HboneLimits } from './limits.ts'
import { parseSettings } from './settings.ts'
import { Stream, StreamTable } from './stream.ts'

export type ConnectionEvents = {
  /** Server: a peer opened a stream; its listener has to be set during the call. */
  request(stream: Stream, request: Request): void
  /** The peer's settings are known. */
  ready(): void
  pong(payload: Buffer): void
  /** The peer takes no streams after `lastId`. */
  goaway(lastId: number, code: number): void
  /** The connection is over; its output ends with a GOAWAY. Streams have been told before. */
  failed(code: number, reason: string): void
}

type Role = 'server' | 'client'

/**
 * HTTP/2 for CONNECT tunnels without I/O: bytes go in through `receive`, come out of `takeOutput`, and DATA is framed
 * by whoever holds the bytes, after `claim`. Nothing a peer sends makes it throw.
 */
export class Connection implements FrameSink {
  readonly #role: Role
  readonly #limits: HboneLimits
  readonly #events: ConnectionEvents
  readonly #reader = new FrameReader()
  readonly #blocks: HeaderBlocks
  readonly #glitches: Glitches
  readonly #table = new StreamTable()
  readonly #receiveWindow: ReceiveWindow
  #output: Buffer[] = []
  #prefaceLeft: number
  #sawSettings = false
  #sendWindow = defaultWindow
  #peerInitialWindow = defaultWindow
  /** The stream of the DATA frame that is being read. */
  #current: Stream | undefined
  #held = 0
  /** Connection credit that is kept back while too much is held. */
  #owed = 0
  #draining = false
  peerMaxFrame = defaultMaxFrame
  /** Unlimited until the peer says otherwise (RFC 9113 §6.5.2). */
  peerMaxStreams = Number.POSITIVE_INFINITY
  failed = false

  constructor(role: Role, limits: HboneLimits, events: ConnectionEvents, now: () => number = Date.now) {
    this.#role = role
    this.#limits = limits
    this.#events = events
    this.#blocks = new HeaderBlocks(limits)
    this.#glitches = new Glitches(limits, now)
    this.#prefaceLeft = role === 'server' ? preface.length : 0
    // A window cannot be made smaller than the default that the peer starts with.
    this.#receiveWindow = new ReceiveWindow(Math.max(limits.connectionWindow, defaultWindow), defaultWindow)
    this.#begin()
  }

  #begin(): void {
    if (this.#role === 'client') this.#output.push(preface)
    const { maxStreams, streamWindow, maxFrameBytes, maxHeaderBytes } = this.#limits
    this.#output.push(
      settingsFrame([
        ...(this.#role === 'client'
          ? [[setting.enablePush, 0] as const]
          : [[setting.maxConcurrentStreams, maxStreams] as const]),
        [setting.initialWindowSize, streamWindow],
        [setting.maxFrameSize, maxFrameBytes],
        [setting.maxHeaderListSize, maxHeaderBytes],
      ]),
    )
    const more = this.#receiveWindow.open()
    if (more > 0) this.#output.push(windowFrame(0, more))
  }

  get streamCount(): number {
    return this.#table.open.size
  }
  get streams(): Iterable<Stream> {
    return this.#table.open.values()
  }
  /** Received bytes that have not been given back. */
  get held(): number {
    return this.#held
  }
  /** True while too much is held for the peer to be given more room. */
  get starved(): boolean {
    return this.#held > this.#limits.maxHeldBytes
  }
  get hasOutput(): boolean {
    return this.#output.length > 0
  }

  /** Frames to be written before any DATA; undefined when there are none. */
  takeOutput(): Buffer | undefined {
    const parts = this.#output
    if (parts.length === 0) return undefined
    this.#output = []
    return parts.length === 1 ? parts[0] : Buffer.concat(parts)
  }

  // ---- what we send ----

  /** Client: opens a stream. */
  open(fields: readonly Field[]): Stream {
    const id = this.#table.last === 0 ? 1 : this.#table.last + 2
    const stream = new Stream(id, this.#peerInitialWindow, this.#streamWindow())
    this.#table.add(stream)
    this.#output.push(headersFrames(id, hpackEncode(fields), false, this.peerMaxFrame))
    return stream
  }

  /** True while streams may be opened as far as their numbers go. */
  get hasIds(): boolean {
    return this.#table.last < largestWindow - 2 && !this.#draining
  }

  /** Server: answers a stream. */
  respond(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    if (stream.closed || stream.localEnded) return
    stream.answered = true
    this.#output.push(headersFrames(stream.id, hpackEncode(fields), endStream, this.peerMaxFrame))
    if (endStream) this.#localEnd(stream)
  }

  /** How many bytes of DATA may be sent now. */
  sendable(stream: Stream): number {
    if (stream.closed || stream.localEnded) return 0
    return Math.max(0, Math.min(this.#sendWindow, stream.sendWindow))
  }

  /** Takes room for `n` bytes of DATA that the caller sends; n is at most `sendable`. */
  claim(stream: Stream, n: number): void {
    this.#sendWindow -= n
    stream.sendWindow -= n
    this.#glitches.sentData()
  }

  /** Ends our direction of a stream. */
  end(stream: Stream): void {
    if (stream.closed || stream.localEnded) return
    this.#output.push(endFrame(stream.id))
    this.#localEnd(stream)
  }

  #localEnd(stream: Stream): void {
    stream.localEnded = true
    if (stream.remoteEnded) this.#table.remove(stream)
  }

  /** Ends both directions of a stream. The listener is not called. */
  reset(stream: Stream, code: number): void {
    if (stream.closed) return
    this.#output.push(rstFrame(stream.id, code))
    this.#table.remove(stream)
    this.#table.rememberReset(stream.id)
  }

  /** Received bytes have left our hands: the peer may send as many more. */
  consumed(stream: Stream, n: number): void {
    if (n === 0) return
    stream.held -= n
    this.#held -= n
    if (!stream.closed && !stream.remoteEnded) {
      const more = stream.receiveWindow.credit(n)
      if (more > 0) this.#output.push(windowFrame(stream.id, more))
    }
    if (this.#owed > 0 && !this.starved) {
      const owed = this.#owed
      this.#owed = 0
      this.#credit(owed)
    }
  }

  #credit(n: number): void {
    if (this.failed) return
    const more = this.#receiveWindow.credit(n)
    if (more > 0) this.#output.push(windowFrame(0, more))
  }

  ping(payload: Buffer): void {
    this.#output.push(pingFrame(payload, false))
  }

  /** Says that no further stream is taken; open ones go on. */
  goaway(): void {
    if (this.#draining || this.failed) return
    this.#draining = true
    this.#output.push(goawayFrame(this.#table.last, errorCode.noError))
  }

  /** The transport is gone, or must go: tells every stream. */
  close(code: number): void {
    if (this.failed) return
    this.failed = true
    for (const stream of this.#table.open.values()) this.#drop(stream, code)
  }

  #drop(stream: Stream, code: number): void {
    this.#table.remove(stream)
    stream.listener?.reset(code, true)
  }

  // ---- what we receive ----

  /** Takes bytes of the peer; false once the connection has failed. The buffer may be reused afterwards. */
  receive(bytes: Buffer, start: number, end: number): boolean {
    if (this.failed) return false
    let at = start
    if (this.#prefaceLeft > 0) {
      const done = preface.length - this.#prefaceLeft
      const n = Math.min(this.#prefaceLeft, end - at)
      if (preface.compare(bytes, at, at + n, done, done + n) !== 0) {
        return this.#fail(errorCode.protocolError, 'not an HTTP/2 preface')
      }
      this.#prefaceLeft -= n
      at += n
      if (this.#prefaceLeft > 0) return true
    }
    return this.#reader.read(bytes, at, end, this) && !this.failed
  }

  #fail(code: number, reason: string): false {
    if (this.failed) return false
    this.#output.push(goawayFrame(this.#role === 'server' ? this.#table.last : 0, code))
    this.close(code)
    this.#events.failed(code, reason)
    return false
  }

  #stop(code: number, reason: string): Handling {
    this.#fail(code, reason)
    return 'stop'
  }

  badPadding(): void {
    this.#fail(errorCode.protocolError, 'padding beyond the frame')
  }

  /** What a frame may be judged by before its payload (RFC 9113 §4.2, §6). */
  begin(header: Readonly<FrameHeader>): Handling {
    const { type, length, id, flags } = header
    if (length > this.#limits.maxFrameBytes) return this.#stop(errorCode.frameSizeError, 'frame too long')
    if (!this.#sawSettings && (type !== frameType.settings || (flags & flag.ack) !== 0)) {
      return this.#stop(errorCode.protocolError, 'first frame is not SETTINGS')
    }
    if (this.#blocks.open !== 0 && (type !== frameType.continuation || id !== this.#blocks.open)) {
      return this.#stop(errorCode.protocolError, 'header block interrupted')
    }
    if (type === frameType.data) return this.#beginData(header)
    if (type > frameType.continuation) return this.#calm('unknown frame') ? 'skip' : 'stop'
    return this.#beginControl(header)
  }

  #beginControl({ type, length, id }: Readonly<FrameHeader>): Handling {
    const onStream =
      type === frameType.headers ||
      type === frameType.continuation ||
      type === frameType.rstStream ||
      type === frameType.priority
    if (onStream && id === 0) return this.#stop(errorCode.protocolError, 'stream frame without a stream')
    if (!onStream && type !== frameType.windowUpdate && id !== 0) {
      return this.#stop(errorCode.protocolError, 'connection frame on a stream')
    }
    const exact = fixedLength.get(type)
    if (exact !== undefined && length !== exact)
      return this.#stop(errorCode.frameSizeError, 'wrong frame length')
    if (type === frameType.pushPromise) return this.#stop(errorCode.protocolError, 'push was not enabled')
    if (type === frameType.continuation && this.#blocks.open === 0) {
      return this.#stop(errorCode.protocolError, 'CONTINUATION without HEADERS')
    }
    if (type === frameType.goaway && length < 8) return this.#stop(errorCode.frameSizeError, 'short GOAWAY')
    if (length > this.#limits.maxHeaderBytes)
      return this.#stop(errorCode.enhanceYourCalm, 'control frame too long')
    return 'collect'
  }

  /** DATA counts against the windows in full, padding included, before its payload arrives. */
  #beginData({ length, id, flags }: Readonly<FrameHeader>): Handling {
    if (id === 0) return this.#stop(errorCode.protocolError, 'DATA without a stream')
    const state = this.#table.stateOf(id)
    if (state === 'idle') return this.#stop(errorCode.protocolError, 'DATA on an idle stream')
    if (state === 'forgotten') return this.#stop(errorCode.streamClosed, 'DATA on a closed stream')
    if (!this.#receiveWindow.take(length))
      return this.#stop(errorCode.flowControlError, 'connection window exceeded')
    const stream = this.#table.open.get(id)
    if (stream === undefined) {
      this.#credit(length)
      return this.#calm('DATA on a reset stream') ? 'skip' : 'stop'
    }
    if (stream.remoteEnded) return this.#stop(errorCode.streamClosed, 'DATA after END_STREAM')
    if (this.#role === 'client' && !stream.answered) {
      return this.#stop(errorCode.protocolError, 'DATA before the answer')
    }
    if (!stream.receiveWindow.take(length))
      return this.#stop(errorCode.flowControlError, 'stream window exceeded')
    if (length === 0 && (flags & flag.endStream) === 0 && !this.#calm('empty DATA')) return 'stop'
    stream.held += length
    this.#held += length
    if (this.starved) this.#owed += length
    else this.#credit(length)
    this.#current = stream
    return 'stream'
  }

  piece(_header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): boolean {
    const stream = this.#current
    if (stream === undefined) return !this.failed
    // Nobody wants the rest of a frame whose stream was reset while it was arriving.
    if (stream.closed) this.consumed(stream, end - start)
    else stream.listener?.bytes(bytes, start, end)
    return !this.failed
  }

  done(header: Readonly<FrameHeader>): boolean {
    const stream = this.#current
    this.#current = undefined
    if (stream === undefined) return !this.failed
    // Padding was never anybody's: give it back at once.
    if ((header.flags & flag.padded) !== 0) this.consumed(stream, this.#reader.paddingOfLast)
    if ((header.flags & flag.endStream) !== 0 && !stream.closed) this.#remoteEnd(stream)
    return !this.failed
  }

  #remoteEnd(stream: Stream): void {
    stream.remoteEnded = true
    if (stream.localEnded) this.#table.remove(stream)
    stream.listener?.ended()
  }

  frame(header: Readonly<FrameHeader>, payload: Buffer): boolean {
    switch (header.type) {
      case frameType.headers:
        return this.#onHeaders(header, payload)
      case frameType.continuation:
        return this.#onBlock(this.#blocks.continuation(header, payload))
      case frameType.settings:
        return this.#onSettings(header, payload)
      case frameType.ping:
        return this.#onPing(header, payload)
      case frameType.windowUpdate:
        return this.#onWindowUpdate(header.id, payload.readUInt32BE(0) & largestWindow)
      case frameType.rstStream:
        return this.#onReset(header.id, payload.readUInt32BE(0))
      case frameType.goaway:
        return this.#onGoaway(payload.readUInt32BE(0) & largestWindow, payload.readUInt32BE(4))
      default:
        return this.#calm('PRIORITY')
    }
  }

  #calm(what: string): boolean {
    return this.#glitches.control() || this.#fail(errorCode.enhanceYourCalm, `flood: ${what}`)
  }

  #onSettings({ flags }: Readonly<FrameHeader>, payload: Buffer): boolean {
    if ((flags & flag.ack) !== 0) {
      return payload.length === 0 || this.#fail(errorCode.frameSizeError, 'SETTINGS ACK with a payload')
    }
    if (!this.#calm('SETTINGS')) return false
    const answer = parseSettings(payload)
    if ('code' in answer) return this.#fail(answer.code, answer.reason)
    this.peerMaxFrame = answer.maxFrame ?? this.peerMaxFrame
    this.peerMaxStreams = answer.maxStreams ?? this.peerMaxStreams
    if (answer.initialWindow !== undefined && !this.#resizeWindows(answer.initialWindow)) return false
    this.#output.push(settingsAck())
    if (!this.#sawSettings) {
      this.#sawSettings = true
      this.#events.ready()
    }
    return !this.failed
  }

  #resizeWindows(initialWindow: number): boolean {
    const change = initialWindow - this.#peerInitialWindow
    this.#peerInitialWindow = initialWindow
    for (const stream of this.#table.open.values()) {
      stream.sendWindow += change
      if (stream.sendWindow > largestWindow) return this.#fail(errorCode.flowControlError, 'window too large')
    }
    if (change > 0) this.#wakeAll()
    return true
  }

  #wakeAll(): void {
    for (const stream of this.#table.open.values()) if (!stream.closed) stream.listener?.writable()
  }

  #onPing({ flags }: Readonly<FrameHeader>, payload: Buffer): boolean {
    if ((flags & flag.ack) !== 0) this.#events.pong(payload)
    else if (!this.#calm('PING')) return false
    else this.#output.push(pingFrame(payload, true))
    return !this.failed
  }

  #onWindowUpdate(id: number, n: number): boolean {
    if (!this.#glitches.windowUpdate()) return this.#fail(errorCode.enhanceYourCalm, 'flood: WINDOW_UPDATE')
    if (n === 0) return this.#fail(errorCode.protocolError, 'WINDOW_UPDATE of 0')
    if (id === 0) {
      this.#sendWindow += n
      if (this.#sendWindow > largestWindow) return this.#fail(errorCode.flowControlError, 'window too large')
      // Streams wait for this only where the connection was the narrow place.
      if (this.#sendWindow - n <= 0) this.#wakeAll()
      return !this.failed
    }
    const stream = this.#table.open.get(id)
    if (stream === undefined) return this.#table.stateOf(id) !== 'idle' || this.#idle('WINDOW_UPDATE')
    stream.sendWindow += n
    if (stream.sendWindow > largestWindow) return this.#fail(errorCode.flowControlError, 'window too large')
    stream.listener?.writable()
    return !this.failed
  }

  #idle(what: string): false {
    return this.#fail(errorCode.protocolError, `${what} on an idle stream`)
  }

  #onReset(id: number, code: number): boolean {
    const stream = this.#table.open.get(id)
    if (stream === undefined) {
      return this.#table.stateOf(id) === 'idle' ? this.#idle('RST_STREAM') : this.#calm('RST_STREAM')
    }
    if (this.#role === 'server' && !stream.answered && !this.#glitches.unansweredReset()) {
      return this.#fail(errorCode.enhanceYourCalm, 'flood: streams reset before their answer')
    }
    this.#drop(stream, code)
    return !this.failed
  }

  #onGoaway(lastId: number, code: number): boolean {
    if (!this.#calm('GOAWAY')) return false
    if (this.#role === 'client') this.#draining = true
    this.#events.goaway(lastId, code)
    if (this.#role === 'client') {
      for (const stream of this.#table.open.values()) {
        if (stream.id > lastId) this.#drop(stream, errorCode.refusedStream)
      }
    }
    return !this.failed
  }

  #onHeaders(header: Readonly<FrameHeader>, payload: Buffer): boolean {
    const { id } = header
    const state = this.#table.stateOf(id)
    if (this.#role === 'client' && state === 'idle') return this.#idle('HEADERS')
    if (id % 2 === 0) return this.#fail(errorCode.protocolError, 'stream number of the wrong side')
    if (state === 'forgotten') return this.#fail(errorCode.streamClosed, 'HEADERS on a closed stream')
    if (this.#table.open.get(id)?.remoteEnded)
      return this.#fail(errorCode.streamClosed, 'HEADERS after END_STREAM')
    return this.#onBlock(this.#blocks.headers(header, payload))
  }

  #onBlock(block: Block): boolean {
    if (block.kind === 'more') return true
    if (block.kind === 'error') return this.#fail(block.code, block.reason)
    const stream = this.#table.open.get(block.id)
    if (stream !== undefined) return this.#onStreamHeaders(stream, block.decoded, block.endStream)
    if (this.#table.stateOf(block.id) !== 'idle') return this.#calm('HEADERS on a reset stream')
    return this.#onRequest(block.id, block.decoded, block.endStream)
  }

  #onRequest(id: number, decoded: Decoded, endStream: boolean): boolean {
    const request =
      decoded.kind === 'fields' ? parseRequest(decoded.fields) : { malformed: 'too many fields' }
    const malformed = 'malformed' in request
    const stream = new Stream(
      id,
      this.#peerInitialWindow,
      this.#streamWindow(),
      malformed ? undefined : request,
    )
    const full = this.#draining || this.#table.open.size >= this.#limits.maxStreams
    this.#table.add(stream)
    if (malformed || full) {
      this.reset(stream, malformed ? errorCode.protocolError : errorCode.refusedStream)
      // Refusing during a drain is our own doing.
      return (
        this.#draining ||
        this.#glitches.glitch() ||
        this.#fail(errorCode.enhanceYourCalm, 'too many bad requests')
      )
    }
    this.#events.request(stream, request)
    if (endStream && !stream.closed) this.#remoteEnd(stream)
    return !this.failed
  }

  /** An answer, or trailers, which a tunnel must not have (RFC 9113 §8.5). */
  #onStreamHeaders(stream: Stream, decoded: Decoded, endStream: boolean): boolean {
    const answer =
      decoded.kind === 'fields' && this.#role === 'client' && !stream.answered
        ? parseResponse(decoded.fields)
        : { malformed: 'unexpected HEADERS' }
    if ('malformed' in answer) {
      this.reset(stream, errorCode.protocolError)
      stream.listener?.reset(errorCode.protocolError, false)
      return this.#glitches.glitch() || this.#fail(errorCode.enhanceYourCalm, 'too many malformed streams')
    }
    if (answer.status < 200 && !endStream) return this.#calm('informational answers')
    stream.answered = true
    stream.listener?.response(answer)
    if (endStream && !stream.closed) this.#remoteEnd(stream)
    return !this.failed
  }

  #streamWindow(): number {
    // Before the peer knows our setting it goes by the default.
    return Math.max(this.#limits.streamWindow, defaultWindow)
  }
}

const fixedLength = new Map<number, number>([
  [frameType.priority, 5],
  [frameType.rstStream, 4],
  [frameType.ping, 8],
  [frameType.windowUpdate, 4],
])
