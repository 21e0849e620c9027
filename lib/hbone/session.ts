import type { TLSSocket } from 'node:tls'
import { MeshError, messageOf, type SocketAddress } from '#base'
import type { Peer, SpiffeId } from '#identity'
import { Connection, type ConnectionEvents } from './connection.ts'
import { errorCode, headerBytes, putHeader, frameType } from './frames.ts'
import { resetError } from './h2-error.ts'
import type { HboneLimits } from './limits.ts'
import {
  MemoryBudget,
  processBudget,
  readBytes,
  releaseSlab,
  sizeFor,
  takeSlab,
  unsentBudget,
} from './memory.ts'
import { readInto } from './read-into.ts'
import type { Stream } from './stream.ts'

/** Something with received bytes to hand on; called once per loop turn. */
type Flushable = { flush(): void }

type SessionOptions = Readonly<{
  tls: TLSSocket
  role: 'server' | 'client'
  peer: Peer
  remote: SocketAddress
  limits: HboneLimits
  events: Pick<ConnectionEvents, 'request' | 'ready' | 'goaway'>
  /** Made for one tunnel: it closes when that one has ended. */
  closesUnused?: boolean
  closed(error: unknown): void
}>

/** One TLS record is at most 16 KiB; all sessions decrypt into this buffer and are done with it when they return. */
const decrypted = Buffer.allocUnsafeSlow(64 << 10)
/** How long a peer that broke the rules may take to read why. */
const lingerMs = 250
/** How long a peer may take to hear that we leave. */
const leaveMs = 1_000

/** How often in `pingIdleMs` a connection looks at the time. */
const beats = 10

/** An HTTP/2 connection on its TLS socket: moves bytes, keeps time, closes. */
export class Session {
  readonly peer: SpiffeId
  readonly remote: SocketAddress
  readonly connection: Connection
  readonly limits: HboneLimits
  /** For what waits for this connection's readers. */
  readonly budget: MemoryBudget
  readonly #tls: TLSSocket
  readonly #closed: (error: unknown) => void
  readonly #peer: Peer
  readonly #watch: Disposable
  #closesUnused: boolean
  #unsentControl = 0
  #dirty: Flushable[] = []
  #error: unknown
  /** Why the connection was ended although nothing had failed. */
  #verdict: MeshError | undefined
  #timer: NodeJS.Timeout
  #pingSentAt = 0
  /** Of the clock that nobody sets: a set one would make silence of a moment, or no silence of an hour. */
  #lastHeard = performance.now()
  #draining = false
  /** The peer has been told. It may have said GOAWAY itself, and open streams all the same. */
  #saidLeave = false
  #ended = false
  #ready = false

  constructor(o: SessionOptions) {
    this.peer = o.peer.id
    this.#peer = o.peer
    this.remote = o.remote
    this.limits = o.limits
    this.budget = new MemoryBudget(o.limits.maxBufferBytes, processBudget)
    this.#tls = o.tls
    this.#closed = o.closed
    this.#closesUnused = o.closesUnused ?? false
    const events: ConnectionEvents = {
      ...o.events,
      goaway: (lastId, code) => {
        this.#stopOpening()
        o.events.goaway(lastId, code)
      },
      ready: () => {
        this.#ready = true
        o.events.ready()
      },
      pong: () => {
        this.#pingSentAt = 0
      },
      failed: (code, reason) => this.#fail(code, reason),
    }
    this.connection = new Connection(o.role, o.limits, events, undefined, () => this.budget.ample)
    this.#watch = o.peer.onChange(() => this.#judgePeer())
    this.#timer = setInterval(() => this.#tick(), o.limits.pingIdleMs / beats).unref()
    o.tls.on('error', (error) => {
      this.#error ??= error
    })
    o.tls.on('end', () => this.destroy())
    o.tls.on('close', () => this.#onClose())
    readInto(o.tls, decrypted, (n, buffer) => this.#receive(n, buffer))
    this.flush()
  }

  #receive(n: number, buffer: Buffer): boolean {
    this.#lastHeard = performance.now()
    try {
      this.connection.receive(buffer, 0, n)
      this.flush()
    } catch (error) {
      // A bug of ours, or of whoever takes the tunnels: it ends this connection and no other.
      this.destroy(error)
    }
    return true
  }

  /** Writes what the connection has to say. */
  flush(): void {
    const out = this.connection.takeOutput()
    if (out === undefined || this.#tls.destroyed || this.#ended) return
    this.#unsentControl += out.length
    this.#tls.write(out, () => {
      this.#unsentControl -= out.length
    })
    // A hundred CONNECTs may go out in one turn, whatever their names take; they are our own doing.
    if (this.#unsentControl > this.limits.maxUnsentControlBytes + this.connection.saidHeaders) {
      this.destroy(new MeshError('protocol', { message: 'peer does not read' }))
    } else this.#endIfDrained()
  }

  /** True when a write would be encrypted before it returns, so that its buffer may be reused. */
  get idle(): boolean {
    return this.#tls.writableLength === 0
  }

  /**
   * Sends the `n` bytes that stand in `buffer` after room for a frame header; n is at most `sendable`. The buffer is
   * the caller's again when this returns.
   */
  send(stream: Stream, buffer: Buffer, n: number, sent: () => void): void {
    this.flush()
    this.connection.claim(stream, n)
    if (n > this.connection.peerMaxFrame) {
      this.#writeOwn(this.#framed(stream.id, buffer.subarray(headerBytes, headerBytes + n)), sent)
      return
    }
    putHeader(buffer, 0, n, frameType.data, 0, stream.id)
    const whole = buffer.subarray(0, headerBytes + n)
    if (this.idle) this.#tls.write(whole, sent)
    else this.#writeCopy(whole, sent)
  }

  /** Other tunnels' bytes are still waiting to be encrypted: these have to wait in memory of their own. */
  #writeCopy(bytes: Buffer, sent: () => void): void {
    if (bytes.length > readBytes) return this.#writeOwn(Buffer.from(bytes), sent)
    const slab = takeSlab(sizeFor(bytes.length))
    unsentBudget.spend(slab.length)
    bytes.copy(slab)
    this.#tls.write(slab.subarray(0, bytes.length), () => {
      unsentBudget.give(slab.length)
      releaseSlab(slab)
      sent()
    })
  }

  /** Bytes that nobody else uses; a peer that does not read makes them wait. */
  #writeOwn(bytes: Buffer, sent: () => void): void {
    unsentBudget.spend(bytes.length)
    this.#tls.write(bytes, () => {
      unsentBudget.give(bytes.length)
      sent()
    })
  }

  #framed(id: number, bytes: Buffer): Buffer {
    const max = this.connection.peerMaxFrame
    const out = Buffer.allocUnsafe(bytes.length + headerBytes * Math.ceil(bytes.length / max))
    for (let from = 0, to = 0; from < bytes.length; from += max) {
      const n = Math.min(max, bytes.length - from)
      putHeader(out, to, n, frameType.data, 0, id)
      to += headerBytes + bytes.copy(out, to + headerBytes, from, from + n)
    }
    return out
  }

  /** Asks for `flush()` at the end of this loop turn. */
  markDirty(one: Flushable): void {
    if (this.#dirty.length === 0) setImmediate(() => this.#runDirty())
    this.#dirty.push(one)
  }

  #runDirty(): void {
    const all = this.#dirty
    this.#dirty = []
    for (const one of all) one.flush()
    this.flush()
  }

  #tick(): void {
    const now = performance.now()
    this.connection.checkTime()
    this.connection.relieve(this.limits.stallMs)
    this.flush()
    if (!this.#judgePeer()) return
    // Rather a beat too early than one too late: both waits together are what a vanished peer may cost.
    const beat = this.limits.pingIdleMs / beats
    if (this.#pingSentAt > 0) {
      if (now - this.#pingSentAt > this.limits.pingTimeoutMs - beat) this.#pingFailed()
    } else if (now - this.#lastHeard >= this.limits.pingIdleMs - beat) {
      this.#pingSentAt = now
      this.connection.ping(Buffer.alloc(8))
      this.flush()
    }
  }

  /** Looks again at the peer's certificate and at ours; false when the connection has been ended. */
  #judgePeer(): boolean {
    const standing = this.#peer.standing(this.limits.peerExpiryGraceMs)
    if (standing.kind === 'drain') this.drain()
    if (standing.kind !== 'end') return true
    this.#verdict = standing.error
    // An end that says so: a peer of ours does not mistake it for a failure (ztunnel: GOAWAY with NO_ERROR).
    this.connection.endGoaway()
    this.flush()
    this.destroy(standing.error)
    return false
  }

  #pingFailed(): void {
    this.connection.endGoaway()
    this.flush()
    this.destroy(new MeshError('timeout', { message: 'peer does not answer PING' }))
  }

  /** True while tunnels may still be opened. */
  get usable(): boolean {
    return !this.#draining && !this.connection.failed && !this.#tls.destroyed && this.connection.hasIds
  }

  /** True when the connection had worked and then broke, for no reason of ours: a new one may well do. */
  get broke(): boolean {
    return this.#ready && this.#tls.destroyed && !this.connection.violated && this.#verdict === undefined
  }

  /** Why a stream ended before its answer. A server that refuses our certificate says so only after the handshake. */
  lossError(code: number): MeshError {
    if (this.#verdict) return this.#verdict
    if (this.#error === undefined) return resetError(code, true)
    const kind = this.#ready ? 'h2-failed' : 'tls-failed'
    return new MeshError(kind, { cause: this.#error, message: messageOf(this.#error), unsent: true })
  }

  /** Why a tunnel was reset with `code`. A connection that we have ended because of its peer is the reason itself. */
  resetReason(code: number): MeshError {
    return this.#verdict ?? resetError(code, false)
  }

  /** One of the ends leaves: new streams go elsewhere. */
  get leaving(): boolean {
    return this.#draining
  }

  #stopOpening(): void {
    if (this.#draining) return
    this.#draining = true
    this.connection.tellLeaving()
  }

  /** Closes after the last stream: nobody opens another one. Those that are open need not hear of it, for they may go on. */
  retire(): void {
    this.#closesUnused = true
    if (this.connection.streamCount === 0) this.drain()
  }

  /** Takes no more streams, but for those on the way, and closes after the last. */
  drain(): void {
    this.#stopOpening()
    if (!this.#saidLeave) {
      this.#saidLeave = true
      this.connection.goaway()
      if (this.connection.leaving) setTimeout(() => this.#leave(), leaveMs).unref()
    }
    this.flush()
    this.#endIfDrained()
  }

  #leave(): void {
    this.connection.endGoaway()
    this.flush()
    this.#endIfDrained()
  }

  #endIfDrained(): void {
    if (!this.#draining || this.#ended || this.connection.streamCount > 0 || this.connection.leaving) return
    this.#ended = true
    this.#tls.end()
    // The peer may never close its half.
    setTimeout(() => this.#tls.destroy(), 1_000).unref()
  }

  /** To be called when a stream has ended. */
  streamClosed(): void {
    this.flush()
    if (this.#closesUnused && this.connection.streamCount === 0) this.drain()
    this.#endIfDrained()
  }

  #fail(code: number, reason: string): void {
    this.#error ??= new MeshError('protocol', { message: `HTTP/2 error ${code}: ${reason}` })
    this.flush()
    this.#ended = true
    this.#tls.end()
    // What the peer sends meanwhile is read and dropped: closing over unread bytes would cost it our GOAWAY.
    setTimeout(() => this.#tls.destroy(), lingerMs).unref()
  }

  destroy(error?: unknown): void {
    this.#error ??= error
    this.#tls.destroy()
  }

  #onClose(): void {
    clearInterval(this.#timer)
    this.#watch[Symbol.dispose]()
    this.connection.close(errorCode.internalError)
    this.#closed(this.#error)
  }
}
