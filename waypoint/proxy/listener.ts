import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { abortable, formatAddress, messageOf } from '#base'
import { type HboneServerConnection, type InboundTunnel, serveHbone } from '#hbone'
import { type ProxyContext } from './context.ts'

/** Connections of one address, so that nobody takes all of them: 100,000 tunnels of a pod, whose proxy puts 100 on a connection. */
const maxPerSource = 1_000
/** Where there is room for few: of all. */
const mostOfAll = 0.5
/** For what a handshake needs: our certificate, and all that we judge its tunnels by. */
const preparedMs = 10_000

/** The port on which peers dial us. */
export type HboneListener = AsyncDisposable &
  Readonly<{
    port: number
    /** Tells peers to go elsewhere; what is open goes on. */
    leave(): void
    /** Takes no new connections. */
    close(): void
    /** Resolves when the last connection is gone. */
    idle(): Promise<void>
    readonly connections: number
    /** How long nobody has come, in milliseconds. */
    readonly quietMs: number
  }>

/** A port, or a socket that is bound already. */
export type ListenAt = Readonly<{ port: number } | { fd: number }>

/** Serves HBONE where `at` says, on so many connections at once; `onTunnel` is called for each CONNECT and must not throw. */
export async function listenHbone(
  at: ListenAt,
  maxConnections: number,
  ctx: ProxyContext,
  onTunnel: (tunnel: InboundTunnel) => void,
): Promise<HboneListener> {
  const open = new Set<HboneServerConnection>()
  const waiting = new Set<() => void>()
  const sources = new Sources(Math.min(maxPerSource, Math.ceil(mostOfAll * maxConnections)))
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => undefined)
    if (!sources.admit(socket)) return void socket.resetAndDestroy()
    cameLast = performance.now()
    void serve(socket, ctx, onTunnel, (connection) => {
      open.add(connection)
      if (leaving) connection.drain()
      return () => {
        open.delete(connection)
        if (open.size === 0) for (const done of waiting) done()
      }
    })
  })
  let leaving = false
  let cameLast = performance.now()
  server.maxConnections = maxConnections
  server.listen(at)
  await once(server, 'listening')
  // From here on only a failed accept comes: out of descriptors, one connection is lost and not the process.
  server.on('error', (error) => ctx.log.warn('accept failed', { error: messageOf(error) }))
  const bound = server.address()
  const close = () => void (server.listening && server.close())
  return {
    port: typeof bound === 'object' && bound ? bound.port : 0,
    leave: () => {
      for (const connection of open) connection.drain()
    },
    close: () => {
      leaving = true
      close()
      for (const connection of open) connection.drain()
    },
    idle: () =>
      open.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting.add(resolve)
          }),
    get connections() {
      return open.size
    },
    get quietMs() {
      return performance.now() - cameLast
    },
    [Symbol.asyncDispose]: async () => {
      close()
      await Promise.all([...open].map(({ closed }) => closed))
    },
  }
}

/** How many connections there are of each address. */
class Sources {
  readonly #most: number
  readonly #counts = new Map<string, number>()

  /** `most`: of each. */
  constructor(most: number) {
    this.#most = most
  }

  admit(socket: Socket): boolean {
    const source = socket.remoteAddress ?? ''
    const count = this.#counts.get(source) ?? 0
    if (count >= this.#most) return false
    this.#counts.set(source, count + 1)
    socket.once('close', () => {
      const left = (this.#counts.get(source) ?? 1) - 1
      if (left > 0) this.#counts.set(source, left)
      else this.#counts.delete(source)
    })
    return true
  }
}

async function serve(
  socket: Socket,
  ctx: ProxyContext,
  onTunnel: (tunnel: InboundTunnel) => void,
  track: (connection: HboneServerConnection) => () => void,
): Promise<void> {
  const from = `${socket.remoteAddress}:${socket.remotePort}`
  try {
    const inTime = AbortSignal.any([ctx.signal, AbortSignal.timeout(preparedMs)])
    await abortable(ctx.told, inTime)
    const certificate = await ctx.certificate(inTime)
    let served = 0
    const connection = serveHbone(socket, {
      certificate,
      trust: ctx.trust,
      onTunnel: (tunnel) => {
        served++
        onTunnel(tunnel)
      },
      signal: ctx.signal,
    })
    const gone = track(connection)
    const { error } = await connection.closed
    gone()
    if (error !== undefined && served === 0) failed(ctx, from, error)
  } catch (error) {
    failed(ctx, from, error)
    socket.destroy()
  }
}

const failed = ({ access, address }: ProxyContext, from: string, error: unknown) =>
  access.warn('connection failed', {
    'src.addr': from,
    'dst.addr': formatAddress({ address, port: 15008 }),
    direction: 'inbound',
    error: messageOf(error),
  })
