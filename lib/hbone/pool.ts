import type { Socket } from 'node:net'
import { maxTimerMs, MeshError, type SocketAddress } from '#base'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import { remoteOf, secureClient } from './handshake.ts'
import { type HboneLimits, limitsOf } from './limits.ts'
import { openTunnel } from './client.ts'
import { Session } from './session.ts'
import type { OutboundTunnel } from './tunnel.ts'

/** Tunnels share a connection only if all of this is equal: a pod never rides on another's. */
export type PoolKey = Readonly<{
  source: SpiffeId
  expected: readonly SpiffeId[]
  to: SocketAddress
  sourceIp: string
}>

/** What a tunnel is for, and how its connection is opened if there is none yet. */
export type ConnectOptions = Readonly<{
  key: PoolKey
  certificate: () => Promise<WorkloadCertificate>
  /** Opens the TCP connection; its errors are passed on as they are. */
  dial: (signal: AbortSignal) => Promise<Socket>
  authority: string
  headers: Readonly<Record<string, string>>
  signal: AbortSignal
}>

type Waiter = Readonly<{
  options: ConnectOptions
  resolve(session: Session): void
  reject(error: unknown): void
}>
type Entry = {
  sessions: Session[]
  /** Stops the dial that is under way. */
  dialing: AbortController | undefined
  readonly waiters: Set<Waiter>
  readonly lastUse: Map<Session, number>
}

/** A peer that takes nothing must not be dialled for ever. */
const maxFailures = 20

const textOf = ({ source, expected, to, sourceIp }: PoolKey) =>
  JSON.stringify([source, [...expected].sort(), to.address, to.port, sourceIp])

/** The outgoing HBONE connections of one proxy. */
export class HbonePool {
  readonly #limits: HboneLimits
  readonly #entries = new Map<string, Entry>()
  /** They take no more tunnels, and end with the ones that they have. */
  readonly #retired = new Set<Session>()
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #timer: NodeJS.Timeout
  #dialsSinceTrim = 0

  readonly #trust: Trust | undefined

  constructor(options: { limits?: Partial<HboneLimits>; trust?: Trust; signal: AbortSignal }) {
    this.#trust = options.trust
    this.#limits = limitsOf(options.limits)
    this.#signal = AbortSignal.any([this.#stop.signal, options.signal])
    this.#signal.addEventListener('abort', () => this.#closeAll(), { once: true })
    const lookMs = Math.min(this.#limits.unusedReleaseMs / 4, maxTimerMs)
    this.#timer = setInterval(() => this.#releaseUnused(), lookMs).unref()
  }

  /** A tunnel to `authority` that the other end has accepted; `http-status` when it has not. */
  async connect(o: ConnectOptions): Promise<OutboundTunnel> {
    const key = textOf(o.key)
    for (let failures = 0; failures < maxFailures; ) {
      o.signal.throwIfAborted()
      this.#signal.throwIfAborted()
      const entry = this.#entry(key)
      const known = entry.sessions.find((one) => this.#hasRoom(one))
      const session = known ?? (await this.#join(entry, o))
      if (!this.#hasRoom(session)) {
        // Those who waited for the same dial may have filled it; one that takes nothing though it is empty is no good.
        if (session.connection.streamCount === 0) failures++
        continue
      }
      entry.lastUse.set(session, performance.now())
      const tunnel = await openTunnel(session, o.authority, o.headers, this.#limits.answerMs, o.signal)
      if (!('unserved' in tunnel)) return tunnel
      // No byte of the application has left. A connection that breaks at once, though, is no accident.
      if (tunnel.unserved === 'lost' && known === undefined) throw tunnel.why
      failures++
    }
    throw new MeshError('h2-failed', { message: 'peer takes no tunnels', unsent: true })
  }

  /** Connections that are open, for admin and tests. */
  get connections(): number {
    let count = 0
    for (const { sessions } of this.#entries.values()) count += sessions.length
    return count
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key)
    if (known) return known
    const made: Entry = { sessions: [], dialing: undefined, waiters: new Set(), lastUse: new Map() }
    this.#entries.set(key, made)
    return made
  }

  #roomOf({ connection }: Session): number {
    return Math.min(this.#limits.maxPooledStreams, connection.peerMaxStreams) - connection.streamCount
  }

  #hasRoom(session: Session): boolean {
    return session.usable && this.#roomOf(session) > 0
  }

  /** Waits for a connection of this key, dialling if nobody does; the last waiter to leave stops the dial. */
  #join(entry: Entry, o: ConnectOptions): Promise<Session> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        entry.waiters.delete(waiter)
        o.signal.removeEventListener('abort', onAbort)
      }
      const onAbort = () => {
        waiter.reject(o.signal.reason)
        if (entry.waiters.size > 0) return
        entry.dialing?.abort()
        entry.dialing = undefined
      }
      const waiter: Waiter = {
        options: o,
        resolve: (session) => {
          settle()
          resolve(session)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      }
      entry.waiters.add(waiter)
      o.signal.addEventListener('abort', onAbort, { once: true })
      if (entry.dialing === undefined) this.#startDial(entry, o)
    })
  }

  #startDial(entry: Entry, o: ConnectOptions): void {
    // A look at all connections is paid for by as many dials.
    if (++this.#dialsSinceTrim > this.#limits.maxUnused) this.#trim()
    const stop = new AbortController()
    entry.dialing = stop
    this.#dial(entry, o, AbortSignal.any([stop.signal, this.#signal])).then(
      (session) => {
        if (entry.dialing === stop) entry.dialing = undefined
        this.#grant(entry, session)
      },
      (error: unknown) => {
        // Given up: whoever came since waits for another.
        if (entry.dialing !== stop) return
        entry.dialing = undefined
        for (const waiter of entry.waiters) waiter.reject(error)
      },
    )
  }

  /** Lets as many go on as a new connection has room for, and dials for the others. One without room is everybody's. */
  #grant(entry: Entry, session: Session): void {
    let room = this.#hasRoom(session) ? this.#roomOf(session) : Number.POSITIVE_INFINITY
    for (const waiter of entry.waiters) if (room-- > 0) waiter.resolve(session)
    const [next] = entry.waiters
    if (next && entry.dialing === undefined) this.#startDial(entry, next.options)
  }

  async #dial(entry: Entry, o: ConnectOptions, signal: AbortSignal): Promise<Session> {
    const certificate = await o.certificate()
    signal.throwIfAborted()
    const socket = await o.dial(signal)
    const remote = remoteOf(socket)
    socket.setNoDelay(true)
    const waits = { timeoutMs: this.#limits.handshakeMs, signal, trust: this.#trust }
    const secured = await secureClient(socket, certificate, o.key.expected, waits)
    if (signal.aborted) {
      // Given up in this very moment: nobody would find it.
      secured.tls.destroy()
      throw signal.reason
    }
    const session: Session = new Session({
      ...secured,
      remote,
      role: 'client',
      limits: this.#limits,
      events: {
        request: () => undefined,
        ready: () => undefined,
        goaway: () => this.#forget(entry, session),
      },
      closed: () => {
        this.#forget(entry, session)
        this.#retired.delete(session)
      },
    })
    entry.sessions.push(session)
    entry.lastUse.set(session, performance.now())
    return session
  }

  #forget(entry: Entry, session: Session): void {
    entry.sessions = entry.sessions.filter((one) => one !== session)
    entry.lastUse.delete(session)
  }

  #releaseUnused(): void {
    const before = performance.now() - this.#limits.unusedReleaseMs
    for (const entry of this.#entries.values()) {
      for (const [session, at] of entry.lastUse) {
        if (at > before) continue
        this.#forget(entry, session)
        this.#retired.add(session)
        session.retire()
      }
    }
    this.#trim()
  }

  /** Of the connections without a tunnel those that were used last stay. */
  #trim(): void {
    this.#dialsSinceTrim = 0
    const unused: (readonly [at: number, entry: Entry, session: Session])[] = []
    for (const [key, entry] of this.#entries) {
      if (entry.sessions.length === 0 && entry.waiters.size === 0) this.#entries.delete(key)
      for (const [session, at] of entry.lastUse)
        if (session.connection.streamCount === 0) unused.push([at, entry, session])
    }
    unused.sort(([a], [b]) => b - a)
    for (const [, entry, session] of unused.slice(this.#limits.maxUnused)) {
      this.#forget(entry, session)
      session.drain()
    }
  }

  #closeAll(): void {
    clearInterval(this.#timer)
    for (const { sessions, waiters } of this.#entries.values()) {
      for (const session of sessions) session.destroy()
      for (const waiter of waiters) waiter.reject(this.#signal.reason)
    }
    this.#entries.clear()
    for (const session of this.#retired) session.destroy()
  }

  /** Lets live tunnels finish; whoever is still to be connected gets a new connection. */
  drain(): void {
    for (const entry of this.#entries.values()) {
      for (const session of entry.sessions) session.drain()
    }
    for (const session of this.#retired) session.drain()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new MeshError('draining', { message: 'pool is closed' }))
  }
}
