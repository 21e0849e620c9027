import { errorCode, flag } from './frames.ts'
import type { FrameHeader } from './frame-reader.ts'
import { type Decoded, HpackDecoder } from './hpack/decode.ts'
import type { HboneLimits } from './limits.ts'

export type Block =
  | { kind: 'more' }
  | { kind: 'block'; id: number; endStream: boolean; decoded: Decoded }
  | { kind: 'error'; code: number; reason: string }

/** CONTINUATION frames per block; a block of 64 KiB in the smallest frames that a peer must accept needs 4. */
const maxContinuations = 16

const bad = (code: number, reason: string): Block => ({ kind: 'error', code, reason })

/** Puts HEADERS and CONTINUATION together and decodes them. */
export class HeaderBlocks {
  readonly #limits: Pick<HboneLimits, 'maxHeaderBytes' | 'maxHeaderFields'>
  readonly #decoder = new HpackDecoder()
  readonly #now: () => number
  #parts: Buffer[] = []
  #bytes = 0
  #endStream = false
  /** The stream whose block is unfinished, 0 for none; and since when. */
  open = 0
  openSince = 0

  constructor(limits: Pick<HboneLimits, 'maxHeaderBytes' | 'maxHeaderFields'>, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  headers(header: Readonly<FrameHeader>, payload: Buffer): Block {
    const fragment = unpadded(header.flags, payload)
    if (fragment === undefined) return bad(errorCode.protocolError, 'padding beyond the frame')
    this.open = header.id
    this.openSince = this.#now()
    this.#endStream = (header.flags & flag.endStream) !== 0
    return this.#add(header, fragment)
  }

  continuation(header: Readonly<FrameHeader>, payload: Buffer): Block {
    return this.#add(header, payload)
  }

  #add(header: Readonly<FrameHeader>, fragment: Buffer): Block {
    this.#parts.push(fragment)
    this.#bytes += fragment.length
    if (this.#bytes > this.#limits.maxHeaderBytes || this.#parts.length > 1 + maxContinuations) {
      return bad(errorCode.enhanceYourCalm, 'header block too long')
    }
    if ((header.flags & flag.endHeaders) === 0) return { kind: 'more' }
    const block = Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    this.open = 0
    const decoded = this.#decoder.decode(block, this.#limits.maxHeaderBytes, this.#limits.maxHeaderFields)
    if (decoded.kind === 'malformed') return bad(errorCode.compressionError, decoded.reason)
    return { kind: 'block', id: header.id, endStream: this.#endStream, decoded }
  }
}

/** The fragment between padding and priority; undefined when they do not fit. */
function unpadded(flags: number, payload: Buffer): Buffer | undefined {
  const padded = (flags & flag.padded) !== 0
  const start = (padded ? 1 : 0) + ((flags & flag.priority) === 0 ? 0 : 5)
  const end = payload.length - (padded ? (payload[0] ?? 0) : 0)
  return start <= end && start <= payload.length ? payload.subarray(start, end) : undefined
}
