import { type H2Stream, unsentBudget } from '#hbone'
import type { BodyWriter, BodyWriterUser, ResetReason } from '../exchange.ts'
import type { HeaderList } from '../header-list.ts'
import { trailerFields } from './heads.ts'
import type { H2Link, Waiter } from './link.ts'

/** What becomes of the stream when a body is over. */
export type H2BodyOwner = {
  bodyEnded(): void
  bodyBroken(reason: ResetReason): void
}

/** Writes the body of one HTTP/2 message; what the peer's window leaves no room for waits here, one write of it. */
export class H2BodyWriter implements BodyWriter, Waiter {
  readonly #link: H2Link
  readonly #stream: H2Stream
  readonly #owner: H2BodyOwner
  /** What content-length has promised. */
  #left: number
  #over: boolean
  #stopped: ResetReason | undefined
  #user: BodyWriterUser | undefined
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #full = false
  #ending = false
  #trailers: HeaderList | undefined
  sent = 0

  constructor(link: H2Link, stream: H2Stream, owner: H2BodyOwner, length: number | undefined, over: boolean) {
    this.#link = link
    this.#stream = stream
    this.#owner = owner
    this.#left = length ?? Number.POSITIVE_INFINITY
    this.#over = over
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
    if (this.#over || this.#ending || n === 0) return true
    if (n > this.#left) {
      this.reset('protocol-error')
      return true
    }
    this.#left -= n
    this.sent += n
    const now = this.#waitingBytes > 0 ? 0 : Math.min(n, this.#link.room(this.#stream))
    if (now > 0) this.#link.data(this.#stream, buffer, start, start + now, false)
    if (now < n) {
      this.#waiting.push(Buffer.from(buffer.subarray(start + now, end)))
      this.#waits(n - now)
      this.#full = true
      this.#link.await(this)
      return false
    }
    // What the transport has not taken yet counts too.
    this.#full = this.#link.room(this.#stream) === 0
    if (this.#full) this.#link.await(this)
    return !this.#full
  }

  /** So many bytes more. */
  #waits(bytes: number): void {
    this.#waitingBytes += bytes
    unsentBudget.spend(bytes)
  }

  #drop(): void {
    this.#waiting = []
    this.#waits(-this.#waitingBytes)
  }

  end(trailers?: HeaderList): void {
    if (this.#over || this.#ending) return
    if (this.#left > 0 && this.#left !== Number.POSITIVE_INFINITY) return this.reset('protocol-error')
    this.#ending = true
    this.#trailers = trailers
    if (this.#waitingBytes === 0) this.#finish()
  }

  #finish(): void {
    this.#over = true
    const { connection } = this.#link
    if (this.#trailers) connection.trail(this.#stream, trailerFields(this.#trailers))
    else this.#link.data(this.#stream, nothing, 0, 0, true)
    this.#owner.bodyEnded()
    this.#link.flush()
  }

  /** The window, or the transport, has room again. */
  roomAgain(): void {
    if (this.#over) return
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const n = Math.min(first.length, this.#link.room(this.#stream))
      if (n === 0) return this.#link.await(this)
      this.#link.data(this.#stream, first, 0, n, false)
      this.#waits(-n)
      if (n < first.length) this.#waiting[0] = first.subarray(n)
      else this.#waiting.shift()
    }
    if (this.#ending) return this.#finish()
    if (!this.#full) return
    if (this.#link.room(this.#stream) === 0) return this.#link.await(this)
    this.#full = false
    this.#user?.drained()
  }

  reset(reason: ResetReason): void {
    if (this.#over) return
    this.#over = true
    this.#drop()
    this.#owner.bodyBroken(reason)
  }

  /** The stream takes no more. */
  stop(reason: ResetReason): void {
    if (this.#over) return
    this.#over = true
    this.#drop()
    this.#stopped = reason
    this.#user?.stopped(reason)
  }
}

const nothing = Buffer.alloc(0)
