import { type Ip, isIpv6 } from '#base'
import type { MeshState, Service, Workload, WorkloadUid } from '../state/index.ts'
import { aliasesOf, type Place, wildcardsOf } from './aliases.ts'

/** Who asks, and what is configured. */
export type Client = Place &
  Readonly<{
    /** VIPs of this network are answered with. */
    network: string
    /** False: nobody gets an IPv6 address (IPV6_ENABLED). */
    ipv6: boolean
    /** Wins where several namespaces have a host and the client's own does not. */
    preferredNamespace: string | undefined
    /** In [0, 1): the order of the addresses. */
    random: () => number
  }>

/** What a name and a type of address are answered with, and why. */
export type Answer =
  | Readonly<{
      kind: 'addresses'
      addresses: readonly Ip[]
      /** The name that the asked one is completed from. */
      cname: string | undefined
      service: Service
      reason: 'vip' | 'headless'
    }>
  /** The name exists and has no such address; never "no such name". */
  | Readonly<{
      kind: 'no-data'
      service: Service
      reason: 'ip-families' | 'ipv6-disabled' | 'no-address'
    }>
  /** Not ours to answer. `exists`: the mesh knows the name, so that it cannot be "no such name". */
  | Readonly<{ kind: 'forward'; reason: 'not-in-mesh' | 'record-type' | 'no-endpoints'; exists: boolean }>

export type AddressFamily = 'ipv4' | 'ipv6'

/** Addresses of one headless service in one answer; more does not fit the 64 KiB of a message anyway. */
const maxHeadlessAddresses = 2_000

/** `family` undefined stands for every type of record that is not an address. */
export function answer(
  state: MeshState,
  name: string,
  family: AddressFamily | undefined,
  client: Client,
): Answer {
  const found = findService(state, name, client)
  if (!family)
    return {
      kind: 'forward',
      reason: 'record-type',
      exists: found !== undefined && found.cname === undefined,
    }
  if (!found) return { kind: 'forward', reason: 'not-in-mesh', exists: false }
  const { service, cname } = found
  const no = (reason: 'ip-families' | 'ipv6-disabled' | 'no-address'): Answer => ({
    kind: 'no-data',
    service,
    reason,
  })
  if (family === 'ipv6' && !client.ipv6) return no('ipv6-disabled')
  const { ipFamilies } = service
  if (ipFamilies === (family === 'ipv6' ? 'IPv4' : 'IPv6')) return no('ip-families')
  const headless = isHeadless(service)
  // Endpoints that we have not heard of yet; whoever else knows the name may have.
  if (headless && endpointsOf(state, service).isEmpty)
    return { kind: 'forward', reason: 'no-endpoints', exists: cname === undefined }
  const addresses = headless
    ? endpointsOf(state, service).list(family)
    : vipsOf(service, family, client.network)
  if (addresses.length === 0) return no('no-address')
  return {
    kind: 'addresses',
    addresses: shuffled(addresses, client.random),
    cname,
    service,
    reason: headless ? 'headless' : 'vip',
  }
}

/** The service that a name means for this client, exact names before wildcards; `cname` as of its alias. */
function findService(
  state: MeshState,
  name: string,
  client: Client,
): { service: Service; cname: string | undefined } | undefined {
  for (const alias of aliasesOf(name, client)) {
    const exact = bestOf(state.servicesNamed(alias.name), client)
    if (exact) return { service: exact, cname: alias.cname }
    for (const wildcard of wildcardsOf(alias.name)) {
      const service = bestOf(state.servicesNamed(wildcard), client)
      // No alias record: what is asked for is covered by the wildcard in every form.
      if (service) return { service, cname: undefined }
    }
  }
  return undefined
}

/** Of those that the client may see and that can be answered: its own namespace, the canonical, the preferred, any. */
function bestOf(services: readonly Service[], client: Client): Service | undefined {
  if (services.length === 0) return undefined
  const { namespace, preferredNamespace, domain } = client
  const usable = services.filter(
    (service) =>
      (service.visibility === 'Public' || service.namespace === namespace) &&
      (!isHeadless(service) || service.hostname.endsWith(`.svc.${domain}`)),
  )
  return (
    usable.find((service) => service.namespace === namespace) ??
    usable.find(({ canonical }) => canonical) ??
    usable.find((service) => service.namespace === preferredNamespace) ??
    usable[0]
  )
}

/** Only single addresses count: nobody can be told to dial a block. */
const isHeadless = ({ vips }: Service): boolean => vips.length === 0

const ofFamily = (family: AddressFamily) => (address: Ip) => isIpv6(address) === (family === 'ipv6')

const vipsOf = ({ vips }: Service, family: AddressFamily, network: string): readonly Ip[] =>
  vips
    .filter((vip) => vip.network === network)
    .map(({ address }) => address)
    .filter(ofFamily(family))

/** One address of each family of every endpoint that may be dialled, of whatever network (ztunnel: no filter there). */
class Endpoints {
  readonly #allowsAll: boolean
  readonly #addresses = { ipv4: new Map<WorkloadUid, Ip>(), ipv6: new Map<WorkloadUid, Ip>() }

  constructor({ loadBalancer }: Service, members: ReadonlyMap<WorkloadUid, Workload>) {
    this.#allowsAll = loadBalancer.healthPolicy === 'AllowAll'
    for (const [uid, workload] of members) this.update(uid, workload)
  }

  update(uid: WorkloadUid, workload: Workload | undefined): void {
    const usable = workload && (workload.status === 'Healthy' || this.#allowsAll) ? workload.addresses : []
    for (const family of ['ipv4', 'ipv6'] as const) {
      const address = usable.find(ofFamily(family))
      if (address === undefined) this.#addresses[family].delete(uid)
      else this.#addresses[family].set(uid, address)
    }
  }

  get isEmpty(): boolean {
    return this.#addresses.ipv4.size + this.#addresses.ipv6.size === 0
  }

  list(family: AddressFamily): readonly Ip[] {
    return [...this.#addresses[family].values()]
  }
}

const endpointsOf = (state: MeshState, service: Service): Endpoints =>
  state.derive(service.key, 'dns', () => new Endpoints(service, state.membersOf(service.key)))

/** Another order each time, for clients that take the first; of very many, some. */
function shuffled(addresses: readonly Ip[], random: () => number): readonly Ip[] {
  const all = [...addresses]
  const most = Math.min(all.length, maxHeadlessAddresses)
  for (let i = 0; i < most; i++) {
    const j = i + Math.floor(random() * (all.length - i))
    const other = all[j]
    const own = all[i]
    if (other === undefined || own === undefined) break
    all[i] = other
    all[j] = own
  }
  return all.slice(0, most)
}
