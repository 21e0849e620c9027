import { ipFromBytes } from '#base'
import {
  type Collection,
  derive,
  deriveMany,
  type Fetch,
  type Index,
  type Service,
  type Traceable,
} from '#kube'
import type { Logger } from '#telemetry'
import { type Inputs, isSubset, nameOf, namespaceOf } from './inputs.ts'
import type { OurObjects } from './our-objects.ts'
import { isForWaypoint, readServiceEntry, type ServiceEntry } from './service-entry.ts'
import { clusterIpsOf } from './services.ts'
import type { EntryVisibility, Settings } from './settings.ts'
import { entryVisibilities, liveOf, narrower } from './visibility.ts'

/** One host of a ServiceEntry: it is served if nobody else has a better right to the host in that namespace. */
export type Claim = Readonly<{
  host: string
  entry: ServiceEntry
  visibility: Exclude<EntryVisibility, 'nobody'>
}>

export type Entries = Readonly<{
  /** All of them, also those that are not ours: the addresses that they have are taken. */
  entries: Collection<ServiceEntry>
  claims: Collection<Claim>
  /** These and what is between; for those who look into a running controller. */
  steps: readonly Traceable[]
  /** By `namespace/host`, the xDS name of a service. */
  bySlot: Index<Claim>
  byHost: Index<Claim>
  /** Who sees it, as the mesh and the entry say. */
  visibilityOf: (entry: ServiceEntry, fetch: Fetch) => EntryVisibility
  /** By the addresses that Kubernetes has given them. */
  servicesByAddress: Index<Service>
  /** By namespace, those with a workloadSelector. */
  selecting: Index<ServiceEntry>
}>

export const slotOf = ({ host, entry: { namespace } }: Claim): string => `${namespace}/${host}`

/** The ServiceEntries, and what they lay claim to. */
export function entriesFrom(inputs: Inputs, ours: OurObjects, log?: Logger): Entries {
  const options = log === undefined ? {} : { log }
  const visibilities = entryVisibilities(inputs)
  const isOurs = (entry: ServiceEntry, fetch: Fetch) =>
    fetch.one(ours.serviceEntries, entry.key) !== undefined
  const entries = derive('ServiceEntries', inputs.serviceEntries, readServiceEntry, options)
  const visibilityOf = ({ namespace, exportTo }: ServiceEntry, fetch: Fetch) =>
    narrower(fetch.one(visibilities, namespace) ?? 'everybody', exportTo ?? liveOf(fetch, inputs).exportTo)
  const claims = deriveMany(
    'Claims',
    entries,
    (entry, fetch) => {
      if (!isOurs(entry, fetch)) return []
      const visibility = visibilityOf(entry, fetch)
      return visibility === 'nobody' ? [] : entry.hosts.map((host) => ({ host, entry, visibility }))
    },
    { ...options, keyOf: ({ host, entry }) => `${entry.key}/${host}` },
  )
  return {
    entries,
    claims,
    steps: [entries, visibilities, claims],
    visibilityOf,
    bySlot: claims.indexBy((claim) => [slotOf(claim)]),
    byHost: claims.indexBy(({ host }) => [host]),
    servicesByAddress: inputs.services.indexBy(clusterIpsOf),
    selecting: entries.indexBy(({ namespace, selector }) => (selector ? [namespace] : [])),
  }
}

/** Everything that the questions below read. */
export type EntryContext = Readonly<{ inputs: Inputs; settings: Settings; entries: Entries }>

/** Of equal claims the oldest counts; by name among those made at once. */
export const isOlder = (a: ServiceEntry, b: ServiceEntry): boolean =>
  a.created === b.created ? a.key < b.key : a.created < b.created
const oldestOf = (claims: readonly Claim[]): Claim | undefined =>
  claims.reduce<Claim | undefined>(
    (best, claim) => (best && isOlder(best.entry, claim.entry) ? best : claim),
    undefined,
  )

/** The Kubernetes Service that has this host name by right. */
function kubernetesService(
  host: string,
  fetch: Fetch,
  { inputs, settings }: EntryContext,
): Service | undefined {
  const suffix = `.svc.${settings.domain}`
  const [name = '', namespace = '', ...rest] = host.endsWith(suffix)
    ? host.slice(0, -suffix.length).split('.')
    : []
  if (namespace === '' || rest.length > 0) return undefined
  const service = fetch.one(inputs.services, `${namespace}/${name}`)
  return service?.spec?.type === 'ExternalName' ? undefined : service
}

/** Who has a host instead. */
export type Rival = Readonly<{ kind: 'Service' | 'ServiceEntry'; key: string }>

/** Who has a better right: a Kubernetes Service of the namespace beats all ServiceEntries, an older one the younger. */
export function rivalOf(claim: Claim, fetch: Fetch, context: EntryContext): Rival | undefined {
  const { namespace, key } = claim.entry
  const service = kubernetesService(claim.host, fetch, context)
  if (service !== undefined && namespaceOf(service) === namespace)
    return { kind: 'Service', key: `${namespace}/${nameOf(service)}` }
  const oldest = oldestOf(fetch.by(context.entries.bySlot, slotOf(claim)))
  return oldest === undefined || oldest.entry.key === key
    ? undefined
    : { kind: 'ServiceEntry', key: oldest.entry.key }
}

/** Does this claim hold? */
export const holds = (claim: Claim, fetch: Fetch, context: EntryContext): boolean =>
  rivalOf(claim, fetch, context) === undefined

/**
 * Is it the one that other namespaces mean by this host, and by its addresses? An entry that has put down the address of
 * another namespace's Service would have that Service's traffic by its name alone (Istio leaves that to chance).
 */
export function isCanonical(claim: Claim, fetch: Fetch, context: EntryContext): boolean {
  if (claim.visibility === 'namespace' || kubernetesService(claim.host, fetch, context) !== undefined)
    return false
  if (hasOthersAddress(claim, fetch, context)) return false
  const open = fetch
    .by(context.entries.byHost, claim.host)
    .filter(({ visibility }) => visibility === 'everybody')
  return oldestOf(open)?.entry.key === claim.entry.key
}

/** The claims of an entry that hold, and have endpoints; what a waypoint resolves has none. */
export const heldClaims = (entry: ServiceEntry, fetch: Fetch, context: EntryContext): readonly Claim[] =>
  isForWaypoint(entry) ? [] : allHeldClaims(entry, fetch, context)

/** The same, also of hosts that are for a waypoint to resolve. */
export const allHeldClaims = (entry: ServiceEntry, fetch: Fetch, context: EntryContext): readonly Claim[] =>
  entry.hosts
    .map((host) => fetch.one(context.entries.claims, `${entry.key}/${host}`))
    .filter((claim) => claim !== undefined)
    .filter((claim) => holds(claim, fetch, context))

const hasOthersAddress = ({ entry }: Claim, fetch: Fetch, { entries }: EntryContext): boolean =>
  [
    ...entry.addresses.map(({ bytes }) => ipFromBytes(bytes)),
    ...entry.vips.map(({ address }) => address),
  ].some(
    (address) =>
      address !== undefined &&
      fetch
        .by(entries.servicesByAddress, address)
        .some((service) => namespaceOf(service) !== entry.namespace),
  )

/** Of the entries of a namespace those that select these labels; an empty selector selects nobody. */
export const selectingEntries = (
  namespace: string,
  labels: Readonly<Record<string, string>> | undefined,
  fetch: Fetch,
  { entries }: EntryContext,
): readonly ServiceEntry[] =>
  fetch
    .by(entries.selecting, namespace)
    .filter(({ selector = {} }) => Object.keys(selector).length > 0 && isSubset(selector, labels))
