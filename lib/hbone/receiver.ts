import { type Malformed, type Message, type MessageKind, parseMessage } from './fields.ts'
import type { ConnectionState } from './connection-state.ts'
import { type FrameHeader, FrameReader, type FrameSink, type Handling } from './frame-reader.ts'
import {
  drainPing,
  errorCode,
  flag,
  frameType,
  largestWindow,
  pingFrame,
  preface,
  settingsAck,
} from './frames.ts'
import { type Block, HeaderBlocks } from './header-block.ts'
import type { Decoded } from './hpack/decode.ts'
import { parseSettings } from './settings.ts'
import type { Stream } from './stream.ts'

/** Reads what the peer sends and acts on it. A faulty frame ends the connection; a malformed request only its stream. */
export class Receiver implements FrameSink {
  readonly #state: ConnectionState
  readonly #reader = new FrameReader()
  readonly #blocks: HeaderBlocks
  #prefaceLeft: number
  #sawSettings = false
  /** The control frame that was not all there at the last look, by its number, and since when. */
  #unfinished = 0
  #unfinishedSince = 0
  /** The stream of the DATA frame that is being read. */
  #current: Stream | undefined

  constructor(state: ConnectionState) {
    this.#state = state
    this.#blocks = new HeaderBlocks(state.limits, state.now)
    this.#prefaceLeft = state.role === 'server' ? preface.length : 0
  }

  /** Takes bytes of the peer; false once the connection has failed. The buffer may be reused afterwards. */
  receive(bytes: Buffer, start: number, end: number): boolean {
    if (this.#state.failed) return false
    let at = start
    if (this.#prefaceLeft > 0) {
      const done = preface.length - this.#prefaceLeft
      const n = Math.min(this.#prefaceLeft, end - at)
      if (preface.compare(bytes, at, at + n, done, done + n) !== 0) {
        return this.#state.fail(errorCode.protocolError, 'not an HTTP/2 preface')
      }
      this.#prefaceLeft -= n
      at += n
      if (this.#prefaceLeft > 0) return true
    }
    return this.#reader.read(bytes, at, end, this) && !this.#state.failed
  }

  /** Judges what the peer owes us and has not sent; false once the connection has failed. */
  checkTime(): boolean {
    const state = this.#state
    const { settingsMs, headerBlockMs } = state.limits
    const now = state.now()
    if (state.failed) return false
    if (!state.settingsAcked && now - state.startedAt > settingsMs) {
      return state.fail(errorCode.settingsTimeout, 'SETTINGS are not acknowledged')
    }
    if (this.#blocks.open !== 0 && now - this.#blocks.openSince > headerBlockMs) {
      return state.fail(errorCode.enhanceYourCalm, 'header block does not end')
    }
    if (this.#isStuck(now)) return state.fail(errorCode.enhanceYourCalm, 'frame does not end')
    return true
  }

  /** A control frame that is being collected holds memory, like a block, for as long as its peer likes. */
  #isStuck(now: number): boolean {
    const { collecting, collections } = this.#reader
    if (collecting && collections === this.#unfinished)
      return now - this.#unfinishedSince > this.#state.limits.headerBlockMs
    this.#unfinished = collecting ? collections : 0
    this.#unfinishedSince = now
    return false
  }

  #stop(code: number, reason: string): Handling {
    this.#state.fail(code, reason)
    return 'stop'
  }

  badPadding(): void {
    this.#state.fail(errorCode.protocolError, 'padding beyond the frame')
  }

  /** What a frame may be judged by before its payload (RFC 9113 §4.2, §6). */
  begin(header: Readonly<FrameHeader>): Handling {
    const { type, length, id, flags } = header
    if (length > this.#state.limits.maxFrameBytes)
      return this.#stop(errorCode.frameSizeError, 'frame too long')
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
    if (length > this.#state.limits.maxHeaderBytes)
      return this.#stop(errorCode.enhanceYourCalm, 'control frame too long')
    return 'collect'
  }

  /** DATA counts against the windows in full, padding included, before its payload arrives. */
  #beginData({ length, id, flags }: Readonly<FrameHeader>): Handling {
    if (id === 0) return this.#stop(errorCode.protocolError, 'DATA without a stream')
    const state = this.#state.table.stateOf(id)
    if (state === 'idle') return this.#stop(errorCode.protocolError, 'DATA on an idle stream')
    if (state === 'forgotten' || state === 'skipped')
      return this.#stop(errorCode.streamClosed, 'DATA on a closed stream')
    if (!this.#state.receiveWindow.take(length))
      return this.#stop(errorCode.flowControlError, 'connection window exceeded')
    const stream = this.#state.table.open.get(id)
    if (stream === undefined) {
      this.#state.credit(length)
      return this.#calm('DATA on a reset stream') ? 'skip' : 'stop'
    }
    if (stream.remoteEnded) return this.#stop(errorCode.streamClosed, 'DATA after END_STREAM')
    if (this.#state.role === 'client' && !stream.answered) {
      return this.#stop(errorCode.protocolError, 'DATA before the answer')
    }
    if (!stream.receiveWindow.take(length))
      return this.#stop(errorCode.flowControlError, 'stream window exceeded')
    if (length === 0 && (flags & flag.endStream) === 0 && !this.#calm('empty DATA')) return 'stop'
    this.#state.hold(stream, length)
    this.#current = stream
    return 'stream'
  }

  piece(_header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): boolean {
    const stream = this.#current
    if (stream === undefined) return !this.#state.failed
    // Nobody wants the rest of a frame whose stream was reset while it was arriving.
    if (stream.closed) this.#state.consumed(stream, end - start)
    else stream.listener?.bytes(bytes, start, end)
    return !this.#state.failed
  }

  done(header: Readonly<FrameHeader>): boolean {
    const stream = this.#current
    this.#current = undefined
    if (stream === undefined) return !this.#state.failed
    const padding = this.#reader.paddingOfLast
    const ends = (header.flags & flag.endStream) !== 0
    // Padding was never anybody's: give it back at once.
    this.#state.consumed(stream, padding)
    if (padding > 0 && padding === header.length && !ends && !this.#calm('DATA of padding alone'))
      return false
    if (ends && !stream.closed) this.#state.remoteEnd(stream)
    return !this.#state.failed
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
    return this.#state.glitches.control() || this.#state.fail(errorCode.enhanceYourCalm, `flood: ${what}`)
  }

  #onSettings({ flags }: Readonly<FrameHeader>, payload: Buffer): boolean {
    if ((flags & flag.ack) !== 0) {
      if (payload.length > 0) return this.#state.fail(errorCode.frameSizeError, 'SETTINGS ACK with a payload')
      // Ours are sent once.
      if (this.#state.settingsAcked) return this.#calm('SETTINGS ACK')
      this.#state.settingsAcked = true
      return true
    }
    if (!this.#calm('SETTINGS')) return false
    const answer = parseSettings(payload, this.#state.role)
    if ('code' in answer) return this.#state.fail(answer.code, answer.reason)
    this.#state.peerMaxFrame = answer.maxFrame ?? this.#state.peerMaxFrame
    this.#state.peerMaxStreams = answer.maxStreams ?? this.#state.peerMaxStreams
    this.#state.peerConnectProtocol = answer.connectProtocol ?? this.#state.peerConnectProtocol
    if (answer.initialWindow !== undefined && !this.#resizeWindows(answer.initialWindow)) return false
    this.#state.write(settingsAck())
    if (!this.#sawSettings) {
      this.#sawSettings = true
      this.#state.events.ready()
    }
    return !this.#state.failed
  }

  #resizeWindows(initialWindow: number): boolean {
    const change = initialWindow - this.#state.peerInitialWindow
    this.#state.peerInitialWindow = initialWindow
    for (const stream of this.#state.table.open.values()) {
      stream.sendWindow += change
      if (stream.sendWindow > largestWindow)
        return this.#state.fail(errorCode.flowControlError, 'window too large')
    }
    if (change > 0) this.#wakeAll()
    return true
  }

  #wakeAll(): void {
    for (const stream of this.#state.table.open.values()) if (!stream.closed) stream.listener?.writable()
  }

  #onPing({ flags }: Readonly<FrameHeader>, payload: Buffer): boolean {
    if ((flags & flag.ack) !== 0) {
      if (this.#state.pings === 0) return this.#calm('PING ACK')
      this.#state.pings--
      if (payload.equals(drainPing)) this.#state.endGoaway()
      this.#state.events.pong(payload)
    } else if (!this.#calm('PING')) return false
    else this.#state.write(pingFrame(payload, true))
    return !this.#state.failed
  }

  #onWindowUpdate(id: number, n: number): boolean {
    if (!this.#state.glitches.windowUpdate())
      return this.#state.fail(errorCode.enhanceYourCalm, 'flood: WINDOW_UPDATE')
    if (n === 0) return this.#state.fail(errorCode.protocolError, 'WINDOW_UPDATE of 0')
    if (id === 0) {
      this.#state.sendWindow += n
      if (this.#state.sendWindow > largestWindow)
        return this.#state.fail(errorCode.flowControlError, 'window too large')
      // Streams wait for this only where the connection was the narrow place.
      if (this.#state.sendWindow - n <= 0) this.#wakeAll()
      return !this.#state.failed
    }
    const stream = this.#state.table.open.get(id)
    if (stream === undefined) return this.#state.table.stateOf(id) !== 'idle' || this.#idle('WINDOW_UPDATE')
    stream.sendWindow += n
    if (stream.sendWindow > largestWindow)
      return this.#state.fail(errorCode.flowControlError, 'window too large')
    stream.listener?.writable()
    return !this.#state.failed
  }

  #idle(what: string): false {
    return this.#state.fail(errorCode.protocolError, `${what} on an idle stream`)
  }

  #onReset(id: number, code: number): boolean {
    const stream = this.#state.table.open.get(id)
    if (stream === undefined) {
      return this.#state.table.stateOf(id) === 'idle' ? this.#idle('RST_STREAM') : this.#calm('RST_STREAM')
    }
    if (this.#state.role === 'server' && !stream.answered && !this.#state.glitches.unansweredReset()) {
      return this.#state.fail(errorCode.enhanceYourCalm, 'flood: streams reset before their answer')
    }
    this.#state.drop(stream, code)
    return !this.#state.failed
  }

  #onGoaway(lastId: number, code: number): boolean {
    if (!this.#calm('GOAWAY')) return false
    if (this.#state.role === 'client') this.#state.draining = true
    this.#state.events.goaway(lastId, code)
    if (this.#state.role === 'client') {
      for (const stream of this.#state.table.open.values()) {
        if (stream.id > lastId) this.#state.drop(stream, errorCode.refusedStream)
      }
    }
    return !this.#state.failed
  }

  #onHeaders(header: Readonly<FrameHeader>, payload: Buffer): boolean {
    const { id } = header
    const state = this.#state.table.stateOf(id)
    if (this.#state.role === 'client' && state === 'idle') return this.#idle('HEADERS')
    if (id % 2 === 0) return this.#state.fail(errorCode.protocolError, 'stream number of the wrong side')
    if (state === 'skipped') return this.#state.fail(errorCode.protocolError, 'stream number too low')
    if (state === 'forgotten') return this.#state.fail(errorCode.streamClosed, 'HEADERS on a closed stream')
    if (this.#state.table.open.get(id)?.remoteEnded)
      return this.#state.fail(errorCode.streamClosed, 'HEADERS after END_STREAM')
    return this.#onBlock(this.#blocks.headers(header, payload))
  }

  #onBlock(block: Block): boolean {
    if (block.kind === 'more') return true
    if (block.kind === 'error') return this.#state.fail(block.code, block.reason)
    const stream = this.#state.table.open.get(block.id)
    if (stream !== undefined) return this.#onStreamHeaders(stream, block.decoded, block.endStream)
    if (this.#state.table.stateOf(block.id) !== 'idle') return this.#calm('HEADERS on a reset stream')
    return this.#onRequest(block.id, block.decoded, block.endStream)
  }

  #onRequest(id: number, decoded: Decoded, endStream: boolean): boolean {
    const request = this.#message(decoded, 'request', endStream)
    const malformed = 'malformed' in request
    const { limits, table, draining } = this.#state
    const stream = this.#state.newStream(id, decoded.kind === 'fields' ? decoded.bytes : 0)
    const full =
      draining || table.open.size >= limits.maxStreams || this.#state.heldHeaders > limits.maxHeldHeaderBytes
    this.#state.table.add(stream)
    if (malformed || full) {
      this.#state.reset(stream, malformed ? errorCode.protocolError : errorCode.refusedStream)
      // Refusing during a drain is our own doing; a peer that has not seen our SETTINGS knows no limit.
      if (!malformed && (draining || !this.#state.settingsAcked)) return this.#calm('refused streams')
      return (
        this.#state.glitches.glitch() || this.#state.fail(errorCode.enhanceYourCalm, 'too many bad requests')
      )
    }
    this.#state.events.request(stream, request)
    if (endStream && !stream.closed) this.#state.remoteEnd(stream)
    return !this.#state.failed
  }

  #message(decoded: Decoded, kind: MessageKind, ended: boolean): Message | Malformed {
    if (decoded.kind !== 'fields') return { malformed: 'too many fields' }
    const message = parseMessage(decoded.fields, kind, ended, this.#state.dialect.general)
    if ('malformed' in message) return message
    const malformed = kind === 'trailers' ? undefined : this.#state.dialect[kind](message)
    return malformed === undefined ? message : { malformed }
  }

  /** Trailers, which a tunnel must not have (RFC 9113 §8.5), end their stream. */
  #trailers(decoded: Decoded, ended: boolean): Message | Malformed {
    if (!this.#state.dialect.general || !ended) return { malformed: 'unexpected HEADERS' }
    return this.#message(decoded, 'trailers', ended)
  }

  #onStreamHeaders(stream: Stream, decoded: Decoded, endStream: boolean): boolean {
    const isAnswer = this.#state.role === 'client' && !stream.answered
    const message = isAnswer
      ? this.#message(decoded, 'response', endStream)
      : this.#trailers(decoded, endStream)
    if ('malformed' in message) {
      this.#state.reset(stream, errorCode.protocolError)
      stream.listener?.reset(errorCode.protocolError, false)
      return (
        this.#state.glitches.glitch() ||
        this.#state.fail(errorCode.enhanceYourCalm, 'too many malformed streams')
      )
    }
    if (!isAnswer) stream.listener?.trailers?.(message)
    else if (Number(message.status) < 200) {
      stream.listener?.interim?.(message)
      return this.#calm('informational answers')
    } else {
      stream.answered = true
      stream.listener?.response(message)
    }
    if (endStream && !stream.closed) this.#state.remoteEnd(stream)
    return !this.#state.failed
  }
}

const fixedLength = new Map<number, number>([
  [frameType.priority, 5],
  [frameType.rstStream, 4],
  [frameType.ping, 8],
  [frameType.windowUpdate, 4],
])
