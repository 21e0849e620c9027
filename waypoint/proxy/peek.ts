import { maxTimerMs } from '#base'
import type { ByteStream, BytesUser } from '#hbone'
import { sniff, type Sniffed } from '#http'
import { maxHelloBytes, serverNameOf } from './server-name.ts'

/** Longer than any beginning that says nothing: HTTP/2's preface is 24 bytes, methods are shorter. */
const enoughBytes = 64

/** `silent`: it has said nothing, or nothing clear, so far. */
export type Found = Exclude<Sniffed, 'more'> | 'silent'

/** A stream whose first bytes are looked at before it is known who reads it; who reads it in the end gets them first. */
export class PeekedStream implements ByteStream, BytesUser {
  readonly #stream: ByteStream
  #user: BytesUser | undefined
  /** What had to be taken to be looked at, and nobody has got yet. */
  #prefix: Buffer = Buffer.alloc(0)
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
      const timer = setTimeout(() => this.#decide?.('silent'), Math.min(ms, maxTimerMs))
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
      const timer = setTimeout(() => this.#hello?.(''), ms)
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
    const seen = Buffer.concat([this.#prefix, buffer.subarray(start, Math.min(end, start + maxHelloBytes))])
    const verdict = serverNameOf(seen)
    if (verdict.kind === 'more' && seen.length < maxHelloBytes) {
      this.#prefix = seen
      return end
    }
    decide(verdict.kind === 'name' ? verdict.name : '')
    return start
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    if (this.#user) return this.#deliver() ? this.#user.bytes(buffer, start, end) : start
    if (this.#hello) return this.#onHello(this.#hello, buffer, start, end)
    if (!this.#decide) return start
    const seen = Buffer.concat([this.#prefix, buffer.subarray(start, Math.min(end, start + enoughBytes))])
    const found = sniff(seen)
    if (found === 'more' && seen.length < enoughBytes && !this.#anything) {
      this.#prefix = seen
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
