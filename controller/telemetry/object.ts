import { isRecord } from '#base'
import type { Custom } from '#kube'
import { type MetricName, metricNames, parseCel } from '#telemetry'
import { nameOf, namespaceOf } from '../collections/inputs.ts'
import { type PolicyTarget, targetsOf } from '../collections/policy-targets.ts'
import { newNotes, shown } from '../collections/problems.ts'
import { untold, validateSpec } from '../validation/index.ts'

/** An entry of `accessLogging` that is about waypoints. */
export type LoggingEntry = Readonly<{
  /** Empty: those of the level above. */
  providers: readonly string[]
  disabled: boolean
  filter: string | undefined
}>

/** An override of series; a label of null is taken away. */
type MetricEntry = Readonly<{
  metrics: readonly MetricName[]
  disabled: boolean | undefined
  labels: Readonly<Record<string, string | null>>
}>

/** A Telemetry, as far as it is about waypoints. */
export type TelemetryObject = Readonly<{
  /** `namespace/name` */
  key: string
  namespace: string
  created: string
  targets: readonly PolicyTarget[]
  /** It is for the pods that a label chooses: sidecars, and nobody here. */
  hasSelector: boolean
  logging: readonly LoggingEntry[]
  metrics: readonly MetricEntry[]
  /** With any it is not followed. */
  problems: readonly string[]
  /** What of it is not done. */
  remarks: readonly string[]
}>

type Told = { problems: string[]; remarks: string[] }
const maxEntries = 64

/** Reads an object of whatever shape; what cannot be read is told. */
export function readTelemetry(object: Custom, rootNamespace: string): TelemetryObject {
  const spec = isRecord(object.spec) ? object.spec : {}
  const told: Told = { problems: [], remarks: [] }
  const namespace = namespaceOf(object)
  const targets = targetsOf(spec, namespace, rootNamespace, { ...newNotes(), invalid: told.problems })
  const hasSelector = isRecord(spec['selector'])
  if (isThere(spec['tracing'])) told.remarks.push('spec.tracing: waypoints do not trace yet')
  const logging = listIn(spec, 'accessLogging', 'spec', told).flatMap((value, i) =>
    loggingEntry(value, `spec.accessLogging[${i}]`, told),
  )
  const metrics = listIn(spec, 'metrics', 'spec', told).flatMap((value, i) =>
    metricEntries(value, `spec.metrics[${i}]`, told),
  )
  // What the webhook refuses may be there in spite of it.
  const refused = validateSpec('telemetry.istio.io', 'Telemetry', object.spec)?.errors ?? []
  return {
    key: `${namespace}/${nameOf(object)}`,
    namespace,
    created: object.metadata.creationTimestamp ?? '',
    targets,
    hasSelector,
    logging,
    metrics,
    problems: [...told.problems, ...untold(refused, told.problems)],
    remarks: told.remarks,
  }
}

/** What of a Telemetry is not followed as it is written, whatever else there is. */
export function telemetryFindings(
  group: string,
  kind: string,
  object: Custom,
  rootNamespace: string,
): Readonly<{ errors: readonly string[]; warnings: readonly string[] }> | undefined {
  if (group !== 'telemetry.istio.io' || kind !== 'Telemetry') return undefined
  const { problems, remarks } = readTelemetry(object, rootNamespace)
  const why = problems.map((problem) => `${problem} (nothing of the object counts then)`)
  return { errors: [], warnings: [...why, ...remarks] }
}

const isThere = (value: unknown) => value !== undefined && value !== null

function listIn(
  map: Record<string, unknown>,
  field: string,
  path: string,
  { problems }: Told,
): readonly Record<string, unknown>[] {
  const value = map[field]
  if (!isThere(value)) return []
  if (!Array.isArray(value) || value.length > maxEntries || !value.every((item) => isRecord(item))) {
    problems.push(`${path}.${field}: not a list of at most ${maxEntries} maps`)
    return []
  }
  return value
}

function loggingEntry(value: Record<string, unknown>, path: string, told: Told): readonly LoggingEntry[] {
  const { match, filter, disabled } = value
  if (!isForServers(match, path, told)) return []
  const expression = isRecord(filter) ? filter['expression'] : undefined
  const wanted = typeof expression === 'string' && expression !== '' ? expression : undefined
  if (isThere(filter) && wanted === undefined) told.problems.push(`${path}.filter.expression: is needed`)
  if (wanted !== undefined) judgeCel(wanted, `${path}.filter.expression`, told)
  const providers = providersIn(value, path, told)
  return [{ providers, disabled: disabled === true, filter: wanted }]
}

function judgeCel(text: string, path: string, { problems }: Told): void {
  const read = parseCel(text)
  if (read.kind === 'unreadable') problems.push(`${path}: ${read.problem}`)
}

const providersIn = (value: Record<string, unknown>, path: string, told: Told): readonly string[] =>
  listIn(value, 'providers', path, told).flatMap(({ name }) => (typeof name === 'string' ? [name] : []))

/** A waypoint stands on the server's side (Istio). */
function isForServers(match: unknown, path: string, { problems }: Told): boolean {
  const mode = isRecord(match) ? match['mode'] : undefined
  if (!isThere(mode) || mode === 'CLIENT_AND_SERVER' || mode === 'SERVER') return true
  if (mode !== 'CLIENT') problems.push(`${path}.match.mode: ${shown(mode)} is unknown`)
  return false
}

function metricEntries(value: Record<string, unknown>, path: string, told: Told): readonly MetricEntry[] {
  const providers = providersIn(value, path, told)
  for (const name of providers)
    if (name !== 'prometheus')
      told.remarks.push(`${path}.providers: waypoints serve prometheus alone, not ${name}`)
  if (isThere(value['reportingInterval']))
    told.remarks.push(`${path}.reportingInterval: no effect, what is open is counted whenever somebody reads`)
  if (providers.length > 0 && !providers.includes('prometheus')) return []
  return listIn(value, 'overrides', path, told).flatMap((one, i) =>
    metricEntry(one, `${path}.overrides[${i}]`, told),
  )
}

function metricEntry(value: Record<string, unknown>, path: string, told: Told): readonly MetricEntry[] {
  const { match, disabled, tagOverrides } = value
  if (!isForServers(match, path, told)) return []
  const { metric, customMetric } = isRecord(match) ? match : {}
  if (isThere(customMetric)) {
    told.remarks.push(`${path}.match.customMetric: waypoints have no series but Istio's`)
    return []
  }
  const metrics =
    !isThere(metric) || metric === 'ALL_METRICS' ? metricNames : metricNames.filter((one) => one === metric)
  if (metrics.length === 0) told.problems.push(`${path}.match.metric: ${shown(metric)} is unknown`)
  const labels: Record<string, string | null> = {}
  for (const [name, tag] of Object.entries(isRecord(tagOverrides) ? tagOverrides : {}))
    readTag(name, tag, `${path}.tagOverrides.${name}`, labels, told)
  return [{ metrics, disabled: typeof disabled === 'boolean' ? disabled : undefined, labels }]
}

const labelName = /^[a-zA-Z_]\w{0,127}$/

function readTag(
  name: string,
  tag: unknown,
  path: string,
  labels: Record<string, string | null>,
  told: Told,
): void {
  const { operation: said, value } = isRecord(tag) ? tag : {}
  const operation = said ?? 'UPSERT'
  if (!labelName.test(name)) return void told.problems.push(`${path}: no name of a label`)
  if (operation === 'REMOVE') labels[name] = null
  else if (operation === 'UPSERT' && typeof value === 'string' && value !== '') {
    judgeCel(value, `${path}.value`, told)
    labels[name] = value
  } else told.problems.push(`${path}: neither a value nor REMOVE`)
}
