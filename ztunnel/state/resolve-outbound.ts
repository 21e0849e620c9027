import { formatAddress, type Ip, type SocketAddress } from '#base'
import type { SpiffeId } from '#identity'
import { addressOf, chooseEndpoint } from './balance.ts'
import type { Gateway, Service, Workload, WorkloadUid } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'
import { hbonePort, isLoopback, ownPorts } from './ports.ts'

type Known = Readonly<{ workload: Workload; service: Service | undefined }>

/** Where an outbound connection goes, with all that is needed to go there, or why it does not. */
export type Route =
  | Readonly<{ kind: 'passthrough'; to: SocketAddress; reason: 'not-in-mesh' | 'service-passthrough' }>
  | (Known & Readonly<{ kind: 'direct'; to: SocketAddress }>)
  | (Known &
      Readonly<{
        kind: 'hbone' | 'waypoint'
        via: SocketAddress
        authority: string
        expect: readonly SpiffeId[]
      }>)
  | Readonly<{ kind: 'reject'; code: 'self-call' | 'no-upstream'; message: string }>

export type OutboundQuestion = Readonly<{
  source: Workload
  sourceIp: Ip
  network: string
  /** In [0, 1). */
  random: () => number
  /** Endpoints that failed before any byte was sent. */
  tried?: ReadonlySet<WorkloadUid>
}>

const reject = (message: string): Route => ({ kind: 'reject', code: 'no-upstream', message })

/**
 * A service's VIP first, then a workload's address, else it is not ours. A waypoint that is set is used or the
 * connection is refused, it is never bypassed (ztunnel: outbound.rs build_request).
 */
export function resolveOutbound(state: MeshState, question: OutboundQuestion, origDst: SocketAddress): Route {
  const { source, network } = question
  const toSelf = isLoopback(origDst.address) || origDst.address === question.sourceIp
  if (toSelf && ownPorts.has(origDst.port))
    return { kind: 'reject', code: 'self-call', message: 'attempted self call' }
  const service = state.serviceAt(network, origDst.address, source.namespace)
  if (service) return toService(state, question, origDst, service)
  const workload = state.workloadAt(network, origDst.address)
  if (!workload) return { kind: 'passthrough', to: origDst, reason: 'not-in-mesh' }
  if (workload.waypoint) {
    const route = toWaypoint(state, question, origDst, workload.waypoint, { workload, service: undefined })
    if (route) return route
  }
  return toWorkload(workload, undefined, origDst.address, origDst.port)
}

function toService(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  service: Service,
): Route {
  const waypoint = waypointOf(service, question.random)
  if (waypoint) {
    const route = toWaypoint(state, question, origDst, waypoint, { service })
    if (route) return route
  }
  if (service.loadBalancer.mode === 'Passthrough')
    return { kind: 'passthrough', to: origDst, reason: 'service-passthrough' }
  const endpoint = chooseEndpoint(state, { ...question, service, port: origDst.port, mode: 'standard' })
  if (!endpoint) return reject(`no healthy upstream: ${service.hostname} port ${origDst.port}`)
  return toWorkload(endpoint.workload, service, origDst.address, endpoint.port)
}

function toWorkload(workload: Workload, service: Service | undefined, wanted: Ip, port: number): Route {
  const address = addressOf(workload, service, wanted)
  if (address === undefined) return reject(`no address of ${workload.uid}`)
  const to = { address, port }
  if (workload.protocol === 'TCP') return { kind: 'direct', to, workload, service }
  return {
    kind: 'hbone',
    via: { address, port: hbonePort },
    authority: formatAddress(to),
    expect: [...new Set([...(service?.subjectAltNames ?? []), workload.identity])],
    workload,
    service,
  }
}

/** Usable weighted waypoints share the connections; without any, the single one takes them. */
function waypointOf({ waypoint, weightedWaypoints }: Service, random: () => number): Gateway | undefined {
  const total = weightedWaypoints.reduce((sum, { weight }) => sum + weight, 0)
  if (total === 0) return waypoint
  let point = random() * total
  return weightedWaypoints.find(({ weight }) => (point -= weight) < 0)?.gateway ?? waypoint
}

/** Undefined where the source is that waypoint itself, so that it does not talk to itself. */
function toWaypoint(
  state: MeshState,
  question: OutboundQuestion,
  origDst: SocketAddress,
  gateway: Gateway,
  target: { workload?: Workload; service: Service | undefined },
): Route | undefined {
  const gatewayService = serviceOf(state, question, gateway)
  if (isWaypoint(question, gateway, gatewayService)) return undefined
  const found = resolveGateway(state, question, gateway, gatewayService, origDst.address)
  if (!found) return reject(`unknown waypoint: ${gatewayName(gateway)}`)
  const { workload, via } = found
  return {
    kind: 'waypoint',
    via,
    authority: formatAddress(origDst), // untouched: the waypoint chooses the endpoint
    expect: [...new Set([...(gatewayService?.subjectAltNames ?? []), workload.identity])],
    workload,
    service: target.service,
  }
}

const serviceOf = (state: MeshState, { source }: OutboundQuestion, { to }: Gateway): Service | undefined =>
  to.kind === 'hostname'
    ? state.service(to.service)
    : state.serviceAt(to.network, to.address, source.namespace)

/** Is the source one of the waypoint's own pods? Any of them: they must not send each other what they have seen. */
function isWaypoint(
  { source, sourceIp }: OutboundQuestion,
  { to }: Gateway,
  service: Service | undefined,
): boolean {
  if (!source.addresses.includes(sourceIp)) return false
  return service ? source.services.has(service.key) : to.kind === 'address' && to.address === sourceIp
}

function resolveGateway(
  state: MeshState,
  question: OutboundQuestion,
  { to, port }: Gateway,
  service: Service | undefined,
  wanted: Ip,
): { workload: Workload; via: SocketAddress } | undefined {
  if (service) {
    const endpoint = chooseEndpoint(state, { ...question, service, port, mode: 'waypoint' })
    const address = endpoint && addressOf(endpoint.workload, service, wanted)
    return address && { workload: endpoint.workload, via: { address, port: endpoint.port } }
  }
  if (to.kind === 'hostname' || to.network !== question.network) return undefined
  const workload = state.workloadAt(to.network, to.address)
  return workload && { workload, via: { address: to.address, port } }
}

/** A gateway as one string, `network/ip` or `namespace/hostname`. */
export const gatewayName = ({ to }: Gateway): string =>
  to.kind === 'address' ? `${to.network}/${to.address}` : to.service
