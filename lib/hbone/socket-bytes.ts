import type { Socket } from 'node:net'
import { breakOff } from './break-off.ts'
import { type ByteStream, type BytesUser, flushSoon, isFull, isLow } from './byte-stream.ts'
import { releaseSlab, unsentBudget } from './memory.ts'
import { Outbox } from './outbox.ts'
import { readInto } from './read-into.ts'

/** All sockets read into this buffer: what their users do not take at once is copied. */
const landing = Buffer.allocUnsafeSlow(64 << 10)
/** Where peers leave much of what was said, less is read of what there is to say: with what is put around it, it fits the smallest buffer. */
const shortLanding = landing.subarray(0, 3_584)
const landingNow = () => (unsentBudget.ample ? landing : shortLanding)

/** A TCP or TLS socket of which nothing has been read as a byte stream. It owns the socket from here on. */
export const socketBytes = (socket: Socket): ByteStream => new SocketBytes(socket)

class SocketBytes implements ByteStream {
  readonly #socket: Socket
  readonly #out = new Outbox(0)
  #user: BytesUser | undefined
  /** Handed to the socket and not written yet. */
  #waiting = 0
  #full = false
  #marked = false
  #ending = false
  /** Bytes that the user has not taken; reading stands still when more than one read waits. */
  #held: Buffer | undefined
  #stopped = false
  #delivering = false
  #peerEnded = false
  #toldEnd = false
  #error: unknown
  #isClosed = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', (error) => {
      this.#error ??= error
    })
    socket.on('end', () => {
      this.#peerEnded = true
      this.#tellEnd()
    })
    socket.on('close', () => this.#onClose())
  }

  use(user: BytesUser): void {
    this.#user = user
    if (this.#socket.destroyed) queueMicrotask(() => this.#onClose())
    else readInto(this.#socket, landingNow(), (n, buffer) => this.#onRead(n, buffer), landingNow)
  }

  #onRead(n: number, buffer: Buffer): boolean {
    const user = this.#user
    if (user === undefined || this.#held !== undefined) return this.#hold(buffer, 0, n)
    this.#delivering = true
    const at = this.#give(user, buffer, 0, n)
    this.#delivering = false
    return at === n || this.#hold(buffer, at, n)
  }

  /** A fault of ours, or of whoever uses the stream, ends this stream and no other. */
  #give(user: BytesUser, buffer: Buffer, start: number, end: number): number {
    try {
      return user.bytes(buffer, start, end)
    } catch (error) {
      this.#error ??= error
      this.destroy()
      return end
    }
  }

  #hold(buffer: Buffer, start: number, end: number): boolean {
    const rest = buffer.subarray(start, end)
    const goesOn = this.#held === undefined && unsentBudget.ample
    this.#keep(this.#held === undefined ? Buffer.from(rest) : Buffer.concat([this.#held, rest]))
    // The first rest is often taken in the same turn of the loop: stopping for it would cost two calls.
    this.#stopped = !goesOn
    return goesOn
  }

  /** What is kept counts among what peers have not taken: it waits for them. */
  #keep(rest: Buffer | undefined): void {
    unsentBudget.give(this.#held?.length ?? 0)
    unsentBudget.spend(rest?.length ?? 0)
    this.#held = rest
  }

  get pending(): number {
    return this.#waiting + this.#out.bytes
  }

  resume(): void {
    const user = this.#user
    if (this.#delivering || user === undefined) return
    const held = this.#held
    if (held !== undefined) {
      this.#keep(undefined)
      this.#delivering = true
      const at = this.#give(user, held, 0, held.length)
      this.#delivering = false
      if (at < held.length) return this.#keep(held.subarray(at))
    }
    if (this.#stopped) {
      this.#stopped = false
      this.#socket.resume()
    }
    this.#tellEnd()
  }

  #tellEnd(): void {
    if (!this.#peerEnded || this.#toldEnd || this.#held !== undefined || this.#user === undefined) return
    this.#toldEnd = true
    this.#user.ended()
    if (this.#isClosed) this.#tellClosed()
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    if (this.#ending) return true
    for (let at = start; at < end; ) {
      at += this.#out.put(buffer, at, end)
      if (at < end) this.flush()
    }
    return this.#mark()
  }

  text(text: string): boolean {
    if (this.#ending || this.#out.putText(text)) return this.#mark()
    this.flush()
    if (this.#out.putText(text)) return this.#mark()
    const bytes = Buffer.from(text, 'latin1')
    return this.write(bytes, 0, bytes.length)
  }

  #mark(): boolean {
    if (!this.#marked) {
      this.#marked = true
      flushSoon(this)
    }
    if (isFull(this.#waiting + this.#out.bytes)) this.#full = true
    return !this.#full
  }

  flush(): void {
    this.#marked = false
    const n = this.#out.to
    const slab = this.#out.take()
    if (slab === undefined) return
    if (n === 0 || this.#socket.destroyed || this.#socket.writableEnded) return releaseSlab(slab)
    this.#waiting += n
    unsentBudget.spend(slab.length)
    this.#socket.write(slab.subarray(0, n), () => {
      unsentBudget.give(slab.length)
      releaseSlab(slab)
      this.#waiting -= n
      this.#tellDrained()
    })
  }

  #tellDrained(): void {
    if (!this.#full || !isLow(this.#waiting + this.#out.bytes)) return
    this.#full = false
    this.#user?.drained()
  }

  end(): void {
    if (this.#ending) return
    this.flush()
    this.#ending = true
    this.#socket.end()
  }

  destroy(): void {
    this.#ending = true
    this.#keep(undefined)
    this.#out.clear()
    if (this.#isClosed) this.#tellClosed()
    // Not as an end, unless ours has been sent: the peer must not take what it has got for all there is.
    else if (this.#socket.writableFinished) this.#socket.destroy()
    else breakOff(this.#socket)
  }

  #onClose(): void {
    this.#isClosed = true
    this.#ending = true
    this.#out.clear()
    // What came before the end is still the user's.
    if (this.#held === undefined || this.#error !== undefined || !this.#peerEnded) this.#tellClosed()
  }

  #tellClosed(): void {
    const user = this.#user
    this.#user = undefined
    this.#keep(undefined)
    user?.closed(this.#error)
  }
}
