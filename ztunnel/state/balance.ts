import {
  isAllowed,
  type LoadBalancer,
  type MeshState,
  type Mode,
  type Scope,
  type Service,
  targetPort,
  type Workload,
  type WorkloadUid,
} from '#mesh'
import { WeightedSet } from './weighted.ts'

/** A workload of a service with the port on which it serves the service's port. */
export type Endpoint = Readonly<{ workload: Workload; port: number }>

/** Who asks, and what has failed. */
type Chooser = Readonly<{
  source: Workload
  network: string
  random: () => number
  /** Not again. */
  tried?: ReadonlySet<WorkloadUid>
  /** Only if there is nobody else. */
  ejected?: ReadonlySet<WorkloadUid>
}>
type Wanted = Readonly<{ service: Service; port: number; mode: Mode }>

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
