import { type ByteStream, type BytesUser, flushSoon, isFull, isLow } from './byte-stream.ts'
import type { Batch } from './byte-queue.ts'
import { headerBytes } from './frames.ts'
import { brokenCode, isPlainEnd } from './h2-error.ts'
import { unsentBudget } from './memory.ts'
import { Outbox } from './outbox.ts'
import type { TunnelStream, TunnelUser } from './tunnel-stream.ts'

/** A tunnel as a byte stream: what the user does not take stays in the tunnel's queue, and the peer's window closed. */
export function tunnelBytes(tunnel: TunnelStream): ByteStream {
  return new TunnelBytes(tunnel)
}

class TunnelBytes implements ByteStream, TunnelUser {
  readonly #tunnel: TunnelStream
  readonly #out = new Outbox(headerBytes)
  #user: BytesUser | undefined
  /** Sent and not yet taken by the transport. */
  #waiting = 0
  #full = false
  #marked = false
  #ending = false
  #ended = false
  /** What is being delivered, and how far it has come. */
  #batch: Batch | undefined
  #view = 0
  #at = 0
  #delivering = false
  #again = false
  #paused = false
  #toldEnd = false
  #gone: number | undefined

  constructor(tunnel: TunnelStream) {
    this.#tunnel = tunnel
  }

  use(user: BytesUser): void {
    this.#user = user
    this.#tunnel.use(this)
  }

  received(): void {
    if (!this.#paused) this.#deliver()
  }

  get pending(): number {
    return this.#waiting + this.#out.bytes + this.#behindBytes
  }

  resume(): void {
    this.#paused = false
    if (this.#delivering) this.#again = true
    else this.#deliver()
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    try {
      do {
        this.#again = false
        this.#paused = !this.#deliverAll()
      } while (this.#again)
    } catch {
      // A fault of ours, or of whoever uses the stream, ends this stream and no other.
      this.destroy()
    }
    this.#delivering = false
    if (!this.#paused) this.#tellEnd()
  }

  /** False when the user has taken less than there is. */
  #deliverAll(): boolean {
    for (;;) {
      const user = this.#user
      if (user === undefined) return true
      this.#batch ??= this.#tunnel.queue.take()
      const batch = this.#batch
      if (batch === undefined) return true
      const view = batch.views[this.#view]
      if (view === undefined) {
        this.#finishBatch(batch)
        continue
      }
      const at = user.bytes(view, this.#at, view.length)
      // The user may have destroyed the stream.
      if (this.#batch === undefined) continue
      this.#at = at
      if (at < view.length) return false
      this.#view++
      this.#at = 0
    }
  }

  #finishBatch(batch: Batch): void {
    this.#batch = undefined
    this.#view = 0
    this.#at = 0
    this.#tunnel.done(batch)
  }

  #tellEnd(): void {
    const user = this.#user
    if (user === undefined || this.#batch !== undefined || this.#tunnel.queue.bytes > 0) return
    const plain = this.#gone !== undefined && isPlainEnd(this.#gone)
    if (!this.#toldEnd && (this.#tunnel.stream.remoteEnded || plain)) {
      this.#toldEnd = true
      user.ended()
    }
    if (this.#gone !== undefined)
      this.#close(plain ? undefined : this.#tunnel.session.resetReason(this.#gone))
    else if (this.#tunnel.stream.closed) this.#close(undefined)
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    if (this.#ending) return true
    if (this.#behindBytes > 0) return this.#queue(buffer, start, end)
    for (let at = start; at < end; ) {
      at += this.#out.put(buffer, at, end)
      if (at === end) break
      this.flush()
      if (this.#out.bytes > 0) return this.#queue(buffer, at, end)
    }
    return this.#mark()
  }

  text(text: string): boolean {
    if (this.#ending) return true
    if (this.#behindBytes === 0 && this.#out.putText(text)) return this.#mark()
    const bytes = Buffer.from(text, 'latin1')
    return this.write(bytes, 0, bytes.length)
  }

  /** The window is closed: what does not fit the outbox waits behind it. One write of a caller who then stops. */
  readonly #behind: Buffer[] = []
  #behindBytes = 0
  #queue(buffer: Buffer, start: number, end: number): boolean {
    this.#behind.push(Buffer.from(buffer.subarray(start, end)))
    this.#behindBytes += end - start
    unsentBudget.spend(end - start)
    this.#full = true
    return false
  }

  #refill(): void {
    for (let first = this.#behind[0]; first !== undefined; first = this.#behind[0]) {
      const n = this.#out.put(first, 0, first.length)
      this.#behindBytes -= n
      unsentBudget.give(n)
      if (n < first.length) {
        this.#behind[0] = first.subarray(n)
        return
      }
      this.#behind.shift()
    }
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
    const tunnel = this.#tunnel
    while (!this.#ended && this.#gone === undefined) {
      const { slab, from, bytes } = this.#out
      const n = Math.min(bytes, tunnel.sendable)
      if (slab === undefined || n === 0) break
      this.#waiting += n
      // What stood before `from` has been sent: the frame's header takes its place.
      tunnel.send(slab.subarray(from - headerBytes), n, () => this.#sent(n))
      this.#out.from += n
      if (this.#out.bytes > 0) break
      this.#out.clear()
      if (this.#behindBytes === 0) break
      this.#refill()
    }
    if (this.#ending && this.#out.bytes === 0 && !this.#ended && this.#gone === undefined) {
      this.#ended = true
      tunnel.end()
      if (tunnel.stream.closed) this.#tellEnd()
    }
  }

  #sent(n: number): void {
    this.#waiting -= n
    this.#tellDrained()
  }

  #tellDrained(): void {
    if (!this.#full || !isLow(this.pending)) return
    this.#full = false
    this.#user?.drained()
  }

  writable(): void {
    this.flush()
    this.#tellDrained()
  }

  end(): void {
    if (this.#ending) return
    this.#ending = true
    this.flush()
  }

  destroy(): void {
    // What was written in this turn of the loop, an answer's head perhaps, comes before the break as far as there is room.
    if (this.#marked) this.flush()
    this.#ending = true
    this.#ended = true
    this.#toldEnd = true
    this.#paused = false
    this.#dropBatch()
    this.#tunnel.discard()
    // Not as an end: the peer must not take what it has got for all there is.
    if (this.#gone === undefined) this.#tunnel.reset(brokenCode)
    else this.#deliver()
  }

  gone(code: number): void {
    this.#gone = code
    if (!this.#delivering && !this.#paused) {
      this.#deliver()
    } else if (this.#paused && !isPlainEnd(code)) {
      // Who stands still hears of a broken stream at once; what came before the end is still theirs.
      this.#dropBatch()
      this.#tunnel.discard()
      this.#tellEnd()
    }
  }

  #dropBatch(): void {
    const batch = this.#batch
    if (batch !== undefined) this.#finishBatch(batch)
  }

  #close(error: unknown): void {
    const user = this.#user
    this.#user = undefined
    this.#ending = true
    this.#ended = true
    this.#out.clear()
    this.#behind.length = 0
    unsentBudget.give(this.#behindBytes)
    this.#behindBytes = 0
    user?.closed(error)
  }
}
