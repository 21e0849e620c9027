import {
  type ByteStream,
  type BytesUser,
  H2Connection,
  type H2Events,
  h2Code,
  h2Flag,
  h2Frame,
  h2HeaderBytes,
  type H2Stream,
  limitsOf,
  MemoryBudget,
  processBudget,
  putHeader,
} from '#hbone'
import type { HttpLimits } from '../limits.ts'
import { linger } from '../linger.ts'
import { requestDialect } from './dialect.ts'
import { KeepAlive } from './keep-alive.ts'

/** Somebody who waits for room on the connection. */
export type Waiter = { roomAgain(): void }

/** How often a connection looks at the time. */
const tickMs = 1_000
/** Pseudo fields are not counted as headers. */
const pseudoFields = 5
/** As Envoy has it for requests; tunnels are dearer. */
const maxUnansweredResets = 500
/** A read of DATA that is waiting comes in slabs that are larger than the bytes. */
const slabSpare = 2
/** How long a peer may take to hear that we leave. */
const leaveMs = 1_000

/** An HTTP/2 connection for requests on its byte stream: moves bytes, keeps time, closes. */
export class H2Link implements BytesUser {
  readonly stream: ByteStream
  readonly connection: H2Connection
  readonly limits: HttpLimits
  readonly budget: MemoryBudget
  readonly #onClosed: (error: unknown) => void
  readonly #header = Buffer.alloc(h2HeaderBytes)
  readonly #waiters = new Set<Waiter>()
  readonly #timer: NodeJS.Timeout
  readonly #keepAlive: KeepAlive
  /** The transport has taken less than was written; what control frames have added since. */
  #full = false
  #controlBytes = 0
  #draining = false
  #leaving = false
  #dead = false
  #idleSince = performance.now()
  #error: unknown
  #linger: NodeJS.Timeout | undefined
  ready = false

  constructor(
    stream: ByteStream,
    role: 'server' | 'client',
    limits: HttpLimits,
    events: Pick<H2Events, 'request' | 'ready' | 'goaway'>,
    onClosed: (error: unknown) => void,
  ) {
    this.stream = stream
    this.limits = limits
    this.budget = new MemoryBudget(slabSpare * limits.connectionWindow, processBudget)
    this.#onClosed = onClosed
    const all: H2Events = {
      ...events,
      ready: () => {
        this.ready = true
        events.ready()
      },
      pong: () => undefined,
      failed: (code, reason) => this.#fail(code, reason),
    }
    const own = limitsOf({
      maxStreams: limits.maxStreams,
      streamWindow: limits.streamWindow,
      firstStreamWindow: Math.min(limits.streamWindow, 64 << 10),
      connectionWindow: limits.connectionWindow,
      maxHeaderBytes: limits.maxHeaderBytes,
      maxHeldHeaderBytes: limits.maxHeldHeaderBytes,
      maxHeaderFields: limits.maxHeaderFields + pseudoFields,
      maxUnansweredResets,
    })
    const ample = () => this.budget.ample
    this.connection = new H2Connection(role, own, all, undefined, ample, requestDialect)
    this.#timer = setInterval(() => this.#tick(), tickMs).unref()
    this.#keepAlive = new KeepAlive(limits, this.connection, {
      flush: () => this.flush(),
      lost: () => this.#lose(new Error('HTTP/2 keep-alive: no answer in time')),
    })
  }

  /** To be called once everything is in place. */
  start(): void {
    this.stream.use(this)
    this.flush()
  }

  get dead(): boolean {
    return this.#dead
  }
  get draining(): boolean {
    return this.#draining
  }

  // ---- from the stream ----

  bytes(buffer: Buffer, start: number, end: number): number {
    this.#keepAlive.heard()
    this.connection.receive(buffer, start, end)
    this.flush()
    return end
  }

  ended(): void {
    // Nothing is lost where nothing is under way.
    if (this.connection.streamCount === 0) this.#leave()
    else this.destroy()
  }

  drained(): void {
    this.#full = false
    this.#controlBytes = 0
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const waiter of waiters) waiter.roomAgain()
    this.flush()
  }

  closed(error: unknown): void {
    clearInterval(this.#timer)
    clearInterval(this.#linger)
    this.#keepAlive[Symbol.dispose]()
    this.#dead = true
    this.connection.close(h2Code.internalError)
    this.#onClosed(this.#error ?? error)
  }

  // ---- out ----

  /** Writes what the connection has to say. */
  flush(): void {
    const out = this.connection.takeOutput()
    if (out !== undefined && !this.#dead) {
      if (!this.stream.write(out, 0, out.length)) this.#full = true
      if (this.#full) this.#controlBytes += out.length
      // A peer that asks and does not read: its questions must not pile up.
      const most = (64 << 10) + this.connection.saidHeaders
      if (this.#controlBytes > most) this.destroy()
    }
    this.#endIfDrained()
  }

  /** How many bytes of DATA may be sent on a stream now. */
  room(stream: H2Stream): number {
    return this.#full || this.#dead ? 0 : this.connection.sendable(stream)
  }

  /** Sends DATA; there is room for it. */
  data(stream: H2Stream, buffer: Buffer, start: number, end: number, last: boolean): void {
    this.flush()
    const max = this.connection.peerMaxFrame
    for (let at = start; at < end || (last && at === end); ) {
      const to = Math.min(end, at + max)
      const ends = last && to === end
      putHeader(this.#header, 0, to - at, h2Frame.data, ends ? h2Flag.endStream : 0, stream.id)
      this.stream.write(this.#header, 0, h2HeaderBytes)
      if (!this.stream.write(buffer, at, to)) this.#full = true
      this.connection.claim(stream, to - at)
      at = to
      if (ends) break
    }
    if (last) this.connection.ended(stream)
  }

  /** Tells `waiter` when the transport has taken what waits. */
  await(waiter: Waiter): void {
    if (this.#full) this.#waiters.add(waiter)
  }

  // ---- life ----

  #tick(): void {
    this.connection.checkTime()
    this.connection.relieve(10 * tickMs)
    const now = performance.now()
    if (this.connection.streamCount > 0) this.#idleSince = now
    else if (now - this.#idleSince > this.limits.idleMs) this.drain()
    this.flush()
  }

  #fail(code: number, reason: string): void {
    this.#error ??= new Error(`HTTP/2 error ${code}: ${reason}`)
    const out = this.connection.takeOutput()
    if (out) this.stream.write(out, 0, out.length)
    this.#leave()
  }

  #lose(error: Error): void {
    this.#error ??= error
    this.destroy()
  }

  drain(): void {
    if (this.#draining) return
    this.#draining = true
    this.connection.goaway()
    if (this.connection.leaving)
      setTimeout(() => {
        this.connection.endGoaway()
        this.flush()
      }, leaveMs).unref()
    this.flush()
  }

  /** The peer takes no more streams. */
  stopOpening(): void {
    this.#draining = true
  }

  #endIfDrained(): void {
    if (this.#draining && this.connection.streamCount === 0 && !this.connection.leaving) this.#leave()
  }

  #leave(): void {
    if (this.#leaving || this.#dead) return
    this.#leaving = true
    this.stream.end()
    this.#linger = linger(this.stream, this.limits.lingerMs)
  }

  destroy(): void {
    this.#dead = true
    this.stream.destroy()
  }
}
