import { Duplex } from 'node:stream'
import { errorCode, headerBytes } from './frames.ts'
import { brokenCode, isPlainEnd } from './h2-error.ts'
import { readBytes } from './memory.ts'
import type { TunnelStream, TunnelUser } from './tunnel-stream.ts'

/** A tunnel as a stream, for the waypoint and for tests; `forward` is faster. */
export function tunnelDuplex(tunnel: TunnelStream): Duplex {
  const view = new TunnelView(tunnel)
  tunnel.use(view.user)
  return view
}

class TunnelView extends Duplex {
  readonly #tunnel: TunnelStream
  readonly user: TunnelUser
  #wanted = false
  #rest: Buffer | undefined
  #written: (() => void) | undefined

  constructor(tunnel: TunnelStream) {
    super({ allowHalfOpen: true, highWaterMark: readBytes })
    this.#tunnel = tunnel
    this.user = {
      received: () => this.#deliver(),
      writable: () => this.#sendRest(),
      gone: (code) => this.#gone(code),
    }
  }

  override _read(): void {
    this.#wanted = true
    this.#deliver()
  }

  #deliver(): void {
    while (this.#wanted) {
      const batch = this.#tunnel.queue.take()
      if (batch === undefined) break
      for (const bytes of batch.views) this.#wanted = this.push(Buffer.from(bytes))
      this.#tunnel.done(batch)
    }
    if (this.#tunnel.stream.remoteEnded && this.#tunnel.queue.bytes === 0 && !this.readableEnded) {
      this.push(null)
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#rest = chunk
    this.#written = callback
    this.#sendRest()
  }

  #sendRest(): void {
    const rest = this.#rest
    if (rest === undefined) return
    const n = Math.min(rest.length, this.#tunnel.sendable, readBytes)
    if (n === 0 && rest.length > 0) return
    this.#rest = undefined
    const framed = Buffer.allocUnsafe(headerBytes + n)
    rest.copy(framed, headerBytes, 0, n)
    this.#tunnel.send(framed, n, () => {
      if (n < rest.length) {
        this.#rest = rest.subarray(n)
        this.#sendRest()
        return
      }
      const written = this.#written
      this.#written = undefined
      written?.()
    })
  }

  override _final(callback: () => void): void {
    this.#tunnel.end()
    callback()
  }

  #gone(code: number): void {
    if (isPlainEnd(code)) {
      this.#wanted = true
      this.#deliver()
      if (!this.readableEnded) this.push(null)
      this.destroySoon()
    } else this.destroy(this.#tunnel.session.resetReason(code))
  }

  /** Lets the reader finish; writes have nowhere to go. */
  destroySoon(): void {
    if (this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { stream } = this.#tunnel
    // Who has heard our end has got all there is; who has not must not take this for it.
    if (!stream.closed) this.#tunnel.reset(stream.localEnded ? errorCode.cancel : brokenCode)
    this.#tunnel.discard()
    this.#rest = undefined
    callback(error)
  }
}
