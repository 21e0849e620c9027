import type { Socket } from 'node:net'
import { facts, formatAddress, isRecord, isRetryable, MeshError, messageOf, unreachable } from '#base'
import { breakOff } from '#hbone'
import {
  failedEndpoint,
  finishRoute,
  type Going,
  type RejectRoute,
  resolveOutbound,
  type Route,
  type Workload,
  type WorkloadUid,
} from '../state/index.ts'
import { deadline, type Ends, localWorkload, type PodContext, setupMs } from './context.ts'
import { type ConnectionFacts, logEarlyFailure, recordConnection } from './record.ts'
import { endsOf, endWhenIdle, intendedDst, tame } from './sockets.ts'
import { openUpstream, type Upstream } from './upstream.ts'

/** Endpoints that one connection may try while nothing has been sent. */
const maxAttempts = 3
/** Of the error of an attempt that another one made good. */
const maxAttemptText = 160

/** A connection that the app opened (15001): where it goes, and the way there. */
export async function handleOutbound(app: Socket, ctx: PodContext): Promise<void> {
  tame(app)
  const accepted = endsOf(app)
  if (!accepted) return void app.destroy()
  let ends: Ends = accepted
  using setup = deadline(setupMs, ctx.signal)
  const started = performance.now()
  try {
    ends = { src: accepted.src, dst: intendedDst(app, accepted.dst) }
    const source = await localWorkload(ctx, setup.signal)
    const outcome = await reach({ ends, source, ctx, signal: setup.signal })
    if (outcome.kind === 'refused') {
      const { code, message, reason } = outcome.route
      logEarlyFailure(ctx.access, 'outbound', ends, new MeshError(code, { message }), reason)
      return breakOff(app)
    }
    await carry(app, outcome, { ends, source, ctx, started, setup })
  } catch (error) {
    logEarlyFailure(ctx.access, 'outbound', ends, error)
    breakOff(app)
  }
}

type Asking = Readonly<{ ends: Ends; source: Workload; ctx: PodContext; signal: AbortSignal }>
/** Attempts that failed before the one that counts, as text. */
type Tried = Readonly<{ attempts: readonly string[] }>
type Missed = Tried & Readonly<{ route: Going | undefined; failure: unknown }>
type Outcome =
  | Readonly<{ kind: 'refused'; route: RejectRoute }>
  | (Tried & Readonly<{ kind: 'open'; route: Going; upstream: Upstream }>)
  | (Tried & Readonly<{ kind: 'failed'; route: Going; failure: unknown }>)

/** One endpoint after the other, as long as nothing has been sent, until one is reached. */
async function reach(asking: Asking): Promise<Outcome> {
  const { ends, source, ctx, signal } = asking
  const { ejections } = ctx
  const { registryOnly } = ctx.routing
  const attempts: string[] = []
  const tried = new Set<WorkloadUid>()
  let missed: Missed | undefined
  for (let n = 1; ; n++) {
    const sourceIp = ends.src.address
    const { network, random } = ctx
    const question = { source, sourceIp, network, random, tried, ejected: ejections.current(), registryOnly }
    const route = resolveOutbound(ctx.state, question, ends.dst)
    if (route.kind === 'reject') {
      ctx.routing.countUnavailable(route)
      // What went wrong with the endpoint that there was says more than that there is no other.
      return missed ? outcomeOf(missed) : { kind: 'refused', route }
    }
    const endpoint = failedEndpoint(route)
    let going: Going | undefined
    try {
      going = await addressed(route, asking)
      const upstream = await openUpstream(going, asking)
      ctx.routing.countUnavailable(route)
      if (endpoint !== undefined) ejections.restore(endpoint)
      return { kind: 'open', route: going, upstream, attempts }
    } catch (failure) {
      missed = { route: going, failure, attempts: [...attempts] }
      // A name that has no address has nothing to do with the other endpoints.
      const passable = going === undefined || mayTryAnother(failure)
      const another = endpoint !== undefined && !signal.aborted && passable
      if (another && isUnreachable(failure)) ejections.eject(endpoint)
      if (!another || n >= maxAttempts) return outcomeOf(missed)
      tried.add(endpoint)
      ctx.routing.countPassedOn(failure instanceof MeshError ? failure.code : 'other')
      attempts.push(attemptText(going, endpoint, failure))
    }
  }
}

/** Without a way there is nobody to count it for. */
function outcomeOf({ route, failure, attempts }: Missed): Outcome {
  if (!route) throw failure
  return { kind: 'failed', route, failure, attempts }
}

/** Nothing has left; or the far end has said 503: it could not reach the app behind it, and has sent it nothing. */
const mayTryAnother = (failure: unknown): boolean => {
  if (!(failure instanceof MeshError)) return false
  // What we lack ourselves, a certificate say, no other endpoint has.
  if (isRetryable(failure)) return facts[failure.code].side === 'upstream'
  return failure.code === 'http-status' && isRecord(failure.cause) && failure.cause['status'] === 503
}

/** Did the dial itself fail? What a peer that was reached has answered says nothing about its other connections. */
const isUnreachable = (failure: unknown): boolean =>
  failure instanceof MeshError && ['connect-failed', 'timeout', 'network-policy'].includes(failure.code)

const attemptText = (going: Going | undefined, endpoint: WorkloadUid, failure: unknown) =>
  `${going ? formatAddress(dialled(going)) : endpoint}: ${messageOf(failure)}`.slice(0, maxAttemptText)

/** The route with an address, which may have to be asked for. */
async function addressed(
  route: Exclude<Route, RejectRoute>,
  { source, ctx, signal }: Asking,
): Promise<Going> {
  if (route.kind !== 'resolve') return route
  ctx.routing.countLookup(source, route.hostname)
  return finishRoute(route.way, await ctx.routing.hosts.resolve(route, ctx.random, signal))
}

type Carrying = Readonly<{
  ends: Ends
  source: Workload
  ctx: PodContext
  started: number
  setup: Disposable
}>

async function carry(
  app: Socket,
  outcome: Exclude<Outcome, { kind: 'refused' }>,
  { ends, source, ctx, started, setup }: Carrying,
): Promise<void> {
  const { route, attempts } = outcome
  const found = outcome.kind === 'open' ? outcome.upstream.found : undefined
  const facts = factsOf(route, ends, source, found)
  const finish = recordConnection(ctx, { ...facts, started, attempts, reason: route.reason })
  if (outcome.kind === 'failed') {
    finish({ failure: outcome.failure })
    return breakOff(app)
  }
  using tracked = ctx.connections.open(trackedEntry(route, ends, ctx), ctx.signal)
  setup[Symbol.dispose]()
  finish.watch(app)
  endWhenIdle(app, ctx.tuning.idleMs, tracked)
  const moved = await outcome.upstream.forward(app, tracked.signal)
  finish({ moved })
  if (moved.error !== undefined && !app.destroyed) breakOff(app)
}

function factsOf(route: Going, ends: Ends, source: Workload, found: Upstream['found']): ConnectionFacts {
  const base = { direction: 'outbound' as const, src: ends.src, source }
  switch (route.kind) {
    case 'passthrough':
      return { ...base, dst: route.to, destination: undefined }
    case 'direct':
      return { ...base, dst: route.to, destination: route.workload, service: route.service }
    case 'hbone':
    case 'waypoint':
    case 'double-hbone':
      return {
        ...base,
        dst: route.via,
        hboneAddress: route.authority,
        destination: found?.destination ?? route.workload,
        service: route.service,
        sourceId: source.identity,
        destinationId: found?.id ?? route.workload.identity,
      }
    default:
      return unreachable(route)
  }
}

const dialled = (route: Going) => ('via' in route ? route.via : route.to)

/** As istioctl shows it. */
function protocolOf(route: Going): 'TCP' | 'HBONE' | 'DOUBLEHBONE' {
  if (route.kind === 'double-hbone') return 'DOUBLEHBONE'
  return 'via' in route ? 'HBONE' : 'TCP'
}

const trackedEntry = (route: Going, { src, dst }: Ends, { pod }: PodContext) => ({
  podUid: pod.uid,
  pod,
  direction: 'outbound' as const,
  src,
  originalDst: formatAddress(dst),
  actualDst: dialled(route),
  protocol: protocolOf(route),
})
