import { facts, isRetryable, MeshError, type SocketAddress } from '#base'
import type { InboundTunnel } from '#hbone'
import { chooseL4, type ConnectionLimits, type DestinationPolicy } from '#routes'
import type { Permit } from '../permits.ts'
import type { PortPlan } from '../route/index.ts'
import type { Accepted } from '../target/index.ts'
import {
  askedHost,
  type Cluster,
  defaultPolicy,
  endpointAddress,
  type Ends,
  hashOf,
  type Host,
  isAnyAddress,
  open,
  type Opened,
  type Outcome,
} from '../upstream/index.ts'
import { callerOf } from './caller.ts'
import type { ProxyContext } from './context.ts'
import { deadline } from './context.ts'
import type { PeekedStream } from './peek.ts'

/** Endpoints that one connection may try while nothing has been sent. */
const maxAttempts = 3
/** Everything before the first byte is forwarded. */
const setupMs = 60_000
/** The tunnel of a client whose protocol had to be found out: it is accepted then. */
export type Begun = Readonly<{
  stream: PeekedStream
  /** The client has said nothing so far: it may speak HTTP yet, if the server does not speak first. */
  silent: boolean
  /** What its TLS asks for, where rules want to know. */
  serverName?: string
}>

/** An endpoint and the open way to it. */
export type Reached = Opened &
  Readonly<{
    workload: Host['workload']
    limits: ConnectionLimits
    /** Where it was chosen among others; counted there until `left`. */
    among?: Readonly<{ host: Host; cluster: Cluster }>
  }>
type Found = Reached | Readonly<{ failure: unknown }>

/** The connection is over. */
export function left({ among }: Reached): void {
  if (!among) return
  among.host.active--
  among.cluster.connections--
}

/** By whose leave, and until when. */
type Reaching = Readonly<{ begun: Begun | undefined; permit: Permit; signal: AbortSignal }>

/** Finds an endpoint of what was asked for, and opens a way to it. */
export async function reachTarget(
  tunnel: InboundTunnel,
  target: Accepted,
  plan: PortPlan,
  ctx: ProxyContext,
  { begun, permit, signal: ending }: Reaching,
): Promise<Found> {
  // A tunnel that has been answered has nobody to lose any more: its stream tells.
  using setup = deadline(setupMs, ending, ...(begun ? [] : [tunnel.lost]))
  const { signal } = setup
  const ends = { source: tunnel.remote, destination: target.judged }
  if (target.kind === 'workload') {
    const { workload, to } = target
    const refusedBy = permit.reach(workload, to)
    if (refusedBy !== undefined) return { failure: denied(refusedBy) }
    const endpoint = { workload, port: to.port }
    const { connections: limits } = defaultPolicy(workload.uid, to.port)
    const ways = {
      service: undefined,
      client: tunnel.remote,
      connectTimeoutMs: limits.connectTimeoutMs,
      signal,
    }
    const opened = open(endpoint, ctx.leaving, { ...ways, ends, policy: {}, serverName: '' })
    return await opened.then((made) => ({ ...made, workload, limits }), failed)
  }
  const caller = callerOf(tunnel, ctx)
  const choice = chooseL4(plan.routes, begun?.serverName || undefined, caller, ctx.http.random)
  if (choice.kind === 'refuse') return { failure: new MeshError('no-upstream', { message: choice.reason }) }
  const cluster = ctx.clusters.of(choice.to, plan.policyOf(choice.to))
  if (!cluster) return { failure: noEndpoint(choice.to.service, choice.to.port) }
  if (cluster.connections >= cluster.policy.connections.maxConnections) return { failure: full(cluster) }
  cluster.connections++
  const asked = isAnyAddress(cluster.service) && cluster.service.key === target.service.key
  const found = await reachOne(cluster, ctx, { ends, permit, signal, asked })
  if ('failure' in found) cluster.connections--
  return found
}

/** `asked`: only where the client wants to. */
type Reachable = Readonly<{ ends: Ends; permit: Permit; signal: AbortSignal; asked: boolean }>

/** One endpoint after the other, as long as nothing has been sent. */
async function reachOne(
  cluster: Cluster,
  ctx: ProxyContext,
  { ends, permit, signal, asked }: Reachable,
): Promise<Found> {
  const { service, policy } = cluster
  const { connections: limits } = policy
  const { connectTimeoutMs, tcpKeepAlive: keepAlive } = limits
  const hash = sourceHash(policy, ends.source)
  const tried = new Set<Host>()
  const only = asked ? askedHost(service, policy.destination.port, ends.destination, ctx) : undefined
  let failure: unknown
  for (let n = 1; n <= maxAttempts; n++) {
    const host = only ?? cluster.choose({ tried, hash })
    if (!host || tried.has(host)) break
    const to = endpointAddress(host, service, ctx.address)
    const refusedBy = to && permit.reach(host.workload, to, cluster)
    if (refusedBy !== undefined) return { failure: denied(refusedBy) }
    host.active++
    try {
      const { port: servicePort } = policy.destination
      const ways = { service, servicePort, client: ends.source, connectTimeoutMs, keepAlive, signal }
      const made = await open(host, ctx.leaving, { ...ways, ends, policy, serverName: service.hostname })
      cluster.report(host, connected)
      return { ...made, workload: host.workload, limits, among: { host, cluster } }
    } catch (error) {
      host.active--
      failure = error
      cluster.report(host, localFailure)
      tried.add(host)
      if (signal.aborted || !mayTryAnother(error)) break
    }
  }
  return { failure: failure ?? noEndpoint(service.hostname, policy.destination.port) }
}

/** Of what may be hashed a connection that is not HTTP has its source only. */
const sourceHash = ({ loadBalancer }: DestinationPolicy, { address }: SocketAddress): bigint | undefined =>
  hashOf(loadBalancer, {
    header: () => undefined,
    query: () => undefined,
    cookie: () => undefined,
    sourceIp: address,
    makeCookie: () => undefined,
  })

/** A policy says no before anything has been sent. */
export const denied = (by: string) => new MeshError('policy-denied', { message: `policy rejection: ${by}` })
const localFailure: Outcome = { kind: 'local-failure' }
const connected: Outcome = { kind: 'connected' }
const full = ({ service: { hostname }, policy }: Cluster) =>
  new MeshError('over-limit', {
    message: `${hostname}:${policy.destination.port} has as many connections as it may have`,
  })
const failed = (failure: unknown): Found => ({ failure })
const noEndpoint = (hostname: string, port: number) =>
  new MeshError('no-upstream', { message: `no healthy upstream for ${hostname}:${port}` })

/** Nothing has left; or the far end has refused the tunnel, and has sent nothing to the app behind it. */
const mayTryAnother = (error: unknown): boolean =>
  error instanceof MeshError &&
  ((isRetryable(error) && facts[error.code].side === 'upstream') || error.code === 'http-status')
