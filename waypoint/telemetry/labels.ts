import type { Party, Service, Workload } from '#mesh'

/** What the labels of a connection or a request are made of. */
export type LabelFacts = Readonly<{
  source: Workload | Party | undefined
  sourceId: string | undefined
  destination: Workload | Party | undefined
  destinationId: string | undefined
  service: Service | undefined
  protocol: 'http' | 'grpc' | 'tcp'
}>

export type Labels = Readonly<Record<string, string>>

/** Of both kinds of series (facts: l7.md §4.2). */
export const commonLabels = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const

const maxValue = 253
const known = (value: string | undefined, otherwise = 'unknown') =>
  value === undefined || value === '' ? otherwise : value.slice(0, maxValue)

const separator = '\u0000'
const keys = new WeakMap<Party, string>()

/** One end as one string; made once per record, since rows of the mesh are replaced rather than changed. */
function endKey(party: Party | undefined): string {
  if (party === undefined) return ''
  const made = keys.get(party)
  if (made !== undefined) return made
  const { workloadName, canonicalName, canonicalRevision, namespace, clusterId } = party
  const key = [workloadName, canonicalName, canonicalRevision, namespace, clusterId].join(separator)
  keys.set(party, key)
  return key
}

/** The same for two connections exactly when their labels are. */
export function labelKey(f: LabelFacts): string {
  const between = keysBetween(f.source ?? nobody, f.destination ?? nobody)
  for (const known of between.kept) if (isSame(known, f)) return known.key
  const { sourceId, destinationId, service, protocol } = f
  const key = newKey(f)
  between.kept[between.next] = { sourceId, destinationId, service, protocol, key }
  between.next = (between.next + 1) % maxBetween
  return key
}

function newKey(f: LabelFacts): string {
  const ends = `${endKey(f.source)}|${f.sourceId ?? ''}|${endKey(f.destination)}|${f.destinationId ?? ''}`
  return `${ends}|${f.service?.key ?? ''}|${f.service?.name ?? ''}|${f.protocol}`
}

type Way = Pick<LabelFacts, 'sourceId' | 'destinationId' | 'service' | 'protocol'>
/** The keys last made for one pair of ends, by what else makes a difference. */
type Between = { readonly kept: (Way & Readonly<{ key: string }>)[]; next: number }

/** Another way to call the same workload is another service, or gRPC: mostly there are one or two. */
const maxBetween = 4
/** Pairs remembered, some 300 bytes each. Beyond it all are forgotten and made anew as they come. */
const maxPairs = 16_384

const nobody = {}
/** By the very records of the mesh: one that changes is replaced, so an old name is not found under the new one. */
let pairs = new WeakMap<object, WeakMap<object, Between>>()
let pairCount = 0

function keysBetween(source: object, destination: object): Between {
  const known = pairs.get(source)?.get(destination)
  if (known) return known
  if (pairCount === maxPairs) {
    pairs = new WeakMap()
    pairCount = 0
  }
  pairCount++
  const made: Between = { kept: [], next: 0 }
  const ofSource = pairs.get(source) ?? new WeakMap<object, Between>()
  pairs.set(source, ofSource.set(destination, made))
  return made
}

const isSame = (a: Way, b: Way) =>
  a.service === b.service &&
  a.protocol === b.protocol &&
  a.sourceId === b.sourceId &&
  a.destinationId === b.destinationId

/** All but the flags. Who is named by a certificate is in its namespace, whatever the address says. */
export function labelsOf(f: LabelFacts): Labels {
  const { source, destination, service } = f
  return {
    reporter: 'waypoint',
    source_workload: known(source?.workloadName),
    source_canonical_service: known(source?.canonicalName),
    source_canonical_revision: known(source?.canonicalRevision, 'latest'),
    source_workload_namespace: known(namespaceOf(f.sourceId) ?? source?.namespace),
    source_principal: known(f.sourceId),
    source_app: known(source?.canonicalName),
    source_version: known(source?.canonicalRevision),
    source_cluster: known(source?.clusterId),
    destination_workload: known(destination?.workloadName),
    destination_workload_namespace: known(destination?.namespace ?? service?.namespace),
    destination_principal: known(f.destinationId),
    destination_app: known(destination?.canonicalName),
    destination_version: known(destination?.canonicalRevision),
    destination_service: known(service?.hostname),
    destination_canonical_service: known(destination?.canonicalName),
    destination_canonical_revision: known(destination?.canonicalRevision, 'latest'),
    destination_service_name: known(service?.name),
    destination_service_namespace: known(service?.namespace ?? destination?.namespace),
    destination_cluster: known(destination?.clusterId),
    request_protocol: f.protocol,
    connection_security_policy: 'mutual_tls',
  }
}

/** `spiffe://td/ns/x/sa/y` → `x`. */
const namespaceOf = (id: string | undefined): string | undefined => id?.split('/')[4]

/** Where is counted what has too many sets of labels. */
export const overflowLabels = (protocol: LabelFacts['protocol']): Labels => ({
  ...labelsOf({
    source: undefined,
    sourceId: undefined,
    destination: undefined,
    destinationId: undefined,
    service: undefined,
    protocol,
  }),
  connection_security_policy: 'overflow',
})
