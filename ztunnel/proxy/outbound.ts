import type { Socket } from 'node:net'
import { formatAddress, isRetryable, MeshError, unreachable } from '#base'
import { forwardSockets, type OutboundTunnel, type Transferred } from '#hbone'
import { resolveOutbound, type Route, type Workload, type WorkloadUid } from '../state/index.ts'
import { deadline, type Ends, localWorkload, type PodContext, setupMs } from './context.ts'
import { dial } from './dial.ts'
import { requestHeaders } from './headers.ts'
import { type ConnectionFacts, logEarlyFailure, recordConnection } from './record.ts'
import { endsOf, intendedDst, tame } from './sockets.ts'

/** Endpoints of a service that one connection may try while nothing has been sent. */
const maxAttempts = 3

/** A connection that the app opened (15001): where it goes, and the way there. */
export async function handleOutbound(app: Socket, ctx: PodContext): Promise<void> {
  tame(app)
  const accepted = endsOf(app)
  if (!accepted) return void app.destroy()
  let ends: Ends = accepted
  using setup = deadline(setupMs, ctx.signal)
  try {
    ends = { src: accepted.src, dst: intendedDst(app, accepted.dst) }
    const source = await localWorkload(ctx, setup.signal)
    await proxyOutbound(app, ends, source, ctx, setup)
  } catch (error) {
    logEarlyFailure(ctx.access, 'outbound', ends, error)
    app.resetAndDestroy()
  }
}

type Setup = ReturnType<typeof deadline>

async function proxyOutbound(app: Socket, ends: Ends, source: Workload, ctx: PodContext, setup: Setup) {
  const tried = new Set<WorkloadUid>()
  for (let attempt = 1; ; attempt++) {
    const question = {
      source,
      sourceIp: ends.src.address,
      network: ctx.network,
      random: ctx.random,
      tried,
    }
    const route = resolveOutbound(ctx.state, question, ends.dst)
    if (route.kind === 'reject') throw new MeshError(route.code, { message: route.message })
    const finish = recordConnection(ctx, factsOf(route, ends, source))
    using tracked = ctx.connections.open(trackedEntry(route, ends, ctx), ctx.signal)
    try {
      const upstream = await openUpstream(route, ends, source, ctx, setup.signal)
      setup[Symbol.dispose]()
      const moved = await upstream.forward(app, tracked.signal)
      finish({ moved })
      if (moved.error !== undefined && !app.destroyed) app.resetAndDestroy()
      return
    } catch (failure) {
      finish({ failure })
      const another = route.kind !== 'passthrough' && route.service !== undefined && isRetryable(failure)
      if (!another || attempt >= maxAttempts || setup.signal.aborted) return void app.resetAndDestroy()
      tried.add(route.workload.uid)
    }
  }
}

type Going = Exclude<Route, { kind: 'reject' }>
type Upstream = { forward(app: Socket, signal: AbortSignal): Promise<Transferred> }

async function openUpstream(
  route: Going,
  ends: Ends,
  source: Workload,
  ctx: PodContext,
  signal: AbortSignal,
): Promise<Upstream> {
  const { netns, mark } = ctx
  switch (route.kind) {
    case 'passthrough':
    case 'direct': {
      const upstream = await dial(route.to, { netns, mark, signal })
      return { forward: (app, until) => forwardSockets(upstream, app, until) }
    }
    case 'hbone':
    case 'waypoint':
      return openTunnel(route, ends, source, ctx, signal)
    default:
      return unreachable(route)
  }
}

function openTunnel(
  { via, authority, expect, service }: Extract<Route, { kind: 'hbone' | 'waypoint' }>,
  { src }: Ends,
  source: Workload,
  ctx: PodContext,
  signal: AbortSignal,
): Promise<OutboundTunnel> {
  return ctx.pool.connect({
    key: { source: source.identity, expected: expect, to: via, sourceIp: src.address },
    certificate: () => ctx.certificates.get(source.identity, ctx.signal), // others may wait for it too
    dial: (until) => dial(via, { netns: ctx.netns, mark: ctx.mark, signal: until }),
    authority,
    headers: requestHeaders(source, src, service),
    signal,
  })
}

function factsOf(route: Going, ends: Ends, source: Workload): ConnectionFacts {
  const base = { direction: 'outbound' as const, src: ends.src, source }
  switch (route.kind) {
    case 'passthrough':
      return { ...base, dst: route.to, destination: undefined }
    case 'direct':
      return { ...base, dst: route.to, destination: route.workload, service: route.service }
    case 'hbone':
    case 'waypoint':
      return {
        ...base,
        dst: route.via,
        hboneAddress: route.authority,
        destination: route.workload,
        service: route.service,
        sourceId: source.identity,
        destinationId: route.workload.identity,
      }
    default:
      return unreachable(route)
  }
}

const trackedEntry = (route: Going, { src, dst }: Ends, { pod }: PodContext) => ({
  podUid: pod.uid,
  pod,
  direction: 'outbound' as const,
  src,
  originalDst: formatAddress(dst),
  actualDst: 'via' in route ? route.via : route.to,
  protocol: 'via' in route ? ('HBONE' as const) : ('TCP' as const),
})
