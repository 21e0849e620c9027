import type { Socket } from 'node:net'
import { destroying, facts, MeshError, type SocketAddress } from '#base'
import { type InboundTunnel, serveHbone } from '#hbone'
import { explainDecision } from '#policy'
import { resolveInbound, type Service, type Workload } from '../state/index.ts'
import { noRoom } from './admission.ts'
import { policiesOf } from './connections.ts'
import { deadline, localWorkload, type PodContext, setupMs } from './context.ts'
import { dial } from './dial.ts'
import { follow, lifetime } from './follow.ts'
import { baggageOf, forwardedHost } from './headers.ts'
import { type ConnectionFacts, logEarlyFailure, recordConnection } from './record.ts'
import { endsOf, tame } from './sockets.ts'

/** A host name is at most 253 characters; what a stranger sends beyond that is not worth a log line. */
const maxLoggedAuthority = 260

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

/** One CONNECT: registered before it is judged, dialled before it is accepted. Never rejects. */
async function handleTunnel(
  tunnel: InboundTunnel,
  podAddress: SocketAddress,
  ctx: PodContext,
): Promise<void> {
  try {
    await proxyInbound(tunnel, podAddress, ctx)
  } catch (error) {
    logEarlyFailure(ctx.access, 'inbound', { src: tunnel.remote, dst: podAddress }, error)
    refuse(tunnel, error)
  }
}

async function proxyInbound(
  tunnel: InboundTunnel,
  podAddress: SocketAddress,
  ctx: PodContext,
): Promise<void> {
  if (tunnel.method !== 'CONNECT')
    throw new MeshError('bad-request', { message: `incoming connection had method ${tunnel.method}` })
  using setup = deadline(setupMs, ctx.signal)
  const local = await localWorkload(ctx, setup.signal)
  const question = { local, podIp: podAddress.address, network: ctx.network }
  using room = ctx.admission.take(1, ctx.pod.uid)
  if (!room) throw noRoom()
  const target = resolveInbound(ctx.state, question, tunnel.authority)
  const finish = recordConnection(ctx, factsOf(tunnel, podAddress, local, ctx, target))
  if (target.kind === 'reject') {
    const code = target.status === 400 ? 'bad-request' : 'no-upstream'
    finish({ failure: new MeshError(code, { message: target.message }) })
    return tunnel.refuse(target.status)
  }
  if (target.proxyHeader) {
    finish({ failure: new MeshError('no-upstream', { message: 'the PROXY protocol is not supported' }) })
    return tunnel.refuse(503)
  }
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
    const { netns, mark } = ctx
    const as = ctx.showsSource() ? tunnel.remote.address : undefined
    const app = await dial(target.to, { netns, mark, as, signal: tracked.signal })
    using _app = destroying(app) // the peer may have gone while we dialled
    setup[Symbol.dispose]()
    tunnel.accept({ baggage: baggageOf(local) })
    const moved = await tunnel.forward(app, tracked.signal)
    finish(endingOf(moved, tracked))
  } catch (failure) {
    finish(endingOf({ toApp: 0, fromApp: 0, error: failure }, tracked))
    refuse(tunnel, failure)
  }
}

type Tracked = ReturnType<PodContext['connections']['open']>

/** The reason of an aborted connection is what counts, not the broken pipe that it caused. */
export function endingOf(moved: { toApp: number; fromApp: number; error?: unknown }, tracked: Tracked) {
  const failure: unknown = tracked.signal.aborted ? tracked.signal.reason : undefined
  const policies = tracked.closedBy()
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

function factsOf(
  tunnel: InboundTunnel,
  dst: SocketAddress,
  local: Workload,
  { state, network }: PodContext,
  target: ReturnType<typeof resolveInbound>,
): ConnectionFacts {
  return {
    direction: 'inbound',
    src: tunnel.remote,
    dst,
    hboneAddress: tunnel.authority.slice(0, maxLoggedAuthority),
    source: state.workloadAt(network, tunnel.remote.address),
    destination: local,
    sourceId: tunnel.peer,
    destinationId: local.identity,
    service: target.kind === 'accept' ? (target.service ?? guessService(tunnel, local, state)) : undefined,
  }
}

/** For telemetry only: the service that the peer names if the pod is in it, else the pod's only one. */
function guessService(
  tunnel: InboundTunnel,
  local: Workload,
  state: PodContext['state'],
): Service | undefined {
  const keys = [...local.services.keys()]
  const host = forwardedHost(tunnel.headers)
  const named = keys.find((key) => host !== undefined && key.endsWith(`/${host}`))
  const [only] = keys.length === 1 ? keys : []
  const key = named ?? only
  return key && state.service(key)
}
