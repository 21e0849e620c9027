import { type Ip, isIpv6 } from '#base'
import type { LoadBalancer, Scope, Service, Workload, WorkloadUid } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'
import { WeightedSet } from './weighted.ts'

/** A workload of a service with the port on which it serves the service's port. */
export type Endpoint = Readonly<{ workload: Workload; port: number }>
/**
 * What the endpoint is for. A waypoint's service need not list the port when the endpoint has an application tunnel;
 * a gateway of another network is dialled as it is, without a gateway to it.
 */
export type Mode = 'standard' | 'waypoint' | 'gateway'

/** Who asks, and what has failed. */
export type Chooser = Readonly<{
  source: Workload
  network: string
  random: () => number
  /** Not again. */
  tried?: ReadonlySet<WorkloadUid>
  /** Only if there is nobody else. */
  ejected?: ReadonlySet<WorkloadUid>
}>
export type Wanted = Readonly<{ service: Service; port: number; mode: Mode }>

const nobody: ReadonlySet<WorkloadUid> = new Set()

/** One endpoint by weight, from the nearest tier that has one; undefined when none is left. */
export function chooseEndpoint(state: MeshState, chooser: Chooser, wanted: Wanted): Endpoint | undefined {
  const { service, port, mode } = wanted
  const { random, tried = nobody, ejected = nobody } = chooser
  // Before anything is computed and kept for it: apps may dial any port.
  if (mode === 'standard' && !service.ports.has(port)) return undefined
  const tiers = state.derive(service.key, choiceName(chooser, wanted), () => new Tiers(chooser, wanted))
  const first = ejected.size === 0 ? undefined : tiers.choose(ejected.union(tried), random)
  return first ?? tiers.choose(tried, random)
}

const isLocal = ({ mode }: LoadBalancer) => mode === 'Strict' || mode === 'Failover'

/** All that `Tiers` reads of who asks. */
function choiceName({ source, network }: Chooser, { service, port, mode }: Wanted): string {
  const name = `${mode}|${port}|${network}`
  if (!isLocal(service.loadBalancer)) return name
  const { region, zone, subzone } = source.locality
  return [name, region, zone, subzone, source.node, source.clusterId, source.network].join('\0')
}

/** The endpoints of a service for callers of one place, by how near they are; kept up to date member by member. */
class Tiers {
  readonly #source: Workload
  readonly #network: string
  readonly #wanted: Wanted
  readonly #tiers = new Map<number, WeightedSet<Endpoint>>()
  readonly #rankOf = new Map<WorkloadUid, number>()
  #nearestFirst: readonly WeightedSet<Endpoint>[] = []

  constructor({ source, network }: Chooser, wanted: Wanted) {
    this.#source = source
    this.#network = network
    this.#wanted = wanted
  }

  choose(without: ReadonlySet<WorkloadUid>, random: () => number): Endpoint | undefined {
    for (const tier of this.#nearestFirst) {
      const endpoint = tier.choose(without, random)
      if (endpoint) return endpoint
    }
    return undefined
  }

  update(uid: WorkloadUid, workload: Workload | undefined): void {
    const before = this.#rankOf.get(uid)
    const { service, port, mode } = this.#wanted
    const target = workload && targetPort(service, workload, port, mode)
    const usable =
      workload && target !== undefined && isUsable(service, workload, this.#network, mode)
        ? rankOf(service.loadBalancer, this.#source, workload)
        : undefined
    if (before !== undefined && before !== usable) this.#drop(uid, before)
    if (usable === undefined || !workload || target === undefined) return
    this.#rankOf.set(uid, usable)
    this.#tier(usable).set(uid, { workload, port: target }, workload.capacity)
  }

  #tier(rank: number): WeightedSet<Endpoint> {
    const known = this.#tiers.get(rank)
    if (known) return known
    const made = new WeightedSet<Endpoint>()
    this.#tiers.set(rank, made)
    this.#sort()
    return made
  }

  #drop(uid: WorkloadUid, rank: number): void {
    this.#rankOf.delete(uid)
    const tier = this.#tiers.get(rank)
    tier?.delete(uid)
    if (tier?.size !== 0) return
    this.#tiers.delete(rank)
    this.#sort()
  }

  #sort(): void {
    this.#nearestFirst = [...this.#tiers].sort(([a], [b]) => b - a).map(([, tier]) => tier)
  }
}

const isUsable = (service: Service, workload: Workload, network: string, mode: Mode): boolean =>
  workload.capacity > 0 &&
  (workload.status === 'Healthy' || service.loadBalancer.healthPolicy === 'AllowAll') &&
  (workload.network === network || mode === 'gateway'
    ? workload.hostname !== '' || workload.addresses.some((address) => isAllowed(service, address))
    : workload.networkGateway !== undefined)

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

/**
 * How near an endpoint is; undefined when it may not be used. STRICT wants every scope to match, FAILOVER counts the
 * leading ones that do. A leading NETWORK weighs more than all others together, and where it does not match the others
 * still count, so that endpoints of other networks are ranked among themselves (ztunnel: state.rs).
 */
function rankOf({ mode, preferences }: LoadBalancer, source: Workload, workload: Workload) {
  if (mode !== 'Strict' && mode !== 'Failover') return 0
  let rank = 0
  for (const [n, scope] of preferences.entries()) {
    const matches = scopeOf[scope](workload) === scopeOf[scope](source)
    if (!matches && mode === 'Strict') return undefined
    const leads = n === 0 && scope === 'Network'
    if (!matches && !leads) break
    if (matches) rank += leads ? preferences.length : 1
  }
  return rank
}

/** The address of an endpoint for a caller who dialled `wanted`: that one, else one of its family, else any. */
export function addressOf(workload: Workload, service: Service | undefined, wanted: Ip): Ip | undefined {
  if (workload.addresses.includes(wanted)) return wanted
  const allowed = service ? workload.addresses.filter((a) => isAllowed(service, a)) : workload.addresses
  return allowed.find((a) => isIpv6(a) === isIpv6(wanted)) ?? allowed[0]
}
