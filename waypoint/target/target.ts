import { formatAddress, type Ip, type SocketAddress } from '#base'
import {
  allWaypoints,
  type Gateway,
  gatewayService,
  type MeshState,
  parseAuthority,
  type Service,
  type Workload,
} from '#mesh'

/** Who asks: the waypoint itself. */
export type Self = Readonly<{
  /** Its record; undefined before the control plane has sent it. */
  local: Workload | undefined
  namespace: string
  address: Ip
  network: string
  /** Had this key of a service, or uid of a workload, us until a moment ago? */
  lately: (key: string) => boolean
}>

/** Why a tunnel is taken. */
export type TargetReason =
  | 'attached' // what was asked for has us as its waypoint
  | 'detached' // it had us a moment ago, and not everybody has heard: it goes straight on, without routes

/** What a tunnel is for, or the status it is refused with, and why. */
export type Target =
  | Readonly<{
      kind: 'service'
      service: Service
      port: number
      /** What policies are asked about. */
      judged: SocketAddress
      reason: TargetReason
      /** The waypoints (`namespace/name`) that it has instead of us by now: who comes to us does not get past their policies. */
      beside: readonly string[]
    }>
  | Readonly<{
      kind: 'workload'
      workload: Workload
      to: SocketAddress
      judged: SocketAddress
      reason: TargetReason
      beside: readonly string[]
    }>
  | Readonly<{ kind: 'refuse'; status: RefuseStatus; reason: RefuseReason; message: string }>

type RefuseStatus = 400 | 503

/** What can be gone on with. */
export type Accepted = Exclude<Target, { kind: 'refuse' }>

export type RefuseReason =
  | 'bad-authority'
  | 'unknown-destination'
  | 'unknown-hostname'
  | 'no-such-port'
  | 'not-attached'
  | 'self-call'

type Refusal = Extract<Target, { kind: 'refuse' }>
const refuse = (status: RefuseStatus, reason: RefuseReason, message: string): Refusal => ({
  kind: 'refuse',
  status,
  reason,
  message,
})

/**
 * What the authority of a CONNECT means here: a service by VIP or hostname, or a workload by its address (facts: l7.md
 * §2.9). What is nobody's is refused. So is what has another waypoint or none, which Istio's passes on: whoever is in the
 * mesh could then call it under the waypoint's identity.
 */
export function resolveTarget(state: MeshState, self: Self, authority: string): Target {
  const parsed = parseAuthority(authority)
  if (!parsed) return refuse(400, 'bad-authority', `invalid destination: ${authority.slice(0, 255)}`)
  if (parsed.kind === 'hostname') {
    const service = state.serviceByHostname(parsed.hostname, self.namespace)
    if (!service) return refuse(503, 'unknown-hostname', `unknown hostname: ${parsed.hostname}`)
    const judged = { address: vipOf(service, self.network) ?? self.address, port: parsed.port }
    return serviceTarget(state, self, service, judged)
  }
  const { to } = parsed
  if (to.address === self.address) return refuse(503, 'self-call', 'attempted self call')
  const service = state.serviceAt(self.network, to.address, self.namespace)
  if (service) return serviceTarget(state, self, service, to)
  const workload = state.workloadAt(self.network, to.address)
  if (!workload) return refuse(503, 'unknown-destination', `nobody has the address ${formatAddress(to)}`)
  const binding = bindingOf(workload.uid, self, workload.waypoint ? [workload.waypoint] : [], state)
  if (!binding) return notAttached(`${workload.namespace}/${workload.name}`)
  return { kind: 'workload', workload, to, judged: to, ...binding }
}

function serviceTarget(state: MeshState, self: Self, service: Service, judged: SocketAddress): Target {
  const { port } = judged
  if (self.local?.services.has(service.key) === true)
    return refuse(503, 'self-call', `${service.hostname} is this waypoint`)
  if (!service.ports.has(port)) return refuse(503, 'no-such-port', `${service.hostname} has no port ${port}`)
  const binding = bindingOf(service.key, self, allWaypoints(service), state)
  if (!binding) return notAttached(service.key)
  return { kind: 'service', service, port, judged, ...binding }
}

/** 503, on which peers try another pod of ours: that may have heard of more than we have. */
const notAttached = (name: string) => refuse(503, 'not-attached', `this is not the waypoint of ${name}`)

function bindingOf(
  key: string,
  self: Self,
  waypoints: readonly Gateway[],
  state: MeshState,
): Pick<Accepted, 'reason' | 'beside'> | undefined {
  if (waypoints.some((gateway) => isSelf(state, self, gateway))) return { reason: 'attached', beside: [] }
  if (!self.lately(key)) return undefined
  const others = waypoints.map((gateway) => gatewayService(state, gateway, self.namespace))
  // Of one that nobody can name no policy is known either.
  if (others.includes(undefined)) return undefined
  const beside = others.flatMap((one) => (one ? [`${one.namespace}/${one.name}`] : []))
  return { reason: 'detached', beside }
}

/** What the waypoint remembers a target by. */
export const keyOf = (target: Accepted): string =>
  target.kind === 'service' ? target.service.key : target.workload.uid

/** Any pod of the waypoint will do, by its service or by an address. */
function isSelf(state: MeshState, { local, address, namespace }: Self, gateway: Gateway): boolean {
  const named = gatewayService(state, gateway, namespace)
  if (named) return local?.services.has(named.key) === true
  const { to } = gateway
  return to.kind === 'address' && (to.address === address || local?.addresses.includes(to.address) === true)
}

/** A service's address in our network. */
const vipOf = ({ vips }: Service, network: string): Ip | undefined =>
  vips.find((vip) => vip.network === network)?.address
