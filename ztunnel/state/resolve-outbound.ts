import { formatAddress, type Ip, type SocketAddress } from '#base'
import {
  addressOf,
  allWaypoints,
  expectedOf,
  type Gateway,
  gatewayName,
  type MeshState,
  type Service,
  type Workload,
} from '#mesh'
import { chooseEndpoint, type Endpoint } from './balance.ts'
import {
  familyOf,
  type Hop,
  isKnownGateway,
  isOwnGateway,
  type OutboundQuestion,
  resolveGateway,
  waypointsOf,
} from './gateways.ts'
import { isLoopback, ownPorts } from './ports.ts'
import {
  finishRoute,
  type Reason,
  type RejectReason,
  type RejectRoute,
  type Route,
  type Way,
} from './route.ts'

/** Endpoints looked at for one answer when the way to one of them turns out not to exist. */
const maxLooks = 4

/** What was dialled: a service, a workload, or a service by an address that is a workload's too. */
type Target = Readonly<{ workload?: Workload; service: Service | undefined }>

const reject = (reason: RejectReason, message: string): RejectRoute => ({
  kind: 'reject',
  code: reason === 'self-call' ? 'self-call' : 'no-upstream',
  reason,
  message,
})

/**
 * A service's VIP first, then a workload's address, else it is not ours. A waypoint that is set is used or the
 * connection is refused (ztunnel: outbound.rs build_request); it is passed by only where the control plane has said that
 * it may be, and nobody answers for it.
 */
export function resolveOutbound(state: MeshState, question: OutboundQuestion, origDst: SocketAddress): Route {
  const { source, network } = question
  const toSelf = isLoopback(origDst.address) || origDst.address === question.sourceIp
  if (toSelf && ownPorts.has(origDst.port)) return reject('self-call', 'attempted self call')
  const service = state.serviceAt(network, origDst.address, source.namespace)
  const workload = state.workloadAt(network, origDst.address)
  if (service) return toService(state, question, origDst, service, workload !== undefined)
  if (workload) return toWorkload(state, question, origDst, workload)
  if (toSelf) return { kind: 'passthrough', to: origDst, reason: 'own-address' }
  return question.registryOnly === true
    ? reject('outside-registry', `REGISTRY_ONLY: nobody in the registry has ${formatAddress(origDst)}`)
    : { kind: 'passthrough', to: origDst, reason: 'not-in-mesh' }
}

/** `alsoWorkload`: the address is a workload's too, whose own waypoint must not be passed by then. */
function toService(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  service: Service,
  alsoWorkload: boolean,
): Route {
  const waypoints = waypointsFor(state, question, service)
  let reason: Reason = 'service-endpoint'
  if (waypoints.length > 0) {
    const route = toWaypoint(state, question, origDst, waypoints, { service })
    if (!service.failsOpen || !isUnavailable(route)) return route
    reason = 'past-waypoint'
  }
  if (service.loadBalancer.mode === 'Passthrough')
    return { kind: 'passthrough', to: origDst, reason: 'service-passthrough' }
  if (!service.ports.has(origDst.port)) return noUpstream('no-such-port', service, origDst.port)
  // Where an endpoint cannot be reached (its network's gateway is down, say) another one may be.
  let asked = question
  let last: RejectRoute | undefined
  for (let n = 0; n < maxLooks; n++) {
    const endpoint = chooseEndpoint(state, asked, { service, port: origDst.port, mode: 'standard' })
    if (!endpoint) break
    const route = toEndpoint(state, asked, origDst, { service, reason, alsoWorkload }, endpoint)
    if (route.kind !== 'reject') return route
    last = route
    asked = without(asked, endpoint.workload)
  }
  const failed = question.tried !== undefined && question.tried.size > 0
  return last ?? noUpstream(failed ? 'endpoints-failed' : 'no-healthy-upstream', service, origDst.port)
}

const without = (question: OutboundQuestion, { uid }: Workload): OutboundQuestion => ({
  ...question,
  tried: new Set([...(question.tried ?? []), uid]),
})

/** None for a source that is one of them itself. */
function waypointsFor(state: MeshState, question: OutboundQuestion, service: Service): readonly Gateway[] {
  if (service.waypoint === undefined && service.weightedWaypoints.length === 0) return []
  const mine = allWaypoints(service).some((gateway) => isOwnGateway(state, question, gateway))
  return mine ? [] : waypointsOf(service, question.random)
}

const noUpstream = (reason: RejectReason, service: Service, port: number) =>
  reject(reason, `no healthy upstream: ${service.hostname} port ${port}`)

type Meant = Readonly<{ service: Service; reason: Reason; alsoWorkload: boolean }>

function toEndpoint(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  { service, reason, alsoWorkload }: Meant,
  { workload, port }: Endpoint,
): Route {
  if (workload.network !== question.network) {
    const remote = { endpoint: workload, expect: service.subjectAltNames, reason: 'remote-endpoint' as const }
    return acrossNetworks(state, question, origDst, service, remote)
  }
  const own = alsoWorkload ? viaOwnWaypoint(state, question, origDst, { workload, service }) : undefined
  if (own?.kind === 'via') return own.route
  return direct({ workload, service, reason: own ? 'past-waypoint' : reason }, origDst.address, port)
}

function toWorkload(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  workload: Workload,
): Route {
  const own = viaOwnWaypoint(state, question, origDst, { workload, service: undefined })
  if (own?.kind === 'via') return own.route
  const reason = own ? 'past-waypoint' : 'workload-address'
  return direct({ workload, service: undefined, reason }, origDst.address, origDst.port)
}

/** The way through a workload's own waypoint; `past`: nobody answers for it, and it may be passed by. */
function viaOwnWaypoint(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  target: Target & Readonly<{ workload: Workload }>,
): Readonly<{ kind: 'via'; route: Route } | { kind: 'past' }> | undefined {
  const { waypoint, failsOpen } = target.workload
  if (!waypoint || isOwnGateway(state, question, waypoint)) return undefined
  const route = toWaypoint(state, question, origDst, [waypoint], target)
  return failsOpen && isUnavailable(route) ? { kind: 'past' } : { kind: 'via', route }
}

const isUnavailable = (route: Route): boolean =>
  route.kind === 'reject' && (route.reason === 'waypoint-unavailable' || route.reason === 'unknown-waypoint')

/** To the workload itself, in a tunnel if it takes one. */
function direct(known: Pick<Way, 'workload' | 'service' | 'reason'>, wanted: Ip, port: number): Route {
  const { workload, service } = known
  const tunnel = workload.protocol === 'HBONE' ? 'hbone' : 'none'
  const way: Way = { ...known, tunnel, port, expect: expectedOf(workload, service) }
  return start(way, service, addressOf(workload, service, wanted), wanted)
}

/** The first of the waypoints to whose pods there is a way; none means none, never past it. */
function toWaypoint(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  waypoints: readonly Gateway[],
  target: Target,
): Route {
  let last: RejectRoute | undefined
  for (const gateway of waypoints) {
    let asked = question
    for (let n = 0; n < maxLooks; n++) {
      const hop = resolveGateway(state, asked, gateway, origDst, 'waypoint')
      if (!hop) break
      const route = toHop(state, question, origDst, hop, target)
      if (route.kind !== 'reject') return route
      last = route
      asked = without(asked, hop.workload)
    }
  }
  if (last) return last
  const names = waypoints.map(gatewayName).join(', ')
  return waypoints.some((gateway) => isKnownGateway(state, question, gateway))
    ? reject('waypoint-unavailable', `waypoint unavailable: nobody of ${names} is ready`)
    : reject('unknown-waypoint', `unknown waypoint: ${names}`)
}

/** The authority stays what was dialled: the waypoint chooses the endpoint. */
function toHop(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  { workload, service, address, port }: Hop,
  target: Target,
): Route {
  if (workload.network !== question.network) {
    if (!target.service)
      return reject('remote-workload', `the waypoint ${workload.uid} is on another network`)
    const expect = service?.subjectAltNames ?? []
    const remote = { endpoint: workload, expect, reason: 'remote-waypoint' as const }
    return acrossNetworks(state, question, origDst, target.service, remote)
  }
  const reason: Reason = target.workload ? 'workload-waypoint' : 'service-waypoint'
  const expect = expectedOf(workload, service)
  const authority = formatAddress(origDst)
  const way: Way = { workload, service: target.service, reason, tunnel: 'waypoint', port, authority, expect }
  return start(way, service, address, origDst.address)
}

type Remote = Readonly<{
  endpoint: Workload
  expect: Way['expect']
  reason: 'remote-endpoint' | 'remote-waypoint'
}>

/**
 * Through the gateway of the endpoint's network, which chooses the real endpoint by the service's name; the tunnel in
 * the tunnel ends there, at an id of the service (ztunnel: outbound.rs build_request_through_gateway).
 */
function acrossNetworks(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  service: Service,
  { endpoint, expect: inner, reason }: Remote,
): Route {
  const gateway = endpoint.networkGateway
  if (!gateway) return reject('unknown-gateway', `no gateway to the network of ${endpoint.uid}`)
  if (inner.length === 0)
    return reject('remote-identity-unknown', `nothing says who answers for ${endpoint.uid} on its network`)
  const hop = resolveGateway(state, question, gateway, origDst, 'gateway')
  if (!hop) return reject('unknown-gateway', `unknown network gateway: ${gatewayName(gateway)}`)
  const { workload, port } = hop
  const expect = expectedOf(workload, hop.service)
  const authority = `${service.hostname}:${origDst.port}`
  const tunnel = { tunnel: 'double-hbone', port, authority, expect } as const
  const way: Way = { workload, service, reason, ...tunnel, inner: { expect: inner, endpoint } }
  return start(way, hop.service, hop.address, origDst.address)
}

/** The way with its address, or what has to be asked to get one. `named` is the service whose families count. */
function start(way: Way, named: Service | undefined, address: Ip | undefined, wanted: Ip): Route {
  if (address !== undefined) return finishRoute(way, address)
  const { hostname, uid } = way.workload
  if (hostname === '') return reject('no-address', `no address of ${uid}`)
  const only = named?.ipFamilies === 'IPv4' ? 'ipv4' : named?.ipFamilies === 'IPv6' ? 'ipv6' : undefined
  return { kind: 'resolve', hostname, prefer: only ?? familyOf(wanted), only, way, reason: way.reason }
}
