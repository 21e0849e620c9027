import { maxTimerMs, timerMs } from '#base'
import type { ByteStream, BytesUser } from '#hbone'
import { maxSniffedLine, sniff, type Sniffed } from '#http'
import { maxHelloBytes, serverNameOf } from './server-name.ts'

/** Longer than any beginning that says nothing: HTTP/2's preface is 24 bytes, methods are shorter. */
const enoughBytes = 64

/** `silent`: it has said nothing, or nothing clear, so far. */
type Found = Exclude<Sniffed, 'more'> | 'silent'

/** A stream whose first bytes are looked at before it is known who reads it; who reads it in the end gets them first. */
export class PeekedStream implements ByteStream, BytesUser {
  readonly #stream: ByteStream
  #user: BytesUser | undefined
  /** What had to be taken to be looked at, and nobody has got yet. */
  readonly #prefix = new Prefix()
  /** Of a client hello: with fewer bytes its end cannot be there. */
  #enough = 0
  #decide: ((found: Found) => void) | undefined
  #ended = false
  #toldEnd = false
  #begun = false
  #anything = false
  #hello: ((name: string) => void) | undefined
  #closing: Readonly<{ error: unknown }> | undefined

  constructor(stream: ByteStream) {
    this.#stream = stream
  }

  /** Resolves when the other end has said anything at all, or has gone. */
  spoken(): Promise<Found> {
    this.#anything = true
    return this.sniff(maxTimerMs)
  }

  /** What the other end speaks, as far as it has within `ms`; to be called before `use`, again if it was silent. */
  sniff(ms: number): Promise<Found> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#decide?.('silent'), timerMs(ms))
      this.#decide = (found) => {
        clearTimeout(timer)
        this.#decide = undefined
        resolve(found)
      }
      if (this.#begun) this.#stream.resume()
      else this.#stream.use(this)
      this.#begun = true
      if (this.#ended || this.#closing) this.#decide?.('other')
    })
  }

  /** The name that a TLS client asks for, '' if it names none within `ms`; to be called before `use`. */
  serverName(ms: number): Promise<string> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#hello?.(''), timerMs(ms))
      this.#hello = (name) => {
        clearTimeout(timer)
        this.#hello = undefined
        resolve(name)
      }
      if (this.#begun) this.#stream.resume()
      else this.#stream.use(this)
      this.#begun = true
      if (this.#ended || this.#closing) this.#hello?.('')
    })
  }

  #onHello(decide: (name: string) => void, buffer: Buffer, start: number, end: number): number {
    // Piece by piece it is not read again before there is enough of it.
    const room = Math.min(end - start, maxHelloBytes - this.#prefix.length)
    const seen = this.#prefix.with(buffer, start, start + room)
    if (seen.length < Math.min(this.#enough, maxHelloBytes)) {
      this.#prefix.add(buffer, start, end)
      return end
    }
    const verdict = serverNameOf(seen)
    if (verdict.kind === 'more' && seen.length < maxHelloBytes) {
      this.#enough = verdict.enough
      this.#prefix.add(buffer, start, start + room)
      return start + room
    }
    decide(verdict.kind === 'name' ? verdict.name : '')
    return start
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    if (this.#user) return this.#deliver() ? this.#user.bytes(buffer, start, end) : start
    if (this.#hello) return this.#onHello(this.#hello, buffer, start, end)
    if (!this.#decide) return start
    const seen = this.#prefix.with(buffer, start, Math.min(end, start + maxSniffedLine))
    const found = sniff(seen)
    if (found === 'more' && seen.length < enoughBytes && !this.#anything) {
      this.#prefix.add(buffer, start, end)
      return end
    }
    this.#decide(found === 'more' ? 'other' : found)
    return start
  }

  ended(): void {
    this.#ended = true
    this.#decide?.('other')
    this.#hello?.('')
    this.#tellEnds()
  }

  drained(): void {
    this.#user?.drained()
  }

  closed(error: unknown): void {
    this.#closing = { error }
    this.#decide?.('other')
    this.#hello?.('')
    this.#tellEnds()
  }

  use(user: BytesUser): void {
    this.#user = user
    this.#decide?.('other')
    if (!this.#deliver()) return
    this.#stream.resume()
    this.#tellEnds()
  }

  resume(): void {
    if (!this.#deliver()) return
    this.#stream.resume()
    this.#tellEnds()
  }

  /** True when the user has all that was taken before. */
  #deliver(): boolean {
    if (this.#prefix.length === 0 || !this.#user) return true
    const bytes = this.#prefix.view()
    this.#prefix.drop(this.#user.bytes(bytes, 0, bytes.length))
    return this.#prefix.length === 0
  }

  #tellEnds(): void {
    const user = this.#user
    if (!user) return
    if (this.#ended && !this.#toldEnd && this.#prefix.length === 0) {
      this.#toldEnd = true
      user.ended()
    }
    const closing = this.#closing
    if (!closing) return
    this.#closing = undefined
    this.#user = undefined
    user.closed(closing.error)
  }

  get pending(): number {
    return this.#stream.pending
  }
  write(buffer: Buffer, start: number, end: number): boolean {
    return this.#stream.write(buffer, start, end)
  }
  text(text: string): boolean {
    return this.#stream.text(text)
  }
  end(): void {
    this.#stream.end()
  }
  destroy(): void {
    this.#prefix.drop(this.#prefix.length)
    this.#stream.destroy()
  }
}

/** Bytes that were taken in pieces: each is copied a few times at most, however small they come. */
class Prefix {
  #bytes = Buffer.alloc(0)
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  view(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end)
  }

  /** What there would be with these; nothing is taken. */
  with(buffer: Buffer, start: number, end: number): Buffer {
    if (this.length === 0) return buffer.subarray(start, end)
    this.#write(buffer, start, end)
    return this.#bytes.subarray(this.#start, this.#end + (end - start))
  }

  add(buffer: Buffer, start: number, end: number): void {
    this.#write(buffer, start, end)
    this.#end += end - start
  }

  drop(count: number): void {
    this.#start = Math.min(this.#start + count, this.#end)
    if (this.length > 0) return
    this.#bytes = Buffer.alloc(0)
    this.#start = this.#end = 0
  }

  #write(buffer: Buffer, start: number, end: number): void {
    const needed = this.#end + (end - start)
    if (needed > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(needed, 2 * this.#bytes.length, enoughBytes))
      this.#bytes.copy(grown, 0, 0, this.#end)
      this.#bytes = grown
    }
    buffer.copy(this.#bytes, this.#end, start, end)
  }
}
