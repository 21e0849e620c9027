import type { ByteStream } from '#hbone'
import type { BodyWriter, BodyWriterUser, ResetReason } from '../exchange.ts'
import type { HeaderList } from '../header-list.ts'
import type { Framing } from './framing.ts'

/** What becomes of the connection when a body is over. */
export type BodyOwner = {
  /** The body is complete as far as its framing says. */
  bodyEnded(): void
  /** It is not and never will be. */
  bodyBroken(reason: ResetReason): void
}

/** Writes the body of one HTTP/1.1 message with its framing. */
export class H1BodyWriter implements BodyWriter {
  readonly #stream: ByteStream
  readonly #owner: BodyOwner
  readonly #framing: Framing
  /** For raw bodies only our half ends; trailers go where somebody asked for them. */
  readonly #trailers: boolean
  #left: number
  #over = false
  #stopped: ResetReason | undefined
  #user: BodyWriterUser | undefined
  sent = 0

  constructor(stream: ByteStream, owner: BodyOwner, framing: Framing, trailers = false) {
    this.#stream = stream
    this.#owner = owner
    this.#framing = framing
    this.#trailers = trailers
    this.#left = framing.kind === 'length' ? framing.bytes : Number.POSITIVE_INFINITY
    this.#over = this.#left === 0
  }

  get over(): boolean {
    return this.#over
  }

  use(user: BodyWriterUser): void {
    this.#user = user
    if (this.#stopped !== undefined) user.stopped(this.#stopped)
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    const n = end - start
    if (this.#over || n === 0) return true
    if (n > this.#left) {
      this.reset('protocol-error')
      return true
    }
    this.sent += n
    this.#left -= n
    if (this.#framing.kind !== 'chunked') return this.#stream.write(buffer, start, end)
    this.#stream.text(`${n.toString(16)}\r\n`)
    this.#stream.write(buffer, start, end)
    return this.#stream.text('\r\n')
  }

  end(trailers?: HeaderList): void {
    if (this.#over) return
    if (this.#framing.kind === 'length' && this.#left > 0) return this.reset('protocol-error')
    this.#over = true
    if (this.#framing.kind === 'chunked') {
      let text = '0\r\n'
      if (this.#trailers && trailers) for (const [name, value] of trailers) text += `${name}: ${value}\r\n`
      this.#stream.text(`${text}\r\n`)
    }
    this.#owner.bodyEnded()
  }

  reset(reason: ResetReason): void {
    if (this.#over) return
    this.#over = true
    this.#owner.bodyBroken(reason)
  }

  /** The connection takes no more. */
  stop(reason: ResetReason): void {
    if (this.#over) return
    this.#over = true
    this.#stopped = reason
    this.#user?.stopped(reason)
  }

  drained(): void {
    if (!this.#over) this.#user?.drained()
  }
}
