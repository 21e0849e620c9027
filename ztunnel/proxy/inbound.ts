import type { Socket } from 'node:net'
import { destroying, facts, follow, lifetime, MeshError, type SocketAddress } from '#base'
import { type InboundTunnel, serveHbone } from '#hbone'
import { baggageOf } from '#mesh'
import { explainDecision } from '#policy'
import { type InboundTarget, resolveInbound, type Workload } from '../state/index.ts'
import { noRoom } from './admission.ts'
import { deadline, localWorkload, type PodContext, setupMs } from './context.ts'
import { dial } from './dial.ts'
import { factsOf } from './inbound-facts.ts'
import { proxyHeader } from './proxy-protocol.ts'
import { type OpenConnection, policiesOf } from './open-connection.ts'
import { type Ending, logEarlyFailure, recordConnection } from './record.ts'
import { endsOf, endWhenIdle, tame } from './sockets.ts'

/** A connection of a peer's mesh proxy (15008): mTLS as the pod, then a decision per tunnel. */
export async function handleHbone(socket: Socket, ctx: PodContext): Promise<void> {
  tame(socket)
  const ends = endsOf(socket)
  if (!ends) return void socket.destroy()
  // Before the tunnels' own: a connection that is ended breaks its tunnels, rather than these ending in peace one by one.
  using life = lifetime(ctx.signal)
  try {
    using setup = deadline(setupMs, ctx.signal)
    const local = await localWorkload(ctx, setup.signal)
    const certificate = await ctx.certificates.get(local.identity, setup.signal)
    setup[Symbol.dispose]()
    let served = 0
    const connection = serveHbone(socket, {
      certificate,
      trust: ctx.trust,
      limits: ctx.limits,
      onTunnel: (tunnel) => {
        served++
        void handleTunnel(tunnel, ends.dst, ctx)
      },
      signal: life.signal,
    })
    using _draining = follow(ctx.draining, () => connection.drain())
    const { error } = await connection.closed
    if (error !== undefined && served === 0) logEarlyFailure(ctx.access, 'inbound', ends, error)
  } catch (error) {
    logEarlyFailure(ctx.access, 'inbound', ends, error)
    socket.destroy()
  }
}

/** One CONNECT: is it anything for us at all? Never rejects. */
async function handleTunnel(
  tunnel: InboundTunnel,
  podAddress: SocketAddress,
  ctx: PodContext,
): Promise<void> {
  try {
    if (tunnel.method !== 'CONNECT')
      throw new MeshError('bad-request', { message: `incoming connection had method ${tunnel.method}` })
    const local = await localWorkload(ctx, ctx.signal)
    const { loopbackTunnel } = ctx.tuning
    const question = { local, podIp: podAddress.address, network: ctx.network, loopbackTunnel }
    const target = resolveInbound(ctx.state, question, tunnel.authority)
    if (target.kind === 'accept') {
      const room = ctx.admission.take(1, ctx.pod.uid)
      if (!room) throw noRoom()
      // Not waited for: what is kept here would be kept for as long as the tunnel is open.
      const denied = (bug: unknown) => deny(tunnel, podAddress, ctx, bug)
      return void proxyTunnel({ tunnel, podAddress, local, target, ctx, room }).catch(denied)
    }
    tunnel.refuse(target.status)
    const code = target.status === 400 ? 'bad-request' : 'no-upstream'
    logDenied(tunnel, podAddress, ctx, new MeshError(code, { message: target.message }), target.reason)
  } catch (error) {
    deny(tunnel, podAddress, ctx, error)
  }
}

function deny(tunnel: InboundTunnel, podAddress: SocketAddress, ctx: PodContext, error: unknown): void {
  logDenied(tunnel, podAddress, ctx, error)
  refuse(tunnel, error)
}

const logDenied = (
  { remote: src }: InboundTunnel,
  dst: SocketAddress,
  { access }: PodContext,
  error: unknown,
  reason?: string,
) => logEarlyFailure(access, 'inbound', { src, dst }, error, reason)

type Accepted = Extract<InboundTarget, { kind: 'accept' }>
type Proxied = Readonly<{
  tunnel: InboundTunnel
  podAddress: SocketAddress
  local: Workload
  target: Accepted
  ctx: PodContext
  /** Given back at the end. */
  room: Disposable
}>

/** Registered before it is judged, dialled before it is accepted. Rejects only for a bug. */
async function proxyTunnel({ tunnel, podAddress, local, target, ctx, room }: Proxied): Promise<void> {
  using _room = room
  const finish = recordConnection(ctx, factsOf(tunnel, podAddress, local, ctx, target))
  const judged = { source: tunnel.remote.address, peer: tunnel.peer, destination: target.judged }
  using tracked = ctx.connections.open(
    {
      podUid: ctx.pod.uid,
      pod: ctx.pod,
      direction: 'inbound',
      src: tunnel.remote,
      originalDst: null,
      actualDst: target.to,
      protocol: 'HBONE',
      judged,
    },
    ctx.signal,
  )
  const decision = ctx.connections.judge(ctx.pod.uid, ctx.state, local, judged)
  if (decision.verdict === 'deny') {
    const failure = new MeshError('policy-denied', { message: explainDecision(decision) })
    finish({ failure, policies: policiesOf(decision) })
    return tunnel.refuse(401)
  }
  try {
    // Nobody is dialled for a peer that has given up.
    const app = await dialApp(tunnel, target, ctx, AbortSignal.any([tracked.signal, tunnel.lost]))
    using _app = destroying(app) // the peer may have gone while we dialled
    tunnel.accept(ctx.tuning.baggage ? { baggage: baggageOf(local) } : {})
    finish.watch(app, introduce(tunnel, target, app))
    endWhenIdle(app, ctx.tuning.idleMs, tracked)
    const moved = await tunnel.forward(app, tracked.signal)
    finish(endingOf(moved, tracked))
  } catch (failure) {
    finish(endingOf({ toApp: 0, fromApp: 0, error: failure }, tracked))
    refuse(tunnel, failure)
  }
}

/** The app sees the peer's address, unless it is its own loopback that is dialled. */
function dialApp(tunnel: InboundTunnel, { to, loopback }: Accepted, ctx: PodContext, signal: AbortSignal) {
  const { netns, mark, tuning } = ctx
  const as = !loopback && ctx.showsSource() ? tunnel.remote.address : undefined
  return dial(to, { netns, mark, tuning, as, signal })
}

/** Tells the app that wants to know where the connection comes from; returns how many bytes that took. */
function introduce({ remote, peer }: InboundTunnel, target: Accepted, app: Socket): number {
  if (!target.proxyHeader) return 0
  const header = proxyHeader({ source: remote, destination: target.proxyHeader.destination, identity: peer })
  app.write(header)
  return header.length
}

/** The reason of an aborted connection is what counts, not the broken pipe that it caused. */
export function endingOf(
  moved: { toApp: number; fromApp: number; error?: unknown },
  { signal, closedBy: policies }: Pick<OpenConnection, 'signal' | 'closedBy'>,
): Ending {
  const failure: unknown = signal.aborted ? signal.reason : undefined
  return { moved, ...(failure === undefined ? {} : { failure }), ...(policies ? { policies } : {}) }
}

function refuse(tunnel: InboundTunnel, error: unknown): void {
  const status = error instanceof MeshError ? facts[error.code].status : undefined
  try {
    tunnel.refuse(status ?? 503)
  } catch {
    tunnel.reset() // it was accepted already, or its connection is gone
  }
}
