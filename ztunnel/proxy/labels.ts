import type { Party, Service, Workload } from '#mesh'

/** What the labels of a connection are made of. */
export type LabelFacts = Readonly<{
  reporter: 'source' | 'destination'
  source: Workload | Party | undefined
  sourceId: string | undefined
  destination: Workload | Party | undefined
  destinationId: string | undefined
  service: Service | undefined
  mutualTls: boolean
}>

/** Values of every label of ztunnel's traffic metrics, in the order of `labelNames`. */
export type Labels = Readonly<Record<string, string>>

const perEnd = [
  'workload',
  'canonical_service',
  'canonical_revision',
  'workload_namespace',
  'principal',
  'app',
  'version',
  'cluster',
] as const
const of = (end: 'source' | 'destination') => perEnd.map((name) => `${end}_${name}`)
/** In ztunnel's order (metrics.rs CommonTrafficLabels; facts: ztunnel.md §8.3). */
export const labelNames: readonly string[] = [
  'reporter',
  ...of('source'),
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  ...of('destination'),
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
]

/** What a peer says about itself is cut to this, in labels. */
const maxValue = 253
const known = (value: string | undefined) =>
  value === undefined || value === '' ? 'unknown' : value.slice(0, maxValue)

const separator = '\u0000'
const keys = new WeakMap<Party, string>()

/** The values of one end as one string; made once per record, since rows of the mesh are replaced rather than changed. */
function endKey(party: Party | undefined): string {
  if (party === undefined) return ''
  const made = keys.get(party)
  if (made !== undefined) return made
  const { workloadName, canonicalName, canonicalRevision, namespace, clusterId, locality } = party
  const { region, zone } = locality
  const values = [workloadName, canonicalName, canonicalRevision, namespace, clusterId, region, zone]
  const key = values.map(known).join(separator)
  keys.set(party, key)
  return key
}

/** The same for two connections exactly when their labels are. */
export function labelKey(facts: LabelFacts): string {
  const { source, destination, service, sourceId = '', destinationId = '' } = facts
  const ends = `${endKey(source)}|${sourceId}|${endKey(destination)}|${destinationId}`
  return `${facts.reporter}|${ends}|${service?.key ?? ''}|${service?.name ?? ''}|${facts.mutualTls}`
}

/** The labels themselves, of a connection that has not failed. */
export const labelsOf = (facts: LabelFacts): Labels => ({
  reporter: facts.reporter,
  ...endLabels('source', facts.source, facts.sourceId),
  destination_service: known(facts.service?.hostname),
  destination_service_namespace: known(facts.service?.namespace),
  destination_service_name: known(facts.service?.name),
  ...endLabels('destination', facts.destination, facts.destinationId),
  request_protocol: 'tcp',
  response_flags: '-',
  connection_security_policy: facts.mutualTls ? 'mutual_tls' : 'unknown',
  ...placeLabels('source', facts.source),
  ...placeLabels('destination', facts.destination),
})

function endLabels(end: 'source' | 'destination', party: Party | undefined, principal: string | undefined) {
  const service = known(party?.canonicalName)
  const revision = known(party?.canonicalRevision)
  const values: Record<(typeof perEnd)[number], string> = {
    workload: known(party?.workloadName),
    canonical_service: service,
    canonical_revision: revision,
    workload_namespace: known(party?.namespace),
    principal: known(principal),
    app: service,
    version: revision,
    cluster: known(party?.clusterId),
  }
  return Object.fromEntries(perEnd.map((name) => [`${end}_${name}`, values[name]]))
}

/** Only of who is known. */
const placeLabels = (end: 'source' | 'destination', party: Party | undefined): Labels =>
  party
    ? { [`${end}_region`]: known(party.locality.region), [`${end}_zone`]: known(party.locality.zone) }
    : {}

/** Where connections are counted for which there are too many sets of labels. */
export const overflowLabels = (reporter: LabelFacts['reporter']): Labels => ({
  ...labelsOf({
    reporter,
    source: undefined,
    sourceId: undefined,
    destination: undefined,
    destinationId: undefined,
    service: undefined,
    mutualTls: false,
  }),
  connection_security_policy: 'overflow',
})
