import { HeaderList } from '../header-list.ts'
import type { HttpLimits } from '../limits.ts'
import { type Fault, fault, parseFieldLines } from './field-lines.ts'
import { type Framing, noBody } from './framing.ts'
import { HeadReader } from './head-reader.ts'

type BodyEvent = 'more' | 'body' | 'end' | 'error'

type ChunkState = 'size' | 'extension' | 'size-lf' | 'bytes' | 'bytes-cr' | 'bytes-lf' | 'trailers'

/** Thirteen hexadecimal digits are 2^52. */
const maxSizeDigits = 13
const cr = 0x0d
const lf = 0x0a
const semicolon = 0x3b

/** Fields that a trailer must not bring (RFC 9110 §6.5.1): they frame, route or authorise what has been judged already. */
const notInTrailers =
  /^(?:content-length|content-encoding|content-type|content-range|trailer|host|authorization|proxy-auth.*|cookie|set-cookie|cache-control|expect|max-forwards|pragma|range|if-.*|age|date|expires|location|retry-after|vary|x-forwarded-.*|forwarded|x-envoy-.*|x-istio-.*|te)$/

const hexValue = (byte: number): number =>
  byte >= 0x30 && byte <= 0x39
    ? byte - 0x30
    : (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66
      ? (byte | 0x20) - 0x57
      : -1

/** Takes the framing off a body. `step` makes at most one event of what it is given, and may be called with nothing. */
export class BodyDecoder {
  readonly #limits: HttpLimits
  readonly #onGivenUp: () => void
  #framing: Framing = noBody
  #left = 0
  #chunk: ChunkState = 'size'
  #digits = 0
  #extensionBytes = 0
  #trailerReader: HeadReader | undefined
  /** How far the last step came; with `body` the piece is `[start, at)` of what was given, behind `from`. */
  at = 0
  from = 0
  trailers: HeaderList | undefined
  error: Fault | undefined

  /** `onGivenUp`: others needed the room of the trailers at hand. */
  constructor(limits: HttpLimits, onGivenUp: () => void) {
    this.#limits = limits
    this.#onGivenUp = onGivenUp
  }

  begin(framing: Framing): void {
    this.#framing = framing
    this.#left = framing.kind === 'length' ? framing.bytes : 0
    this.#chunk = 'size'
    this.#digits = 0
    this.#extensionBytes = 0
    this.close()
    this.trailers = undefined
  }

  /** Nothing more of it is read. */
  close(): void {
    this.#trailerReader?.reset()
    this.#trailerReader = undefined
  }

  /** True where the end of the connection is an end of the body. */
  get endsWithConnection(): boolean {
    return this.#framing.kind === 'close' || this.#framing.kind === 'raw'
  }

  /** All bytes have come, and no more are needed to know it. */
  get complete(): boolean {
    return this.#framing.kind === 'length' && this.#left === 0
  }

  step(buffer: Buffer, start: number, end: number): BodyEvent {
    this.at = start
    if (this.#framing.kind === 'chunked') return this.#stepChunked(buffer, start, end)
    if (this.#framing.kind === 'length') {
      if (this.#left === 0) return 'end'
      return this.#piece(start, Math.min(end, start + this.#left))
    }
    this.from = start
    this.at = end
    return end > start ? 'body' : 'more'
  }

  #piece(start: number, end: number): BodyEvent {
    if (start === end) return 'more'
    this.from = start
    this.at = end
    this.#left -= end - start
    return 'body'
  }

  #fail(reason: string): BodyEvent {
    this.error = fault(400, reason)
    return 'error'
  }

  #stepChunked(buffer: Buffer, start: number, end: number): BodyEvent {
    for (let at = start; at < end; ) {
      if (this.#chunk === 'bytes') {
        const event = this.#piece(at, Math.min(end, at + this.#left))
        if (this.#left === 0) this.#chunk = 'bytes-cr'
        return event
      }
      if (this.#chunk === 'trailers') return this.#readTrailers(buffer, at, end)
      const wrong = this.#control(buffer[at++] ?? 0)
      this.at = at
      if (wrong !== undefined) return this.#fail(wrong)
    }
    return 'more'
  }

  /** One byte between the chunks; the reason why it must not be there. */
  #control(byte: number): string | undefined {
    switch (this.#chunk) {
      case 'size':
        return this.#sizeByte(byte)
      case 'extension':
        if (++this.#extensionBytes > this.#limits.maxChunkExtensionBytes) return 'chunk extensions too long'
        if (byte === cr) this.#chunk = 'size-lf'
        else if ((byte < 0x20 && byte !== 0x09) || byte === 0x7f)
          return 'chunk extension with control characters'
        return undefined
      case 'size-lf':
        if (byte !== lf) return 'chunk size without its end of line'
        this.#chunk = this.#left > 0 ? 'bytes' : 'trailers'
        this.#digits = 0
        return undefined
      case 'bytes-cr':
        this.#chunk = 'bytes-lf'
        return byte === cr ? undefined : 'chunk longer than its size'
      case 'bytes-lf':
        this.#chunk = 'size'
        return byte === lf ? undefined : 'chunk longer than its size'
      case 'bytes':
      case 'trailers':
        return undefined
    }
  }

  #sizeByte(byte: number): string | undefined {
    const value = hexValue(byte)
    if (value >= 0) {
      if (++this.#digits > maxSizeDigits) return 'chunk size too large'
      this.#left = this.#left * 16 + value
      return undefined
    }
    if (this.#digits === 0) return 'chunk without a size'
    if (byte === cr) this.#chunk = 'size-lf'
    else if (byte === semicolon) this.#chunk = 'extension'
    else return 'malformed chunk size'
    return undefined
  }

  #readTrailers(buffer: Buffer, start: number, end: number): BodyEvent {
    const reader = (this.#trailerReader ??= new HeadReader(this.#limits.maxHeaderBytes, this.#onGivenUp))
    const state = reader.read(buffer, start, end, 0)
    this.at = reader.at
    if (state === 'more') return 'more'
    if (state !== 'whole') return this.#fail(`trailers: ${state}`)
    const { text } = reader
    this.close()
    const lines = parseFieldLines(text, 0, text.length, this.#limits.maxHeaderFields)
    if ('status' in lines) return this.#fail(`trailers: ${lines.reason}`)
    const flat = allowedTrailers(lines.flat)
    this.trailers = flat.length > 0 ? new HeaderList(flat) : undefined
    return 'end'
  }
}

/** What of a trailer section may be passed on. */
export function allowedTrailers(flat: readonly string[]): string[] {
  const out: string[] = []
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] ?? ''
    // Many applications read `_` in a name as `-`.
    if (!notInTrailers.test(name.includes('_') ? name.replaceAll('_', '-') : name))
      out.push(name, flat[i + 1] ?? '')
  }
  return out
}
