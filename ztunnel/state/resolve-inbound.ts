import { type Ip, ip, isIpv6, type SocketAddress } from '#base'
import {
  allWaypoints,
  type Authority,
  type Gateway,
  gatewayService,
  type MeshState,
  parseAuthority,
  type Service,
  type Workload,
} from '#mesh'
import { ownPorts } from './ports.ts'

/** Why an inbound tunnel is taken. */
export type InboundReason =
  | 'own-address' // the pod itself was asked for
  | 'service-hostname'
  | 'waypoint-of' // the pod is the waypoint of what was asked for
  | 'application-tunnel' // the pod's app takes what is meant for others
/** Why it is refused. */
export type InboundRejectReason =
  | 'bad-authority'
  | 'ip-mismatch'
  | 'unknown-hostname'
  | 'no-target-port'
  | 'no-vip' // a PROXY header cannot say what was asked for
  | 'self-call'

/** Where an inbound tunnel goes in the local pod, or the status it is refused with, and why. */
export type InboundTarget =
  | Readonly<{
      kind: 'accept'
      /** To be dialled from inside of the pod. */
      to: SocketAddress
      /** What policies are asked about: the pod's address that was dialled, with the port that will be. */
      judged: SocketAddress
      /** What was asked for, where that was a service. */
      service: Service | undefined
      /** The app wants to be told by a PROXY header what was asked for. */
      proxyHeader: Readonly<{ destination: SocketAddress }> | undefined
      /** `to` is loopback, and so is the address to dial from (ztunnel: LOCALHOST_APP_TUNNEL). */
      loopback: boolean
      reason: InboundReason
    }>
  | Readonly<{ kind: 'reject'; status: 400 | 503; reason: InboundRejectReason; message: string }>

/** A connection that has come to a pod. */
export type InboundQuestion = Readonly<{
  /** The pod that was dialled. */
  local: Workload
  /** The address that was dialled. */
  podIp: Ip
  network: string
  /** An app that wants PROXY headers is dialled at loopback (LOCALHOST_APP_TUNNEL). */
  loopbackTunnel?: boolean
}>

type Reject = Extract<InboundTarget, { kind: 'reject' }>
const refuse = (status: 400 | 503, reason: InboundRejectReason, message: string): Reject => ({
  kind: 'reject',
  status,
  reason,
  message,
})
const selfCall = () => refuse(503, 'self-call', 'attempted self call')

/** What was asked for, and the port of the pod that serves it. */
type Asked = Readonly<{ kind: 'asked'; port: number; service: Service | undefined; reason: InboundReason }>

/** What the authority of a CONNECT means here (ztunnel: inbound.rs build_inbound_request). */
export function resolveInbound(
  state: MeshState,
  question: InboundQuestion,
  authority: string,
): InboundTarget {
  const parsed = parseAuthority(authority)
  if (!parsed) return refuse(400, 'bad-authority', `invalid destination: ${authority.slice(0, 255)}`)
  const asked =
    parsed.kind === 'address'
      ? byAddress(state, question, parsed.to)
      : byHostname(state, question, parsed.hostname, parsed.port)
  return asked.kind === 'reject' ? asked : targetOf(question, parsed, asked)
}

const mismatch = (asked: Ip, podIp: Ip) => refuse(400, 'ip-mismatch', `ip mismatch: ${asked} is not ${podIp}`)

function byAddress(state: MeshState, question: InboundQuestion, { address, port }: SocketAddress) {
  const { local, podIp, network } = question
  if (address === podIp) return { kind: 'asked', port, service: undefined, reason: 'own-address' } as const
  const service = state.serviceAt(network, address, local.namespace)
  const tunnelled = local.applicationTunnel !== undefined
  if (!tunnelled && !isWaypointOf(state, question, address, service)) return mismatch(address, podIp)
  const reason = tunnelled ? 'application-tunnel' : 'waypoint-of'
  return { kind: 'asked', port, service, reason } as const
}

/** Is the local pod a waypoint of what was asked for? */
function isWaypointOf(
  state: MeshState,
  question: InboundQuestion,
  asked: Ip,
  service: Service | undefined,
): boolean {
  const { local, podIp, network } = question
  const isMine = (gateway: Gateway): boolean => {
    const named = gatewayService(state, gateway, local.namespace)
    if (named) return local.services.has(named.key)
    const { to } = gateway
    return to.kind === 'address' && (to.address === podIp || local.addresses.includes(to.address))
  }
  if (service && allWaypoints(service).some(isMine)) return true
  const waypoint = state.workloadAt(network, asked)?.waypoint
  return waypoint !== undefined && isMine(waypoint)
}

/** The endpoint's own map, then the service's number (ztunnel: inbound.rs). */
function byHostname(state: MeshState, { local }: InboundQuestion, hostname: string, port: number) {
  const service = state.serviceByHostname(hostname, local.namespace)
  if (!service) return refuse(503, 'unknown-hostname', `unknown hostname: ${hostname}`)
  const target = local.services.get(service.key)?.get(port) || service.ports.get(port) || undefined
  if (target === undefined) return refuse(503, 'no-target-port', `no target port for ${hostname}:${port}`)
  return { kind: 'asked', port: target, service, reason: 'service-hostname' } as const
}

function targetOf(question: InboundQuestion, authority: Authority, asked: Asked): InboundTarget {
  const { local, podIp, network, loopbackTunnel = true } = question
  const tunnel = local.applicationTunnel
  const port = tunnel?.port ?? asked.port
  // The override too: a tunnel to a port of ours would come back for ever.
  if (ownPorts.has(asked.port) || ownPorts.has(port)) return selfCall()
  const { service, reason } = asked
  const judged = { address: podIp, port }
  if (tunnel?.protocol !== 'PROXY')
    return { kind: 'accept', to: judged, judged, service, proxyHeader: undefined, loopback: false, reason }
  const destination = authority.kind === 'address' ? authority.to : vipOf(service, network, authority.port)
  if (!destination)
    return refuse(503, 'no-vip', `no address of ${service?.hostname ?? ''} for a PROXY header`)
  const to = loopbackTunnel ? { address: isIpv6(podIp) ? ip('::1') : ip('127.0.0.1'), port } : judged
  return {
    kind: 'accept',
    to,
    judged,
    service,
    proxyHeader: { destination },
    loopback: loopbackTunnel,
    reason,
  }
}

/** A service's address in our network, IPv4 rather than IPv6. */
function vipOf(service: Service | undefined, network: string, port: number): SocketAddress | undefined {
  const mine = service?.vips.filter((vip) => vip.network === network) ?? []
  const vip = mine.find(({ address }) => !isIpv6(address)) ?? mine[0]
  return vip && { address: vip.address, port }
}
