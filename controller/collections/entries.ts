import {
  type Collection,
  type Condition,
  derive,
  deriveMany,
  type Fetch,
  type Index,
  type Service,
} from '#kube'
import type { Logger } from '#telemetry'
import { type Inputs, isSubset } from './inputs.ts'
import { readServiceEntry, type ServiceEntry } from './service-entry.ts'
import type { EntryVisibility, Settings } from './settings.ts'
import { entryVisibilities, narrower } from './visibility.ts'

/** One host of a ServiceEntry: it is served if nobody else has a better right to the host in that namespace. */
export type Claim = Readonly<{
  host: string
  entry: ServiceEntry
  visibility: Exclude<EntryVisibility, 'nobody'>
}>

export type Entries = Readonly<{
  entries: Collection<ServiceEntry>
  claims: Collection<Claim>
  /** By `namespace/host`, the xDS name of a service. */
  bySlot: Index<Claim>
  byHost: Index<Claim>
  /** By entry, what its status says of who sees it. */
  conditions: Collection<readonly Condition[]>
  /** By namespace, those with a workloadSelector. */
  selecting: Index<ServiceEntry>
}>

export const slotOf = ({ host, entry: { namespace } }: Claim): string => `${namespace}/${host}`

/** The ServiceEntries, and what they lay claim to. */
export function entriesFrom(inputs: Inputs, hidden: Collection<true>, log?: Logger): Entries {
  const options = log === undefined ? {} : { log }
  const visibilities = entryVisibilities(inputs)
  const entries = derive('ServiceEntries', inputs.serviceEntries, readServiceEntry, options)
  const visibilityOf = ({ namespace, exportTo }: ServiceEntry, fetch: Fetch) =>
    narrower(fetch.one(visibilities, namespace) ?? 'everybody', exportTo)
  const conditions = derive(
    'EntryConditions',
    entries,
    (entry, fetch): readonly Condition[] | undefined =>
      fetch.one(hidden, entry.namespace) === undefined
        ? [visibilityCondition(visibilityOf(entry, fetch))]
        : undefined,
    options,
  )
  const claims = deriveMany(
    'Claims',
    entries,
    (entry, fetch) => {
      if (fetch.one(hidden, entry.namespace) !== undefined) return []
      const visibility = visibilityOf(entry, fetch)
      return visibility === 'nobody' ? [] : entry.hosts.map((host) => ({ host, entry, visibility }))
    },
    { ...options, keyOf: ({ host, entry }) => `${entry.key}/${host}` },
  )
  return {
    entries,
    claims,
    conditions,
    bySlot: claims.indexBy((claim) => [slotOf(claim)]),
    byHost: claims.indexBy(({ host }) => [host]),
    selecting: entries.indexBy(({ namespace, selector }) => (selector ? [namespace] : [])),
  }
}

const seenBy: Readonly<Record<EntryVisibility, Pick<Condition, 'status' | 'reason' | 'message'>>> = {
  everybody: { status: 'True', reason: 'Public', message: 'seen by all namespaces' },
  namespace: { status: 'True', reason: 'Namespace', message: 'seen by its own namespace only' },
  nobody: {
    status: 'False',
    reason: 'None',
    message: 'seen by nobody: exportTo or serviceEntryVisibility of the mesh says so',
  },
}
const visibilityCondition = (visibility: EntryVisibility): Condition => ({
  type: 'istio.io/VisibilityApplied',
  ...seenBy[visibility],
})

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

/** Does this claim hold? A Kubernetes Service of the namespace beats all ServiceEntries, an older one the younger. */
export function holds(claim: Claim, fetch: Fetch, context: EntryContext): boolean {
  const service = kubernetesService(claim.host, fetch, context)
  if (service !== undefined && service.metadata.namespace === claim.entry.namespace) return false
  return oldestOf(fetch.by(context.entries.bySlot, slotOf(claim)))?.entry.key === claim.entry.key
}

/** Is it the one that other namespaces mean by this host? */
export function isCanonical(claim: Claim, fetch: Fetch, context: EntryContext): boolean {
  if (claim.visibility === 'namespace' || kubernetesService(claim.host, fetch, context) !== undefined)
    return false
  const open = fetch
    .by(context.entries.byHost, claim.host)
    .filter(({ visibility }) => visibility === 'everybody')
  return oldestOf(open)?.entry.key === claim.entry.key
}

/** The claims of an entry that hold. */
export const heldClaims = (entry: ServiceEntry, fetch: Fetch, context: EntryContext): readonly Claim[] =>
  entry.hosts
    .map((host) => fetch.one(context.entries.claims, `${entry.key}/${host}`))
    .filter((claim) => claim !== undefined)
    .filter((claim) => holds(claim, fetch, context))

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
