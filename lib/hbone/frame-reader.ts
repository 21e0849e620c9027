import { flag, headerBytes } from './frames.ts'

export type FrameHeader = { length: number; type: number; flags: number; id: number }

/** What becomes of a frame's payload. */
export type Handling = 'collect' | 'stream' | 'skip' | 'stop'

export type FrameSink = {
  /** A header has arrived. */
  begin(header: Readonly<FrameHeader>): Handling
  /** A collected payload; valid only during the call. False stops the reader for good. */
  frame(header: Readonly<FrameHeader>, payload: Buffer): boolean
  /** A piece of a streamed payload, without padding; valid only during the call. */
  piece(header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): boolean
  /** A streamed payload is complete. */
  done(header: Readonly<FrameHeader>): boolean
  /** Padding that does not fit its frame. */
  badPadding(): void
}

/** Cuts a byte stream into frames without keeping more than one collected payload. */
export class FrameReader {
  readonly #header: FrameHeader = { length: 0, type: 0, flags: 0, id: 0 }
  readonly #headBytes = Buffer.allocUnsafe(headerBytes)
  #headUsed = 0
  #handling: Handling = 'skip'
  /** Payload bytes still to come, and padding after them. */
  #left = 0
  #padding = 0
  #wantPadLength = false
  #collected: Buffer = Buffer.alloc(0)
  #collectedUsed = 0
  #inFrame = false
  /** Padding of the streamed frame at hand, its length byte included. */
  paddingOfLast = 0

  /** Frames whose payload was, or is to be, collected; true while the last one is not all there. */
  collections = 0
  get collecting(): boolean {
    return this.#inFrame && this.#handling === 'collect'
  }

  /** Reads `bytes[start, end)`; false when the sink stopped it. */
  read(bytes: Buffer, start: number, end: number, sink: FrameSink): boolean {
    let at = start
    for (;;) {
      if (!this.#inFrame) {
        at = this.#readHeader(bytes, at, end)
        if (this.#headUsed < headerBytes) return true
        if (!this.#begin(sink)) return false
      }
      const next = this.#readPayload(bytes, at, end, sink)
      if (next < 0) return false
      at = next
      if (this.#inFrame) return true
    }
  }

  #readHeader(bytes: Buffer, at: number, end: number): number {
    const n = Math.min(headerBytes - this.#headUsed, end - at)
    bytes.copy(this.#headBytes, this.#headUsed, at, at + n)
    this.#headUsed += n
    return at + n
  }

  #begin(sink: FrameSink): boolean {
    const h = this.#header
    h.length = this.#headBytes.readUIntBE(0, 3)
    h.type = this.#headBytes[3] ?? 0
    h.flags = this.#headBytes[4] ?? 0
    h.id = this.#headBytes.readUInt32BE(5) & 0x7fff_ffff
    this.#headUsed = 0
    this.#inFrame = true
    this.#left = h.length
    this.#padding = 0
    this.paddingOfLast = 0
    this.#handling = sink.begin(h)
    this.#wantPadLength = this.#handling === 'stream' && (h.flags & flag.padded) !== 0
    if (this.#handling === 'collect') {
      this.collections++
      this.#collected = Buffer.allocUnsafe(h.length)
      this.#collectedUsed = 0
    }
    return this.#handling !== 'stop'
  }

  /** The position after what was used, or -1 when the sink stopped the reader. */
  #readPayload(bytes: Buffer, start: number, end: number, sink: FrameSink): number {
    let at = start
    if (this.#wantPadLength && at < end) {
      this.#wantPadLength = false
      this.#padding = bytes[at++] ?? 0
      this.paddingOfLast = 1 + this.#padding
      this.#left -= this.paddingOfLast
      if (this.#left < 0) {
        sink.badPadding()
        return -1
      }
    }
    const n = this.#wantPadLength ? 0 : Math.min(this.#left, end - at)
    if (n > 0 && !this.#take(bytes, at, at + n, sink)) return -1
    this.#left -= n
    at += n
    if (this.#wantPadLength || this.#left > 0) return at
    const padding = Math.min(this.#padding, end - at)
    this.#padding -= padding
    at += padding
    if (this.#padding > 0) return at
    this.#inFrame = false
    return this.#finish(sink) ? at : -1
  }

  #take(bytes: Buffer, start: number, end: number, sink: FrameSink): boolean {
    if (this.#handling === 'stream') return sink.piece(this.#header, bytes, start, end)
    if (this.#handling === 'collect') {
      bytes.copy(this.#collected, this.#collectedUsed, start, end)
      this.#collectedUsed += end - start
    }
    return true
  }

  #finish(sink: FrameSink): boolean {
    if (this.#handling === 'stream') return sink.done(this.#header)
    return this.#handling === 'collect' ? sink.frame(this.#header, this.#collected) : true
  }
}
