import type { Socket } from 'node:net'
import { MeshError, type SocketAddress } from '#base'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import { remoteOf, secureClient } from './handshake.ts'
import { defaultLimits, type HboneLimits } from './limits.ts'
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

export type ConnectOptions = Readonly<{
  key: PoolKey
  certificate: () => Promise<WorkloadCertificate>
  /** Opens the TCP connection; its errors are passed on as they are. */
  dial: (signal: AbortSignal) => Promise<Socket>
  authority: string
  headers: Readonly<Record<string, string>>
  signal: AbortSignal
}>

type Dialing = { readonly result: Promise<Session>; readonly stop: AbortController; waiters: number }
type Entry = { sessions: Session[]; dialing: Dialing | undefined; readonly lastUse: Map<Session, number> }

/** A crowd fills one new connection after the other; a peer that takes nothing must not be dialled for ever. */
const maxAttempts = 20

const textOf = ({ source, expected, to, sourceIp }: PoolKey) =>
  JSON.stringify([source, [...expected].sort(), to.address, to.port, sourceIp])

/** The outgoing HBONE connections of one proxy. */
export class HbonePool {
  readonly #limits: HboneLimits
  readonly #entries = new Map<string, Entry>()
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #timer: NodeJS.Timeout

  readonly #trust: Trust | undefined

  constructor(options: { limits?: Partial<HboneLimits>; trust?: Trust; signal: AbortSignal }) {
    this.#trust = options.trust
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#signal = AbortSignal.any([this.#stop.signal, options.signal])
    this.#signal.addEventListener('abort', () => this.#closeAll(), { once: true })
    this.#timer = setInterval(() => this.#releaseUnused(), this.#limits.unusedReleaseMs / 4).unref()
  }

  /** A tunnel to `authority` that the other end has accepted; `http-status` when it has not. */
  async connect(o: ConnectOptions): Promise<OutboundTunnel> {
    const signal = AbortSignal.any([o.signal, this.#signal])
    for (let n = 0; n < maxAttempts; n++) {
      signal.throwIfAborted()
      const entry = this.#entry(textOf(o.key))
      const known = entry.sessions.find((one) => this.#hasRoom(one))
      const session = known ?? (await this.#join(entry, o, signal))
      // Those who waited for the same dial may have filled it.
      if (!this.#hasRoom(session)) continue
      entry.lastUse.set(session, Date.now())
      const tunnel = await openTunnel(session, o.authority, o.headers, this.#limits.answerMs, signal)
      if (!('unserved' in tunnel)) return tunnel
      // No byte of the application has left. A connection that breaks at once, though, is no accident.
      if (tunnel.unserved === 'lost' && known === undefined) throw tunnel.why
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
    const made: Entry = { sessions: [], dialing: undefined, lastUse: new Map() }
    this.#entries.set(key, made)
    return made
  }

  #hasRoom(session: Session): boolean {
    const { connection } = session
    return (
      session.usable &&
      connection.streamCount < Math.min(this.#limits.maxPooledStreams, connection.peerMaxStreams)
    )
  }

  /** Waits for the dial of this key, starting it if need be; the last waiter to leave stops it. */
  async #join(entry: Entry, o: ConnectOptions, signal: AbortSignal): Promise<Session> {
    const dialing = (entry.dialing ??= this.#startDial(entry, o))
    dialing.waiters++
    try {
      return await abortable(dialing.result, signal)
    } finally {
      dialing.waiters--
      if (dialing.waiters === 0) dialing.stop.abort()
    }
  }

  #startDial(entry: Entry, o: ConnectOptions): Dialing {
    const stop = new AbortController()
    const result = this.#dial(entry, o, AbortSignal.any([stop.signal, this.#signal])).finally(() => {
      entry.dialing = undefined
    })
    result.catch(() => undefined) // the waiters see it; there may be none left
    return { result, stop, waiters: 0 }
  }

  async #dial(entry: Entry, o: ConnectOptions, signal: AbortSignal): Promise<Session> {
    const certificate = await o.certificate()
    signal.throwIfAborted()
    const socket = await o.dial(signal)
    const remote = remoteOf(socket)
    socket.setNoDelay(true)
    const waits = { timeoutMs: this.#limits.handshakeMs, signal, trust: this.#trust }
    const secured = await secureClient(socket, certificate, o.key.expected, waits)
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
      closed: () => this.#forget(entry, session),
    })
    entry.sessions.push(session)
    entry.lastUse.set(session, Date.now())
    return session
  }

  #forget(entry: Entry, session: Session): void {
    entry.sessions = entry.sessions.filter((one) => one !== session)
    entry.lastUse.delete(session)
  }

  #releaseUnused(): void {
    const before = Date.now() - this.#limits.unusedReleaseMs
    for (const [key, entry] of this.#entries) {
      for (const [session, at] of entry.lastUse) {
        if (at > before) continue
        this.#forget(entry, session)
        session.drain()
      }
      if (entry.sessions.length === 0 && entry.dialing === undefined) this.#entries.delete(key)
    }
  }

  #closeAll(): void {
    clearInterval(this.#timer)
    for (const entry of this.#entries.values()) for (const session of entry.sessions) session.destroy()
    this.#entries.clear()
  }

  /** Lets live tunnels finish; nothing new is opened. */
  drain(): void {
    for (const entry of this.#entries.values()) {
      for (const session of entry.sessions) session.drain()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new MeshError('draining', { message: 'pool is closed' }))
  }
}

/** `promise`, unless `signal` fires first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
