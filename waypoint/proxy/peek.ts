import type { ByteStream, BytesUser } from '#hbone'
import { sniff, type Sniffed } from '#http'

/** Longer than any beginning that says nothing: HTTP/2's preface is 24 bytes, methods are shorter. */
const enoughBytes = 64

type Found = Exclude<Sniffed, 'more'>

/** A stream whose first bytes are looked at before it is known who reads it; who reads it in the end gets them first. */
export class PeekedStream implements ByteStream, BytesUser {
  readonly #stream: ByteStream
  #user: BytesUser | undefined
  /** What had to be taken to be looked at, and nobody has got yet. */
  #prefix: Buffer = Buffer.alloc(0)
  #decide: ((found: Found) => void) | undefined
  #ended = false
  #toldEnd = false
  #closing: Readonly<{ error: unknown }> | undefined

  constructor(stream: ByteStream) {
    this.#stream = stream
  }

  /**
   * What the client speaks; to be called once, before `use`. A client that has said nothing, or nothing clear, for `ms`
   * speaks something else than HTTP, so that servers that speak first are not kept waiting.
   */
  sniff(ms: number): Promise<Found> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#decide?.('other'), ms)
      this.#decide = (found) => {
        clearTimeout(timer)
        this.#decide = undefined
        resolve(found)
      }
      this.#stream.use(this)
    })
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    if (this.#user) return this.#deliver() ? this.#user.bytes(buffer, start, end) : start
    if (!this.#decide) return start
    const seen = Buffer.concat([this.#prefix, buffer.subarray(start, Math.min(end, start + enoughBytes))])
    const found = sniff(seen)
    if (found === 'more' && seen.length < enoughBytes) {
      this.#prefix = seen
      return end
    }
    this.#decide(found === 'more' ? 'other' : found)
    return start
  }

  ended(): void {
    this.#ended = true
    this.#decide?.('other')
    this.#tellEnds()
  }

  drained(): void {
    this.#user?.drained()
  }

  closed(error: unknown): void {
    this.#closing = { error }
    this.#decide?.('other')
    this.#tellEnds()
  }

  use(user: BytesUser): void {
    this.#user = user
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
    const prefix = this.#prefix
    if (prefix.length === 0 || !this.#user) return true
    const at = this.#user.bytes(prefix, 0, prefix.length)
    this.#prefix = prefix.subarray(at)
    return at === prefix.length
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
    this.#prefix = Buffer.alloc(0)
    this.#stream.destroy()
  }
}
