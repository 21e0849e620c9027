import { formatAddress, MeshError, type SocketAddress } from '#base'
import {
  type Body,
  type HttpVersion,
  type PoolDestination,
  type SendFailureReason,
  type SendOutcome,
} from '#http'
import type { Service } from '#mesh'
import { type DestinationPolicy, splitAuthority, type TryOutcome } from '#routes'
import {
  type Cluster,
  type Ends,
  groupOf,
  type Host,
  open,
  placeOf,
  streamOf,
  tlsDigest,
  tlsName,
} from '../upstream/index.ts'
import type { Call } from './call.ts'
import { Deadline } from './deadline.ts'
import type { ResetWords } from './local-reply.ts'

/** What came of a try, and whether we ended it ourselves. */
export type Attempt = Readonly<{
  outcome: SendOutcome
  cause: 'per-try-timeout' | 'timeout' | 'gone' | undefined
}>

type Try = Readonly<{
  call: Call
  host: Host
  /** Where the host is dialled; undefined where that is known by name only. */
  to: SocketAddress | undefined
  cluster: Cluster | undefined
  policy: DestinationPolicy
  body: Body | undefined
  deadline: Deadline
  perTryMs: number
  /** Runs when the whole request is here; undefined: it is. */
  onWhole?: ((run: () => void) => void) | undefined
  /** Nobody hears of interim answers. */
  quiet?: boolean
}>

/** Sends the request to one host. */
export async function tryOnce(o: Try): Promise<Attempt> {
  const { call, host, to, cluster, deadline, perTryMs } = o
  const { request, exchange, parts } = call
  request.headers.set('x-envoy-attempt-count', `${call.tries}`)
  call.sent = { cluster, host, to }
  call.transportFailure = undefined
  const own = perTryMs > 0 ? new Deadline(perTryMs, deadline.signal) : undefined
  // A client that is slow is not its upstream's fault (Envoy).
  if (o.onWhole) o.onWhole(() => own?.start())
  else own?.start()
  const destination = destinationOf(o)
  const outcome = await parts.pool.send(destination, request, o.body, {
    signal: (own ?? deadline).signal,
    onInform: o.quiet ? undefined : (head) => exchange.inform(head),
  })
  // A response that is on its way still ends with the request's time.
  if (outcome.kind === 'failure') own?.stop()
  else own?.stopClock()
  const cause = causeOf(own, deadline)
  if (outcome.kind === 'response' || outcome.sent || outcome.reason === 'refused-stream')
    call.upstreamVersion = destination.version
  // There was no room: whoever was chosen has heard nothing.
  else if (outcome.reason === 'pool-overflow') call.sent = undefined
  // That nobody waits any more is no failure of the upstream.
  if (outcome.kind === 'failure' && cause === undefined && outcome.error instanceof MeshError)
    call.transportFailure = outcome.error.message
  return { outcome, cause }
}

function causeOf(own: Deadline | undefined, { signal, expired }: Deadline): Attempt['cause'] {
  if (own?.expired) return 'per-try-timeout'
  if (!signal.aborted) return undefined
  return expired ? 'timeout' : 'gone'
}

/** A connection that is one client's alone is not kept for long: there may be as many as there are clients. */
const proxiedIdleMs = 10_000

/** The pool keeps connections apart by host and by the service whose identities may answer. */
function destinationOf(o: Try): PoolDestination {
  const { call, host, cluster, policy } = o
  // Requests may differ in their server name, and in whom a PROXY header tells of.
  if (policy.tls || policy.proxyProtocol) return newDestination(o)
  const { way, workload, port } = host
  const service = cluster?.service
  const version = versionFor(call, policy)
  const isKnown =
    way?.policy === policy &&
    way.workload === workload &&
    way.service === service &&
    way.port === port &&
    way.version === version
  if (isKnown) return way.destination
  const destination = newDestination(o)
  host.way = { workload, port, service, policy, version, destination }
  return destination
}

function newDestination({ call, host, cluster, policy }: Try): PoolDestination {
  const { leaving } = call.parts
  const { connections } = policy
  const { http2KeepAlive } = connections
  const service = cluster?.service
  const group = cluster ? groupOf(policy.destination) : host.uid
  const version = versionFor(call, policy)
  const serverName = policy.tls ? (policy.tls.sni ?? serverNameOf(call, service)) : ''
  const tls = policy.tls ? `${tlsDigest(policy.tls)}/${serverName}` : ''
  const names = service?.subjectAltNames.join() ?? ''
  const { identity, addresses } = host.workload
  const place = placeOf(group, host.uid)
  const ends: Ends = { source: call.facts.client, destination: call.facts.local }
  // A connection that has told of one client is no other's.
  const told = policy.proxyProtocol
    ? `${policy.proxyProtocol} ${formatAddress(ends.source)}>${formatAddress(ends.destination)}`
    : ''
  const through = policy.tunnel ? JSON.stringify(policy.tunnel) : ''
  const idleMs = told
    ? Math.min(connections.httpIdleTimeoutMs || proxiedIdleMs, proxiedIdleMs)
    : connections.httpIdleTimeoutMs
  return {
    key: `${version}|${tls}|${place}|${identity}|${names}|${addresses.join()}|${host.port}|${told}|${through}`,
    group,
    place,
    version,
    policy: {
      maxConnections: connections.maxConnections,
      maxPending: connections.maxPending,
      maxRequests: connections.maxRequests,
      maxRequestsPerConnection: connections.maxRequestsPerConnection,
      maxConcurrentStreams: connections.maxConcurrentStreams,
      connectMs: connections.connectTimeoutMs,
      idleMs,
      maxConnectionMs: connections.maxConnectionDurationMs,
    },
    limits: {
      // The pool sees to idle connections; 0 is for ever.
      idleMs: idleMs || Number.POSITIVE_INFINITY,
      keepAliveMs: http2KeepAlive?.intervalMs ?? 0,
      ...(http2KeepAlive ? { keepAliveTimeoutMs: http2KeepAlive.timeoutMs } : {}),
    },
    dial: async (signal, left) => {
      const { connectTimeoutMs } = connections
      const alpn = version === 'HTTP/2' ? 'h2' : 'http/1.1'
      const ways = {
        service,
        servicePort: policy.destination.port,
        client: undefined,
        connectTimeoutMs,
        keepAlive: connections.tcpKeepAlive,
        signal,
      }
      const opened = await open(host, leaving, { ...ways, policy, ends, serverName, alpn })
      // Its proxy is replaced, say: what goes on there will be cut off in the end.
      if (opened.link.kind === 'tunnel') opened.link.tunnel.onLeaving(left)
      return streamOf(opened)
    },
  }
}

/** What a rule has put in the place of the host is meant; what a client says only if it is a name of the destination. */
function serverNameOf({ request, route }: Call, service: Service | undefined): string {
  const { host } = splitAuthority(request.authority)
  const isRules = route?.kind === 'forward' && route.authority === request.authority
  return isRules || !service ? host : tlsName(service, host)
}

/** What the upstream is spoken to in. */
const versionFor = ({ exchange }: Call, { http }: DestinationPolicy): HttpVersion =>
  http === 'client' ? exchange.version : http === 'http2' ? 'HTTP/2' : 'HTTP/1.1'

/** How a try ended, as retries see it. */
export function tryOutcome({ outcome, cause }: Attempt): TryOutcome {
  if (outcome.kind === 'response') {
    const { status, headers } = outcome.response.head
    const grpc = headers.get('grpc-status')
    return {
      kind: 'response',
      status,
      grpcStatus: grpc === undefined ? undefined : Number(grpc),
      rateLimited: headers.has('x-envoy-ratelimited'),
      has: (name) => headers.has(name),
    }
  }
  if (cause === 'timeout' || cause === 'per-try-timeout') return { kind: cause }
  switch (outcome.reason) {
    case 'connect-failure':
    case 'connect-timeout':
      return { kind: 'connect-failure' }
    case 'refused-stream':
      return { kind: 'refused-stream' }
    case 'pool-overflow':
    case 'overflow':
      return { kind: 'overflow' }
    default:
      return { kind: 'reset', sent: outcome.sent }
  }
}

/** Envoy's words for it, and its flag (facts: l7.md §3.3). */
export function failureWords(reason: SendFailureReason): ResetWords {
  return words[reason]
}
const words: Readonly<Record<SendFailureReason, ResetWords>> = {
  'connect-failure': { reason: 'remote connection failure', flag: 'UF' },
  'connect-timeout': { reason: 'connection timeout', flag: 'UF' },
  'connection-termination': { reason: 'connection termination', flag: 'UC' },
  'remote-reset': { reason: 'remote reset', flag: 'UR' },
  'refused-stream': { reason: 'remote refused stream reset', flag: 'UR' },
  'protocol-error': { reason: 'protocol error', flag: 'UPE', status: 502 },
  timeout: { reason: 'connection timeout', flag: 'UF' },
  overflow: { reason: 'overflow', flag: 'UO' },
  'pool-overflow': { reason: 'overflow', flag: 'UO' },
  'local-reset': { reason: 'local reset', flag: 'LR' },
}
