import type { Socket } from 'node:net'
import { breakOff } from './break-off.ts'
import { headerBytes } from './frames.ts'
import { brokenCode, isBroken, isHangUp, isPlainEnd } from './h2-error.ts'
import { readBytes, releaseSlab, sizeFor, takeSlab, unsentBudget } from './memory.ts'
import { readInto } from './read-into.ts'
import type { Transferred } from './tunnel.ts'
import type { TunnelStream, TunnelUser } from './tunnel-stream.ts'

/**
 * Every forward of the process reads its application into this one buffer, behind room for a frame header: a write to
 * an idle TLS socket is encrypted before it returns, and any other is copied.
 */
const landing = Buffer.allocUnsafeSlow(readBytes)
/** With its header what is read still fits a slab of this size: 16, 32, 64, 128 or 256 KiB. */
const views = [14, 15, 16, 17, 18].map((bits) => landing.subarray(headerBytes, 1 << bits))
const largestView = views.length - 1
/**
 * What the tunnels of one connection may read before its peer has taken any of it: the more there are, the less each
 * reads at a time.
 */
const maxUnsentPerConnection = 4 << 20
/** The longest read of one of so many tunnels, as a place in `views`. */
const longestFor = (tunnels: number): number =>
  unsentBudget.ample
    ? Math.min(largestView, Math.max(0, 17 - Math.clz32(maxUnsentPerConnection / Math.max(1, tunnels))))
    : 0
/** Full reads ask for longer ones, and nearly empty ones for the shortest: an idle tunnel waits with a short one. */
const nextView = (view: number, n: number): number =>
  n === views[view]?.length ? Math.min(largestView, view + 2) : n * 4 < (views[view]?.length ?? 0) ? 0 : view
/** With its header it still fits a slab. */
const maxPayload = readBytes - headerBytes
/** A read below this is an exchange of messages rather than a stream. */
const smallBytes = 16 << 10

/** Copies between a tunnel and an application until both directions have ended or something broke. */
export const forwardTunnel = (tunnel: TunnelStream, app: Socket, signal: AbortSignal): Promise<Transferred> =>
  new Promise((resolve) => {
    new Forward(tunnel, app, signal, resolve).start()
  })

class Forward implements TunnelUser {
  readonly #tunnel: TunnelStream
  readonly #app: Socket
  readonly #signal: AbortSignal
  readonly #resolve: (transferred: Transferred) => void
  #toApp = 0
  #fromApp = 0
  #error: unknown
  /** A TLS write of ours is under way. */
  #sending = false
  /** Reading the application has been stopped until the write under way is over. */
  #paused = false
  /** Bytes that the peer's window, or a write under way, left no room for; at most one read. */
  #pending: { readonly slab: Buffer; from: number; readonly to: number } | undefined
  /** How long the next read may be. */
  #view = 0
  #appEnded = false
  #writing = false
  #appFinished = false
  #peerGone = false
  #over = false
  readonly #onAbort = () => this.#abort(this.#signal.reason)

  constructor(
    tunnel: TunnelStream,
    app: Socket,
    signal: AbortSignal,
    resolve: (transferred: Transferred) => void,
  ) {
    this.#tunnel = tunnel
    this.#app = app
    this.#signal = signal
    this.#resolve = resolve
  }

  start(): void {
    const app = this.#app
    app.setNoDelay(true)
    app.on('error', (error) => {
      if (!isHangUp(error)) this.#error ??= error
    })
    app.on('close', () => this.#onAppClose())
    app.on('end', () => this.#onAppEnd())
    app.on('finish', () => {
      this.#appFinished = true
      this.#settleIfDone()
    })
    if (this.#signal.aborted) return this.#onAbort()
    if (app.destroyed) return this.#onAppClose()
    this.#signal.addEventListener('abort', this.#onAbort, { once: true })
    this.#tunnel.use(this)
    if (this.#over) return
    const next = () => views[this.#view] ?? landing
    readInto(app, next(), (n, buffer) => this.#onRead(n, buffer), next)
    // An application that has said nothing and ended, before we looked at it, says so no more.
    if (app.readableEnded) this.#onAppEnd()
  }

  #onAppEnd(): void {
    this.#appEnded = true
    this.#endTunnel()
  }

  // ---- application to tunnel: one read, one TLS write, then the next read ----

  #onRead(n: number, buffer: Buffer): boolean {
    this.#fromApp += n
    if (this.#over) return false
    const longest = longestFor(this.#tunnel.session.connection.streamCount)
    this.#view = Math.min(longest, nextView(this.#view, n))
    const now = this.#sending ? 0 : Math.min(n, this.#tunnel.sendable, maxPayload)
    if (now < n) this.#keep(buffer, now, n)
    if (now > 0) {
      if (buffer.buffer !== landing.buffer) buffer.copy(landing, headerBytes, 0, now)
      this.#send(now)
    }
    if (now < n) {
      this.#paused = true
      return false
    }
    // Stopping and starting costs two system calls; a small read seldom finds the write of the one before unfinished.
    this.#paused = n >= smallBytes || n === buffer.length
    return !this.#paused
  }

  #keep(buffer: Buffer, from: number, to: number): void {
    const n = to - from
    const slab = n > readBytes ? Buffer.allocUnsafe(n) : takeSlab(sizeFor(n))
    unsentBudget.spend(slab.length)
    buffer.copy(slab, 0, from, to)
    this.#pending = { slab, from: 0, to: n }
  }

  #dropPending(): void {
    const pending = this.#pending
    this.#pending = undefined
    if (pending === undefined) return
    unsentBudget.give(pending.slab.length)
    releaseSlab(pending.slab)
  }

  #send(n: number): void {
    this.#sending = true
    this.#tunnel.send(landing, n, this.#onSent)
  }

  readonly #onSent = (): void => {
    this.#sending = false
    this.#next()
  }

  #next(): void {
    if (this.#over || this.#sending) return
    if (this.#pending) this.#sendPending()
    else if (this.#appEnded) this.#endTunnel()
    else if (this.#paused && this.#tunnel.sendable > 0) {
      this.#paused = false
      this.#app.resume()
    }
  }

  #sendPending(): void {
    const pending = this.#pending
    if (pending === undefined) return
    const { slab, from, to } = pending
    const n = Math.min(this.#tunnel.sendable, to - from, maxPayload)
    if (n === 0) return
    slab.copy(landing, headerBytes, from, from + n)
    if (from + n < to) pending.from += n
    else this.#dropPending()
    this.#send(n)
  }

  writable(): void {
    this.#next()
  }

  #endTunnel(): void {
    if (this.#over || this.#pending) return
    this.#tunnel.end()
    this.#settleIfDone()
  }

  // ---- tunnel to application: all that came in a loop turn is one write ----

  received(): void {
    if (this.#over || this.#writing) return
    const batch = this.#tunnel.queue.take()
    if (batch === undefined) return this.#receivedAll()
    this.#writing = true
    const written = () => {
      this.#writing = false
      this.#toApp += batch.bytes
      this.#tunnel.done(batch)
      // Not at once: what has come in since may be one record of many that this loop turn brings.
      if (this.#tunnel.queue.bytes > 0) this.#tunnel.again()
      else this.received()
    }
    const { views } = batch
    if (views.length > 1) this.#app.cork()
    for (const [i, view] of views.entries())
      this.#app.write(view, i === views.length - 1 ? written : undefined)
    if (views.length > 1) this.#app.uncork()
  }

  #receivedAll(): void {
    if (this.#peerGone) {
      this.#settle()
      this.#app.destroySoon()
    } else if (this.#tunnel.stream.remoteEnded) this.#app.end()
  }

  // ---- ends ----

  #settleIfDone(): void {
    if (this.#tunnel.stream.localEnded && this.#appFinished) this.#settle()
  }

  gone(code: number): void {
    if (this.#over) return this.#tunnel.discard()
    if (isPlainEnd(code)) {
      // What the peer sent before it left still belongs to the application.
      this.#peerGone = true
      return this.received()
    }
    if (!isBroken(code)) this.#error ??= this.#tunnel.session.resetReason(code)
    // What came in the same turn of the loop as the break; the kernel takes it now or never.
    if (this.#tunnel.queue.bytes > 0) this.received()
    this.#settle()
    breakOff(this.#app)
  }

  #onAppClose(): void {
    if (this.#over) return
    this.#settle()
    // It had not ended: the peer must not take what it has got for all there is.
    this.#tunnel.reset(brokenCode)
  }

  #abort(reason: unknown): void {
    if (this.#over) return
    this.#error ??= reason
    this.#settle()
    // Neither side has said its end, so neither may hear one.
    this.#tunnel.reset(brokenCode)
    breakOff(this.#app)
  }

  #settle(): void {
    if (this.#over) return
    this.#over = true
    this.#dropPending()
    this.#signal.removeEventListener('abort', this.#onAbort)
    if (this.#tunnel.stream.closed) this.#tunnel.discard()
    const moved = { toApp: this.#toApp, fromApp: this.#fromApp }
    this.#resolve(this.#error === undefined ? moved : { ...moved, error: this.#error })
  }
}
