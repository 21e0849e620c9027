import { facts, follow, isRetryable, maxTimerMs, MeshError, type SocketAddress } from '#base'
import type { ByteStream, InboundTunnel } from '#hbone'
import { chooseL4 } from '#routes'
import type { Permit } from '../permits.ts'
import type { PortPlan } from '../route/index.ts'
import type { Accepted } from '../target/index.ts'
import {
  type Cluster,
  endpointAddress,
  type Host,
  open,
  type Opened,
  type Outcome,
  streamOf,
} from '../upstream/index.ts'
import { callerOf } from './caller.ts'
import type { ProxyContext } from './context.ts'
import { deadline } from './context.ts'
import { PeekedStream } from './peek.ts'
import { recordTcp, type TcpRecord } from './record-tcp.ts'
import { type Moved, relay, type Relayed } from './relay.ts'
import { refuse } from './refuse.ts'

/** Endpoints that one connection may try while nothing has been sent. */
const maxAttempts = 3
/** Everything before the first byte is forwarded. */
const setupMs = 60_000
/** To dial, where no policy says it. */
const connectTimeoutMs = 10_000

/** The tunnel of a client whose protocol had to be found out: it is accepted then. */
type Begun = Readonly<{
  stream: PeekedStream
  /** The client has said nothing so far: it may speak HTTP yet, if the server does not speak first. */
  silent: boolean
  /** What its TLS asks for, where rules want to know. */
  serverName?: string
}>

/**
 * A connection as it is: to an endpoint of the service, under our identity, its bytes untouched. Never rejects. Resolves
 * with what the client speaks if that turns out to be HTTP before anything was sent either way.
 */
export async function proxyTcp(
  tunnel: InboundTunnel,
  { target, plan }: Readonly<{ target: Accepted; plan: PortPlan }>,
  ctx: ProxyContext,
  begun?: Begun,
): Promise<'http1' | 'http2' | undefined> {
  const started = performance.now()
  const record = recordTcp(ctx, tunnel, target, started)
  const abort = new AbortController()
  using _ending = follow(ctx.signal, (reason) => abort.abort(reason))
  // A connection does not outlive its right to exist.
  const revoke = (by: string) => abort.abort(closedBy(by))
  using permit = ctx.permits.open({ asker: tunnel, target, revoke })
  const refusedBy = ctx.permits.refusal(permit)
  const found =
    refusedBy === undefined
      ? await reachTarget(tunnel, target, plan, ctx, { begun, permit, signal: abort.signal })
      : { failure: denied(refusedBy) }
  if ('failure' in found) {
    record.opened(undefined)
    record.ended({ sent: 0, received: 0, error: found.failure })
    if (begun) begun.stream.destroy()
    else refuse(tunnel, found.failure)
    return undefined
  }
  const { host } = found
  if (host) host.active++
  try {
    if (!begun) tunnel.accept()
    if (!begun?.silent) {
      record.ended(await carry(tunnel, found, abort.signal, begun, record))
      return undefined
    }
    const upstream = new PeekedStream(streamOf(found))
    const first = await Promise.race([begun.stream.sniff(maxTimerMs), upstream.spoken()])
    if (first === 'http1' || first === 'http2') {
      upstream.destroy()
      return first
    }
    record.ended(await relayCounted(begun.stream, upstream, found, abort.signal, record))
    return undefined
  } finally {
    if (host) host.active--
  }
}

/** An endpoint and the open way to it; `host` where it was chosen among others. */
export type Reached = Opened & Readonly<{ workload: Host['workload']; host?: Host }>
type Found = Reached | Readonly<{ failure: unknown }>

/** By whose leave, and until when. */
type Reaching = Readonly<{ begun: Begun | undefined; permit: Permit; signal: AbortSignal }>

async function reachTarget(
  tunnel: InboundTunnel,
  target: Accepted,
  plan: PortPlan,
  ctx: ProxyContext,
  { begun, permit, signal: ending }: Reaching,
): Promise<Found> {
  // A tunnel that has been answered has nobody to lose any more: its stream tells.
  using setup = deadline(setupMs, ending, ...(begun ? [] : [tunnel.lost]))
  const client = tunnel.remote
  const { signal } = setup
  if (target.kind === 'workload') {
    const { workload, to } = target
    const refusedBy = permit.reach(workload, to)
    if (refusedBy !== undefined) return { failure: denied(refusedBy) }
    const endpoint = { workload, port: to.port }
    const plain = { service: undefined, client, connectTimeoutMs, signal, policy: {}, serverName: '' }
    const opened = open(endpoint, ctx.leaving, plain)
    return await opened.then((made) => ({ ...made, workload }), failed)
  }
  const caller = callerOf(tunnel, ctx)
  const choice = chooseL4(plan.routes, begun?.serverName || undefined, caller, ctx.http.random)
  if (choice.kind === 'refuse') return { failure: new MeshError('no-upstream', { message: choice.reason }) }
  const cluster = ctx.clusters.of(choice.to, plan.policyOf(choice.to))
  if (!cluster) return { failure: noEndpoint(choice.to.service, choice.to.port) }
  return await reachOne(cluster, ctx, { client, permit, signal })
}

/** One endpoint after the other, as long as nothing has been sent. */
async function reachOne(
  cluster: Cluster,
  ctx: ProxyContext,
  { client, permit, signal }: Readonly<{ client: SocketAddress; permit: Permit; signal: AbortSignal }>,
): Promise<Found> {
  const { service, policy } = cluster
  const tried = new Set<Host>()
  let failure: unknown
  for (let n = 1; n <= maxAttempts; n++) {
    const host = cluster.choose({ tried })
    if (!host || tried.has(host)) break
    const to = endpointAddress(host, service, ctx.address)
    const refusedBy = to && permit.reach(host.workload, to)
    if (refusedBy !== undefined) return { failure: denied(refusedBy) }
    try {
      const ways = { service, client, connectTimeoutMs: policy.connections.connectTimeoutMs, signal }
      const made = await open(host, ctx.leaving, { ...ways, policy, serverName: service.hostname })
      return { ...made, workload: host.workload, host }
    } catch (error) {
      failure = error
      cluster.report(host, localFailure)
      tried.add(host)
      if (signal.aborted || !mayTryAnother(error)) break
    }
  }
  return { failure: failure ?? noEndpoint(service.hostname, policy.destination.port) }
}

/** A policy says no before anything has been sent. */
export const denied = (by: string) => new MeshError('policy-denied', { message: `policy rejection: ${by}` })
const closedBy = (by: string) =>
  new MeshError('policy-denied', { message: `closed due to policy change: ${by}` })

const localFailure: Outcome = { kind: 'local-failure' }
const failed = (failure: unknown): Found => ({ failure })
const noEndpoint = (hostname: string, port: number) =>
  new MeshError('no-upstream', { message: `no healthy upstream for ${hostname}:${port}` })

/** Nothing has left; or the far end has refused the tunnel, and has sent nothing to the app behind it. */
const mayTryAnother = (error: unknown): boolean =>
  error instanceof MeshError &&
  ((isRetryable(error) && facts[error.code].side === 'upstream') || error.code === 'http-status')

/** The fast way where the upstream is a socket that gets every byte from the tunnel. */
async function carry(
  tunnel: InboundTunnel,
  opened: Reached,
  signal: AbortSignal,
  begun: Begun | undefined,
  record: TcpRecord,
): Promise<Relayed> {
  const { link, secured } = opened
  if (link.kind === 'socket' && !begun && !secured) {
    const { socket } = link
    // What waits in our own buffers has not been sent.
    const sent = () => Math.max(0, socket.bytesWritten - socket.writableLength)
    record.opened(opened, () => ({ sent: socket.bytesRead, received: sent() }))
    const { toApp, fromApp, error } = await tunnel.forward(socket, signal)
    return { sent: toApp, received: fromApp, ...(error === undefined ? {} : { error }) }
  }
  return relayCounted(begun?.stream ?? tunnel.byteStream(), streamOf(opened), opened, signal, record)
}

function relayCounted(
  client: ByteStream,
  upstream: ByteStream,
  reached: Reached,
  signal: AbortSignal,
  record: TcpRecord,
): Promise<Relayed> {
  const moved: Moved = { sent: 0, received: 0 }
  record.opened(reached, () => ({ sent: moved.received, received: moved.sent }))
  return relay(client, upstream, signal, moved)
}
