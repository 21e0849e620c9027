import type { Service, Workload } from '../state/index.ts'

/** What telemetry knows of one end of a connection: a workload of ours, or what a peer says about itself. */
export type Party = Readonly<{
  /** The pod's own name; '' where only its workload is known. */
  name: string
  workloadName: string
  canonicalName: string
  canonicalRevision: string
  namespace: string
  clusterId: string
  locality: Readonly<{ region: string; zone: string }>
}>

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
  'region',
  'zone',
]
/** In ztunnel's order (metrics.rs CommonTrafficLabels). */
export const labelNames: readonly string[] = [
  'reporter',
  ...['source', 'destination'].flatMap((end) => perEnd.map((name) => `${end}_${name}`)),
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
]

/** What a peer says about itself is cut to this, in labels. */
const maxValue = 253
const known = (value: string | undefined) =>
  value === undefined || value === '' ? 'unknown' : value.slice(0, maxValue)

const valuesOf = (party: Party): readonly string[] => {
  const { canonicalName, canonicalRevision, locality } = party
  return [
    party.workloadName,
    canonicalName,
    canonicalRevision,
    party.namespace,
    canonicalName,
    canonicalRevision,
    party.clusterId,
    locality.region,
    locality.zone,
  ].map(known)
}

const nobody: readonly string[] = Array.from({ length: perEnd.length - 1 }, () => 'unknown')
const separator = '\u0000'
const keys = new WeakMap<Party, string>()

/** The values of one end as one string; made once per record, since rows of the mesh are replaced rather than changed. */
function endKey(party: Party | undefined): string {
  if (party === undefined) return ''
  const made = keys.get(party)
  if (made !== undefined) return made
  const key = valuesOf(party).join(separator)
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
export function labelsOf(facts: LabelFacts): Labels {
  const { source, destination, service } = facts
  const ends = (end: 'source' | 'destination', party: Party | undefined, principal: string | undefined) => {
    const values = party ? valuesOf(party) : [...nobody]
    const all = [...values.slice(0, 4), known(principal), ...values.slice(4)]
    return perEnd.map((name, i) => [`${end}_${name}`, all[i] ?? 'unknown'] as const)
  }
  return {
    reporter: facts.reporter,
    ...Object.fromEntries(ends('source', source, facts.sourceId)),
    ...Object.fromEntries(ends('destination', destination, facts.destinationId)),
    destination_service: known(service?.hostname),
    destination_service_namespace: known(service?.namespace),
    destination_service_name: known(service?.name),
    request_protocol: 'tcp',
    response_flags: '-',
    connection_security_policy: facts.mutualTls ? 'mutual_tls' : 'unknown',
  }
}

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
