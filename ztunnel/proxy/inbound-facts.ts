import type { SocketAddress } from '#base'
import type { InboundTunnel } from '#hbone'
import { forwardedHost, isFromElsewhere, partyOf, type Party, traceOf } from '#mesh'
import type { InboundTarget, Service, Workload } from '../state/index.ts'
import type { PodContext } from './context.ts'
import type { ConnectionFacts } from './record.ts'

/** A host name is at most 253 characters; what a stranger sends beyond that is not worth a log line. */
const maxLoggedAuthority = 260

/** What log and metrics tell of an inbound tunnel that goes to `target`. */
export function factsOf(
  tunnel: InboundTunnel,
  dst: SocketAddress,
  local: Workload,
  ctx: PodContext,
  target: Extract<InboundTarget, { kind: 'accept' }>,
): ConnectionFacts {
  return {
    direction: 'inbound',
    src: tunnel.remote,
    dst,
    hboneAddress: tunnel.authority.slice(0, maxLoggedAuthority),
    source: sourceOf(tunnel, ctx),
    destination: local,
    sourceId: tunnel.peer,
    destinationId: local.identity,
    service: target.service ?? guessService(tunnel, local, ctx),
    traceId: ctx.access.enabled('debug') ? traceOf(tunnel.headers) : undefined,
    reason: target.reason,
  }
}

/** Addresses of another network mean nothing here; who comes from there says itself who it is. */
function sourceOf({ headers, remote }: InboundTunnel, ctx: PodContext): Workload | Party | undefined {
  const { state, network, tuning } = ctx
  return tuning.baggage && isFromElsewhere(headers, network)
    ? partyOf(headers.get('baggage') ?? '')
    : state.workloadAt(network, remote.address)
}

/** For telemetry only: the service that the peer names if the pod is in it, else the pod's only one. */
function guessService(
  { headers }: InboundTunnel,
  local: Workload,
  { state }: PodContext,
): Service | undefined {
  const host = forwardedHost(headers)
  let named: Service | undefined
  for (const key of local.services.keys())
    if (host !== undefined && key.endsWith(`/${host}`)) named ??= state.service(key)
  return named ?? onlyService(local, state)
}

/** The service of a pod that is in one alone. */
export function onlyService(local: Workload, state: PodContext['state']): Service | undefined {
  if (local.services.size !== 1) return undefined
  const [key] = local.services.keys()
  return key && state.service(key)
}
