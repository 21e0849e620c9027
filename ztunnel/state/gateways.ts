import { type Ip, isIpv6, type SocketAddress } from '#base'
import {
  addressOf,
  type Gateway,
  gatewayService,
  type MeshState,
  type Mode,
  type Service,
  type Workload,
  type WorkloadUid,
} from '#mesh'
import { chooseEndpoint } from './balance.ts'

/** What the outbound decision is about, besides the address that was dialled. */
export type OutboundQuestion = Readonly<{
  source: Workload
  sourceIp: Ip
  network: string
  /** In [0, 1). */
  random: () => number
  /** Endpoints that failed before any byte was sent; not again. */
  tried?: ReadonlySet<WorkloadUid>
  /** Endpoints that failed a moment ago; only if there is nobody else. */
  ejected?: ReadonlySet<WorkloadUid>
  /** Refuse what nobody has told us about (MeshConfig outboundTrafficPolicy REGISTRY_ONLY). */
  registryOnly?: boolean
}>

/** Where a waypoint or a gateway can be dialled, and who may answer. */
export type Hop = Readonly<{
  workload: Workload
  service: Service | undefined
  /** Undefined where only its hostname is known, or the gateway of its network. */
  address: Ip | undefined
  port: number
}>

/**
 * One endpoint of a waypoint or gateway. Named by its address it keeps that address's family, by its hostname it
 * takes the family of the caller (ztunnel: state.rs fetch_waypoint, fetch_network_gateway).
 */
export function resolveGateway(
  state: MeshState,
  question: OutboundQuestion,
  gateway: Gateway,
  dialled: SocketAddress,
  mode: Mode,
): Hop | undefined {
  const { to, port } = gateway
  const service = gatewayService(state, gateway, question.source.namespace)
  const wanted = to.kind === 'address' ? to.address : dialled.address
  if (service) {
    const endpoint = chooseEndpoint(state, question, { service, port, mode })
    if (!endpoint) return undefined
    const address = addressOf(endpoint.workload, service, wanted)
    return { workload: endpoint.workload, service, address, port: endpoint.port }
  }
  if (to.kind === 'hostname') return undefined
  const workload = state.workloadAt(to.network, to.address)
  if (!workload || question.tried?.has(workload.uid) === true) return undefined
  return { workload, service: undefined, address: to.address, port }
}

/** Has anybody told us about it, whether or not it has somebody who takes connections? */
export const isKnownGateway = (
  state: MeshState,
  { source }: Pick<OutboundQuestion, 'source'>,
  gateway: Gateway,
): boolean =>
  gatewayService(state, gateway, source.namespace) !== undefined ||
  (gateway.to.kind === 'address' && state.workloadAt(gateway.to.network, gateway.to.address) !== undefined)

/** Is the source one of the gateway's own pods? Any of them: they must not send each other what they have seen. */
export function isOwnGateway(
  state: MeshState,
  { source, sourceIp }: Pick<OutboundQuestion, 'source' | 'sourceIp'>,
  gateway: Gateway,
): boolean {
  if (!source.addresses.includes(sourceIp)) return false
  const service = gatewayService(state, gateway, source.namespace)
  if (service) return source.services.has(service.key)
  return gateway.to.kind === 'address' && gateway.to.address === sourceIp
}

/**
 * The waypoints of a service in the order in which to try them: those with a weight share the connections, the one
 * without weight takes them where no other does.
 */
export function waypointsOf(
  { waypoint, weightedWaypoints }: Service,
  random: () => number,
): readonly Gateway[] {
  const usable = weightedWaypoints.filter(({ weight }) => weight > 0)
  if (usable.length === 0) return waypoint ? [waypoint] : []
  let point = random() * usable.reduce((sum, { weight }) => sum + weight, 0)
  const first = usable.find(({ weight }) => (point -= weight) < 0) ?? usable[0]
  const others = usable.filter((other) => other !== first)
  return [...(first ? [first] : []), ...others].map(({ gateway }) => gateway)
}

export const familyOf = (address: Ip): 'ipv4' | 'ipv6' => (isIpv6(address) ? 'ipv6' : 'ipv4')
