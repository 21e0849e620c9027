import { type Ip, isIpv6 } from '#base'
import type { LoadBalancer, Scope, Service, Workload, WorkloadUid } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'

/** A workload of a service with the port on which it serves the service's port. */
export type Endpoint = Readonly<{ workload: Workload; port: number }>
/** In waypoint mode the service need not list the port when the endpoint has an application tunnel. */
export type Mode = 'standard' | 'waypoint'

/** Candidates with the running sum of their weights: a choice is one binary search. */
type Choice = Readonly<{ endpoints: readonly Endpoint[]; sums: Float64Array }>

/** Random picks that may hit an endpoint already tried before we look through all of them. */
const maxPicks = 4

type Wanted = Readonly<{
  service: Service
  port: number
  source: Workload
  network: string
  mode: Mode
  random: () => number
  tried?: ReadonlySet<WorkloadUid>
}>

/** One endpoint by weight; undefined when none is left. */
export function chooseEndpoint(state: MeshState, wanted: Wanted): Endpoint | undefined {
  const { service, port, mode, random, tried = new Set() } = wanted
  // Before anything is computed and kept for it: apps may dial any port.
  if (mode === 'standard' && !service.ports.has(port)) return undefined
  const { endpoints, sums } = state.derive(service.key, choiceName(wanted), () => choiceOf(state, wanted))
  const total = sums.at(-1) ?? 0
  if (total === 0) return undefined
  for (let n = 0; n < maxPicks; n++) {
    const endpoint = endpoints[indexOf(sums, random() * total)]
    if (endpoint && !tried.has(endpoint.workload.uid)) return endpoint
  }
  return endpoints.find(({ workload }) => !tried.has(workload.uid))
}

function choiceName({ service, port, source, network, mode }: Wanted): string {
  const local = ['Strict', 'Failover'].includes(service.loadBalancer.mode)
  const { region, zone, subzone } = source.locality
  const place = local ? [region, zone, subzone, source.node, source.clusterId, source.network].join('|') : ''
  return `${mode}|${port}|${network}|${place}`
}

function choiceOf(state: MeshState, { service, port, source, network, mode }: Wanted): Choice {
  const all = [...state.membersOf(service.key).values()].flatMap((workload): Endpoint[] => {
    const target = targetPort(service, workload, port, mode)
    return target !== undefined && isUsable(service, workload, network) ? [{ workload, port: target }] : []
  })
  const endpoints = preferred(service.loadBalancer, source, all)
  let sum = 0
  const sums = Float64Array.from(endpoints, ({ workload }) => (sum += workload.capacity))
  return { endpoints, sums }
}

// Endpoints of another network would need its gateway and a tunnel in the tunnel; they are not candidates.
const isUsable = (service: Service, workload: Workload, network: string): boolean =>
  workload.capacity > 0 &&
  workload.network === network &&
  workload.addresses.some((address) => isAllowed(service, address)) &&
  (workload.status === 'Healthy' || service.loadBalancer.healthPolicy === 'AllowAll')

const isAllowed = ({ ipFamilies }: Service, address: Ip): boolean =>
  ipFamilies === 'IPv4' ? !isIpv6(address) : ipFamilies !== 'IPv6' || isIpv6(address)

/** The endpoint's own map, then the service's number, then an application tunnel's (ztunnel: state.rs). */
export function targetPort(
  service: Service,
  workload: Workload,
  port: number,
  mode: Mode,
): number | undefined {
  const listed = service.ports.get(port)
  const tunnelled = workload.applicationTunnel !== undefined && mode === 'waypoint'
  if (listed === undefined && !tunnelled) return undefined
  const own = workload.services.get(service.key)?.get(port)
  if (own) return own
  if (listed) return listed
  return workload.applicationTunnel?.port === undefined ? undefined : port
}

const scopeOf: Record<Scope, (w: Workload) => string> = {
  Region: (w) => w.locality.region,
  Zone: (w) => w.locality.zone,
  Subzone: (w) => w.locality.subzone,
  Node: (w) => w.node,
  Cluster: (w) => w.clusterId,
  Network: (w) => w.network,
}

/** STRICT keeps those that match every scope, FAILOVER those that match the most leading ones. */
function preferred(lb: LoadBalancer, source: Workload, all: readonly Endpoint[]): readonly Endpoint[] {
  if (lb.mode !== 'Strict' && lb.mode !== 'Failover') return all
  const rankOf = ({ workload }: Endpoint) => {
    const miss = lb.preferences.findIndex((scope) => scopeOf[scope](workload) !== scopeOf[scope](source))
    return miss === -1 ? lb.preferences.length : miss
  }
  const best = lb.mode === 'Strict' ? lb.preferences.length : Math.max(0, ...all.map(rankOf))
  return all.filter((endpoint) => rankOf(endpoint) === best)
}

/** First index whose running sum is above `point`. */
function indexOf(sums: Float64Array, point: number): number {
  let low = 0
  let high = sums.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sums[middle] ?? 0) > point) high = middle
    else low = middle + 1
  }
  return low
}

/** The address of an endpoint for a caller who dialled `wanted`: that one, else one of its family, else any. */
export function addressOf(workload: Workload, service: Service | undefined, wanted: Ip): Ip | undefined {
  if (workload.addresses.includes(wanted)) return wanted
  const allowed = service ? workload.addresses.filter((a) => isAllowed(service, a)) : workload.addresses
  return allowed.find((a) => isIpv6(a) === isIpv6(wanted)) ?? allowed[0]
}
