import type { Ip } from '#base'
import type { SpiffeId } from '#identity'
import { type Authorization, noPolicies, type Policies, type PolicyName, updatePolicies } from '#policy'
import type { PodName, Service, ServiceKey, Workload, WorkloadUid } from './mesh.ts'
import { ServicesByBlock, ServicesByKey } from './service-index.ts'

/** What one response changed; listeners are called after the state is complete. */
export type Change = Readonly<{
  policies: boolean
  /** Before and after of the workloads of this node; the same uid is in both when it was replaced. */
  removed: readonly Workload[]
  added: readonly Workload[]
}>

export type Update = Readonly<{
  workloads?: readonly Workload[]
  services?: readonly Service[]
  /** Names of removed resources: workload uids or service keys. */
  removed?: readonly string[]
}>

/** Something computed from the members of a service. */
export type Derived = { update(uid: WorkloadUid, workload: Workload | undefined): void }

const at = (network: string, address: Ip) => `${network}/${address}`
const podKey = ({ namespace, name, serviceAccount }: PodName) => `${namespace}/${name}/${serviceAccount}`

/** Pods before what else has their address, meshed before plain (ztunnel: state/workload.rs), then by name. */
const rank = (w: Workload) => (w.uid.includes('//Pod/') ? 2 : 0) + (w.protocol === 'HBONE' ? 1 : 0)
const byRank = (a: Workload, b: Workload) => rank(b) - rank(a) || (a.uid < b.uid ? -1 : 1)

/** The mesh as last pushed. Rows are replaced, never edited, so a row that was read stays true to its moment. */
export class MeshState {
  readonly #nodeName: string
  readonly #workloads = new Map<WorkloadUid, Workload>()
  /** By network and address: a request asks with what it has, and no key has to be put together for it. */
  readonly #byAddress = new Map<string, Map<Ip, Workload[]>>()
  readonly #local = new Map<string, Workload[]>()
  readonly #services = new Map<ServiceKey, Service>()
  readonly #byVip = new ServicesByKey()
  readonly #byHostname = new ServicesByKey()
  readonly #byBlock = new ServicesByBlock()
  readonly #members = new Map<ServiceKey, Map<WorkloadUid, Workload>>()
  readonly #derived = new Map<ServiceKey, Map<string, Derived>>()
  readonly #listeners = new Set<(change: Change) => void>()
  #policies: Policies = noPolicies

  constructor(nodeName: string) {
    this.#nodeName = nodeName
  }

  get policies(): Policies {
    return this.#policies
  }
  workloads(): Iterable<Workload> {
    return this.#workloads.values()
  }
  services(): Iterable<Service> {
    return this.#services.values()
  }
  service(key: ServiceKey): Service | undefined {
    return this.#services.get(key)
  }
  /** Every workload that says it belongs to the service, healthy or not, also before the service is known. */
  membersOf(key: ServiceKey): ReadonlyMap<WorkloadUid, Workload> {
    return this.#members.get(key) ?? new Map()
  }
  workloadAt(network: string, address: Ip): Workload | undefined {
    return this.#byAddress.get(network)?.get(address)?.[0]
  }
  localWorkload(pod: PodName): Workload | undefined {
    return this.#local.get(podKey(pod))?.[0]
  }

  /** Does any workload of this node still have the identity? */
  hasLocalIdentity(id: SpiffeId): boolean {
    return [...this.#local.values()].some((workloads) => workloads.some(({ identity }) => identity === id))
  }

  /** The service behind a VIP for a client; an exact address that it may see before blocks. */
  serviceAt(network: string, address: Ip, clientNamespace: string): Service | undefined {
    return (
      this.#byVip.best(at(network, address), clientNamespace) ??
      this.#byBlock.best(network, address, clientNamespace)
    )
  }
  /** Every service of that hostname, whoever may see it; canonical ones first, then by name. */
  servicesNamed(hostname: string): readonly Service[] {
    return this.#byHostname.all(hostname.toLowerCase())
  }
  serviceByHostname(hostname: string, clientNamespace: string): Service | undefined {
    return this.#byHostname.best(hostname.toLowerCase(), clientNamespace)
  }

  /** What is computed from a service and its members: kept until the service changes, told of members that change. */
  derive<T extends Derived>(key: ServiceKey, name: string, create: () => T): T {
    let values = this.#derived.get(key)
    if (!values || values.size > maxDerived) this.#derived.set(key, (values = new Map()))
    const known = values.get(name)
    if (known) return known as T // nobody else uses the name
    const made = create()
    for (const [uid, workload] of this.membersOf(key)) made.update(uid, workload)
    values.set(name, made)
    return made
  }

  apply({ workloads = [], services = [], removed = [] }: Update): void {
    const before: Workload[] = []
    const after: Workload[] = []
    for (const name of removed) {
      if (this.#workloads.has(name as WorkloadUid)) before.push(...this.#dropWorkload(name as WorkloadUid))
      else this.#dropService(name as ServiceKey)
    }
    for (const workload of workloads) {
      before.push(...this.#dropWorkload(workload.uid, workload))
      this.#addWorkload(workload)
      if (workload.node === this.#nodeName) after.push(workload)
    }
    for (const service of services) {
      this.#dropService(service.key)
      this.#addService(service)
    }
    this.#notify({ policies: false, removed: before, added: after })
  }

  applyPolicies(upserts: readonly Authorization[], removed: readonly PolicyName[]): void {
    this.#policies = updatePolicies(this.#policies, upserts, removed)
    this.#notify({ policies: true, removed: [], added: [] })
  }

  onChange(listener: (change: Change) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #notify(change: Change): void {
    for (const listener of this.#listeners) listener(change)
  }

  #addWorkload(workload: Workload): void {
    this.#workloads.set(workload.uid, workload)
    // A node's address is shared by its host-network pods and belongs to none of them.
    if (workload.networkMode === 'Standard') {
      const there = this.#byAddress.get(workload.network) ?? new Map<Ip, Workload[]>()
      for (const address of workload.addresses) push(there, address, workload)
      this.#byAddress.set(workload.network, there)
    }
    if (workload.node === this.#nodeName) push(this.#local, podKey(workload), workload)
    for (const key of workload.services.keys()) {
      const members = this.#members.get(key) ?? new Map<WorkloadUid, Workload>()
      this.#members.set(key, members.set(workload.uid, workload))
      this.#tell(key, workload.uid, workload)
    }
  }

  /** Returns what it dropped if that was on this node. Members that are only replaced are not told of as gone. */
  #dropWorkload(uid: WorkloadUid, replacement?: Workload): Workload[] {
    const workload = this.#workloads.get(uid)
    if (!workload) return []
    this.#workloads.delete(uid)
    const there = this.#byAddress.get(workload.network)
    for (const address of workload.addresses) if (there) pull(there, address, workload)
    if (there?.size === 0) this.#byAddress.delete(workload.network)
    for (const key of workload.services.keys()) {
      const members = this.#members.get(key)
      members?.delete(uid)
      if (members?.size === 0) this.#members.delete(key)
      if (replacement?.services.has(key) !== true) this.#tell(key, uid, undefined)
    }
    if (workload.node !== this.#nodeName) return []
    pull(this.#local, podKey(workload), workload)
    return [workload]
  }

  #tell(key: ServiceKey, uid: WorkloadUid, workload: Workload | undefined): void {
    for (const value of this.#derived.get(key)?.values() ?? []) value.update(uid, workload)
  }

  #addService(service: Service): void {
    this.#services.set(service.key, service)
    for (const { network, address } of service.vips) this.#byVip.add(at(network, address), service)
    for (const { network, cidr } of service.cidrVips) this.#byBlock.add(network, cidr, service)
    this.#byHostname.add(service.hostname.toLowerCase(), service)
    this.#derived.delete(service.key)
  }

  #dropService(key: ServiceKey): void {
    const service = this.#services.get(key)
    if (!service) return
    this.#services.delete(key)
    for (const { network, address } of service.vips) this.#byVip.drop(at(network, address), service)
    for (const { network, cidr } of service.cidrVips) this.#byBlock.drop(network, cidr, service)
    this.#byHostname.drop(service.hostname.toLowerCase(), service)
    this.#derived.delete(key)
  }
}

/** Derived values kept per service: one per port and source locality, so a handful; more means misuse by a peer. */
const maxDerived = 64

function push<K>(index: Map<K, Workload[]>, key: K, workload: Workload): void {
  const others = index.get(key)?.filter((other) => other !== workload) ?? []
  index.set(key, others.length === 0 ? [workload] : [...others, workload].sort(byRank))
}

function pull<K>(index: Map<K, Workload[]>, key: K, workload: Workload): void {
  const left = (index.get(key) ?? []).filter((other) => other !== workload)
  if (left.length === 0) index.delete(key)
  else index.set(key, left)
}
