import { follow, MeshError, timerMs } from '#base'
import type { ByteStream, BytesUser } from '#hbone'

/** More than this before the end of an answer's head is no answer. */
const maxHeadBytes = 16 << 10
const headEnd = Buffer.from('\r\n\r\n')

type Target = Readonly<{ host: string; port: number }>
type Limits = Readonly<{ timeoutMs: number; signal: AbortSignal }>

/**
 * Asks an HTTP proxy for a connection (CONNECT over HTTP/1.1; facts: l7.md §2.2, tunnel). Resolves with what is behind it:
 * nothing has been sent to the target when it fails.
 */
export async function throughProxy(
  stream: ByteStream,
  { host, port }: Target,
  { timeoutMs, signal }: Limits,
): Promise<ByteStream> {
  const name = host.includes(':') ? `[${host}]` : host
  const proxied = new ProxiedStream(stream, `${name}:${port}`)
  const timer = setTimeout(() => proxied.fail('no answer in time'), timerMs(timeoutMs))
  try {
    using _ending = follow(signal, () => proxied.fail('given up'))
    await proxied.answered
    return proxied
  } finally {
    clearTimeout(timer)
  }
}

/** A stream whose beginning is the proxy's answer. */
class ProxiedStream implements ByteStream, BytesUser {
  readonly #stream: ByteStream
  readonly #authority: string
  readonly #answer = Promise.withResolvers<void>()
  #head: Buffer | undefined = Buffer.alloc(0)
  #user: BytesUser | undefined
  #ended = false
  #toldEnd = false
  #closing: Readonly<{ error: unknown }> | undefined

  constructor(stream: ByteStream, authority: string) {
    this.#stream = stream
    this.#authority = authority
    stream.text(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`)
    stream.use(this)
  }

  get answered(): Promise<void> {
    return this.#answer.promise
  }

  fail(why: string): void {
    if (this.#head === undefined) return
    const message = `the proxy did not connect to ${this.#authority}: ${why}`
    this.#answer.reject(new MeshError('connect-failed', { message, unsent: true }))
    this.#stream.destroy()
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    const head = this.#head
    if (head === undefined) return this.#user?.bytes(buffer, start, end) ?? start
    const seen = Buffer.concat([head, buffer.subarray(start, end)])
    const at = seen.indexOf(headEnd)
    if (at < 0) {
      this.#head = seen
      if (seen.length > maxHeadBytes) this.fail('its answer has no end')
      return end
    }
    const next = start + at + headEnd.length - head.length
    const status = /^HTTP\/1\.[01] (\d{3})(?: |\r|$)/.exec(seen.toString('latin1', 0, at))?.[1] ?? 'no HTTP'
    if (status.startsWith('1')) {
      this.#head = Buffer.alloc(0)
      return next < end ? this.bytes(buffer, next, end) : next
    }
    if (!status.startsWith('2')) {
      this.fail(`it answered ${status}`)
      return end
    }
    this.#head = undefined
    this.#answer.resolve()
    return next
  }

  ended(): void {
    this.fail('it closed the connection')
    this.#ended = true
    this.#tell()
  }
  drained(): void {
    this.#user?.drained()
  }
  closed(error: unknown): void {
    this.fail('the connection is gone')
    this.#closing = { error }
    this.#tell()
  }

  use(user: BytesUser): void {
    this.#user = user
    this.#stream.resume()
    this.#tell()
  }

  #tell(): void {
    const user = this.#user
    if (!user) return
    if (this.#ended && !this.#toldEnd) {
      this.#toldEnd = true
      user.ended()
    }
    if (!this.#closing) return
    this.#user = undefined
    user.closed(this.#closing.error)
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
  resume(): void {
    this.#stream.resume()
  }
  end(): void {
    this.#stream.end()
  }
  destroy(): void {
    this.#stream.destroy()
  }
}
