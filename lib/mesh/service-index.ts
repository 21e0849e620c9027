import { type Cidr, type Ip, ipToBytes } from '#base'
import type { Service, ServiceKey } from './mesh.ts'

type View = Readonly<{
  all: readonly Service[]
  own: ReadonlyMap<string, Service>
  common: Service | undefined
}>

/** Services that share a name, an address or a block. Which of them a client means does not depend on who came first. */
class Sharing {
  readonly #services = new Map<ServiceKey, Service>()
  /** Made when somebody asks, so that a push of many sharers is not sorted once for each. */
  #view: View | undefined

  get size(): number {
    return this.#services.size
  }
  add(service: Service): void {
    this.#services.set(service.key, service)
    this.#view = undefined
  }
  drop(service: Service): void {
    this.#services.delete(service.key)
    this.#view = undefined
  }
  /** Canonical ones first, then by name. */
  all(): readonly Service[] {
    return this.#sorted().all
  }
  ownOf(namespace: string): Service | undefined {
    return this.#sorted().own.get(namespace)
  }
  /** What everybody sees. */
  common(): Service | undefined {
    return this.#sorted().common
  }

  #sorted(): View {
    return (this.#view ??= viewOf([...this.#services.values()]))
  }
}

function viewOf(services: Service[]): View {
  services.sort((a, b) => Number(b.canonical) - Number(a.canonical) || (a.key < b.key ? -1 : 1))
  const own = new Map<string, Service>()
  for (const service of services) if (!own.has(service.namespace)) own.set(service.namespace, service)
  return { all: services, own, common: services.find(({ visibility }) => visibility === 'Public') }
}

/** One kind of key → the services that have it. */
export class ServicesByKey {
  readonly #groups = new Map<string, Sharing>()

  add(key: string, service: Service): void {
    const group = this.#groups.get(key) ?? new Sharing()
    this.#groups.set(key, group)
    group.add(service)
  }
  drop(key: string, service: Service): void {
    const group = this.#groups.get(key)
    group?.drop(service)
    if (group?.size === 0) this.#groups.delete(key)
  }
  group(key: string): Sharing | undefined {
    return this.#groups.get(key)
  }
  all(key: string): readonly Service[] {
    return this.#groups.get(key)?.all() ?? []
  }
  /** Visible, then of the client's namespace, then canonical (ztunnel: state/service.rs). */
  best(key: string, namespace: string): Service | undefined {
    const group = this.#groups.get(key)
    return group?.ownOf(namespace) ?? group?.common()
  }
}

/** The start of an address as a key; blocks of one length and family that cover it have the same. */
function startOf(bytes: Uint8Array, length: number): string {
  const start = Buffer.from(bytes.subarray(0, (length + 7) >> 3))
  const rest = length & 7
  if (rest !== 0) start[start.length - 1] = (start.at(-1) ?? 0) & (0xff << (8 - rest))
  return start.toString('latin1')
}

/** Lengths in use with the number of blocks, by network and family: at most 33 and 129 of them. */
type Lengths = { readonly counts: Map<number, number>; longestFirst: readonly number[] }

/** Blocks of addresses → services: a look-up per length that is in use, however many blocks there are. */
export class ServicesByBlock {
  readonly #blocks = new ServicesByKey()
  readonly #lengths = new Map<string, Lengths>()

  add(network: string, cidr: Cidr, service: Service): void {
    this.#blocks.add(blockKey(network, cidr.bytes, cidr.length), service)
    this.#count(network, cidr, 1)
  }
  drop(network: string, cidr: Cidr, service: Service): void {
    this.#blocks.drop(blockKey(network, cidr.bytes, cidr.length), service)
    this.#count(network, cidr, -1)
  }

  /** Of the client's namespace before the longest, the longest before the canonical (ztunnel: state/service.rs). */
  best(network: string, address: Ip, namespace: string): Service | undefined {
    if (this.#lengths.size === 0) return undefined
    const bytes = ipToBytes(address)
    const lengths = this.#lengths.get(familyKey(network, bytes))
    let common: Service | undefined
    for (const length of lengths?.longestFirst ?? []) {
      const group = this.#blocks.group(blockKey(network, bytes, length))
      const own = group?.ownOf(namespace)
      if (own) return own
      common ??= group?.common()
    }
    return common
  }

  #count(network: string, { bytes, length }: Cidr, change: 1 | -1): void {
    const key = familyKey(network, bytes)
    const entry: Lengths = this.#lengths.get(key) ?? { counts: new Map(), longestFirst: [] }
    this.#lengths.set(key, entry)
    const count = (entry.counts.get(length) ?? 0) + change
    if (count === 0) entry.counts.delete(length)
    else entry.counts.set(length, count)
    if (entry.counts.size !== entry.longestFirst.length)
      entry.longestFirst = [...entry.counts.keys()].sort((a, b) => b - a)
    if (entry.counts.size === 0) this.#lengths.delete(key)
  }
}

const familyKey = (network: string, bytes: Uint8Array) => `${bytes.length}/${network}`
const blockKey = (network: string, bytes: Uint8Array, length: number) =>
  `${bytes.length}/${length}/${network}/${startOf(bytes, length)}`
