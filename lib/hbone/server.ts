import type { Socket } from 'node:net'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import { headersOf, type Message } from './fields.ts'
import { remoteOf, secureServer } from './handshake.ts'
import { type HboneLimits, limitsOf } from './limits.ts'
import { Session } from './session.ts'
import type { Stream } from './stream.ts'
import type { InboundTunnel } from './tunnel.ts'
import { TunnelStream } from './tunnel-stream.ts'

/** How a peer's connection is served. */
export type ServeOptions = Readonly<{
  certificate: WorkloadCertificate
  /** What peers are judged by beyond their chain. */
  trust?: Trust
  limits?: Partial<HboneLimits>
  /** Called once per CONNECT, before any of its bytes are read. */
  onTunnel(tunnel: InboundTunnel): void
  /** Ends the connection and all of its tunnels at once. */
  signal: AbortSignal
}>

/** A peer's connection, with its tunnels. */
export type HboneServerConnection = Readonly<{
  /** Settles when the connection is gone; `error` is why, unless it ended in peace. */
  closed: Promise<Readonly<{ error?: unknown }>>
  /** Takes no more tunnels and closes after the last. */
  drain(): void
  /** The verified peer; undefined during the handshake. */
  readonly peer: SpiffeId | undefined
  readonly tunnels: number
}>

/** Serves HBONE on an accepted connection of which nothing has been read. */
export function serveHbone(socket: Socket, options: ServeOptions): HboneServerConnection {
  const limits = limitsOf(options.limits)
  let session: Session | undefined
  let draining = false
  const closed = serve(socket, limits, options, (started) => {
    session = started
    if (draining) started.drain()
  }).then(
    () => ({}),
    (error: unknown) => ({ error }),
  )
  return {
    closed,
    drain: () => {
      draining = true
      session?.drain()
    },
    get peer() {
      return session?.peer
    },
    get tunnels() {
      return session?.connection.streamCount ?? 0
    },
  }
}

async function serve(
  socket: Socket,
  limits: HboneLimits,
  { certificate, trust, onTunnel, signal }: ServeOptions,
  started: (session: Session) => void,
): Promise<void> {
  const remote = remoteOf(socket)
  socket.setNoDelay(true)
  const waits = { timeoutMs: limits.handshakeMs, signal, trust }
  const secured = await secureServer(socket, certificate, waits)
  await new Promise<void>((resolve, reject) => {
    const session: Session = new Session({
      ...secured,
      remote,
      role: 'server',
      limits,
      events: {
        request: (stream, request) => onTunnel(inbound(session, stream, request)),
        ready: () => undefined,
        goaway: () => undefined,
      },
      closed: (error) => {
        signal.removeEventListener('abort', onAbort)
        if (error === undefined) resolve()
        else reject(error)
      },
    })
    const onAbort = () => session.destroy(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    started(session)
  })
}

/** An inbound tunnel is its stream, with the request and the two answers to it. */
class Inbound extends TunnelStream implements InboundTunnel {
  readonly method: string
  readonly authority: string
  readonly headers: ReadonlyMap<string, string>

  constructor(session: Session, stream: Stream, request: Message) {
    super(session, stream)
    this.method = request.method ?? ''
    this.authority = request.authority ?? ''
    this.headers = headersOf(request)
  }

  accept(headers: Readonly<Record<string, string>> = {}): void {
    this.#answer(200, headers, false)
  }

  refuse(status: number): void {
    this.#answer(status, {}, true)
  }

  #answer(status: number, headers: Readonly<Record<string, string>>, end: boolean): void {
    const { connection } = this.session
    if (this.stream.answered) throw new TypeError('tunnel is already answered')
    this.forgetLost()
    connection.respond(this.stream, [[':status', `${status}`], ...Object.entries(headers)], end)
    if (!end) return this.session.flush()
    this.refused()
  }
}

const inbound = (session: Session, stream: Stream, request: Message): InboundTunnel =>
  new Inbound(session, stream, request)
