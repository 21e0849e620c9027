import type { MeshState, Service, ServiceKey } from '#mesh'
import type { Destination, DestinationPolicy } from '#routes'
import { Cluster, type ClusterParts } from './cluster.ts'
import { defaultPolicy } from './default-policy.ts'

/** Destinations that are kept: those of the services that requests really went to. The oldest gives way. */
const maxClusters = 4_096

/** The destinations that this waypoint has used, kept up to date by the mesh. */
export class Clusters {
  readonly #state: MeshState
  readonly #parts: ClusterParts
  readonly #clusters = new Map<string, Cluster>()

  constructor(state: MeshState, parts: ClusterParts) {
    this.#state = state
    this.#parts = parts
  }

  /** The endpoints of a destination; undefined when its service is not known. */
  of(destination: Destination, policy?: DestinationPolicy): Cluster | undefined {
    const service = this.#state.service(destination.service as ServiceKey)
    if (!service) return undefined
    const name = `cluster|${destination.port}|${destination.subset ?? ''}`
    const key = `${destination.service}|${name}`
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
