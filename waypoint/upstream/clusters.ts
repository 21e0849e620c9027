import type { MeshState, Service, ServiceKey } from '#mesh'
import type { Destination, DestinationPolicy } from '#routes'
import { Cluster, type ClusterParts } from './cluster.ts'
import { defaultPolicy } from './default-policy.ts'

/** Destinations that are kept: those of the services that requests really went to. The oldest gives way. */
const maxClusters = 4_096

/** Of one destination: among those of its service, and among all. */
type Names = Readonly<{ name: string; key: string }>

/** The destinations that this waypoint has used, kept up to date by the mesh. */
export class Clusters {
  readonly #state: MeshState
  readonly #parts: ClusterParts
  readonly #clusters = new Map<string, Cluster>()
  /** A rule's destination is asked for with each of its requests. */
  readonly #names = new WeakMap<Destination, Names>()

  constructor(state: MeshState, parts: ClusterParts) {
    this.#state = state
    this.#parts = parts
  }

  /** The endpoints of a destination; undefined when its service is not known. */
  of(destination: Destination, policy?: DestinationPolicy): Cluster | undefined {
    const service = this.#state.service(destination.service as ServiceKey)
    if (!service) return undefined
    const { name, key } = this.#namesOf(destination)
    const known = this.#clusters.get(key)
    const cluster = known ?? this.#create(key, service, destination, policy)
    if (known && policy) known.obey(policy)
    // Made anew whenever the service changes; in between members come and go one by one.
    let isNew = known === undefined
    this.#state.derive(service.key, name, () => {
      isNew = true
      return { update: (uid, workload) => this.#clusters.get(key)?.update(uid, workload) }
    })
    if (isNew) cluster.reset(service, this.#state.membersOf(service.key).values())
    return cluster
  }

  #namesOf(destination: Destination): Names {
    const known = this.#names.get(destination)
    if (known) return known
    const name = `cluster|${destination.port}|${destination.subset ?? ''}`
    const names = { name, key: `${destination.service}|${name}` }
    this.#names.set(destination, names)
    return names
  }

  all(): Iterable<Cluster> {
    return this.#clusters.values()
  }

  #create(
    key: string,
    service: Service,
    { service: name, port }: Destination,
    policy?: DestinationPolicy,
  ): Cluster {
    const made = new Cluster(service, policy ?? defaultPolicy(name, port), this.#parts)
    this.#clusters.set(key, made)
    this.#trim()
    return made
  }

  #trim(): void {
    const [oldest] = this.#clusters.size > maxClusters ? this.#clusters.keys() : []
    if (oldest !== undefined) this.#clusters.delete(oldest)
  }
}
