import { WorkloadLabels } from './generated/lateen.ts'
import type { Extension } from './generated/workload.ts'

/** Type URL of the labels among a workload's extensions. */
export const workloadLabelsTypeUrl = 'type.googleapis.com/lateen.dev.WorkloadLabels'

/** The fields of a workload that say something about labels of its pod. */
type Telling = Readonly<{
  canonicalName: string
  canonicalRevision: string
  locality?: Readonly<{ region: string; zone: string; subzone: string }> | undefined
  network: string
  clusterId: string
  node: string
}>

/** Said of a workload without a label for it; no such label is told by it. */
const noRevision = 'latest'
const revision = ({ canonicalRevision: value }: Telling) => (value === noRevision ? '' : value)
const byRow: ReadonlyMap<string, (row: Telling) => string> = new Map([
  ['app', ({ canonicalName }) => canonicalName],
  ['app.kubernetes.io/name', ({ canonicalName }) => canonicalName],
  ['service.istio.io/canonical-name', ({ canonicalName }) => canonicalName],
  ['version', revision],
  ['app.kubernetes.io/version', revision],
  ['service.istio.io/canonical-revision', revision],
])
/** Where a workload is, is not its pod's to say. */
const byPlace: ReadonlyMap<string, (row: Telling) => string> = new Map([
  ['topology.kubernetes.io/region', ({ locality }) => locality?.region ?? ''],
  ['topology.kubernetes.io/zone', ({ locality }) => locality?.zone ?? ''],
  ['topology.istio.io/subzone', ({ locality }) => locality?.subzone ?? ''],
  ['topology.istio.io/network', ({ network }) => network],
  ['topology.istio.io/cluster', ({ clusterId }) => clusterId],
  ['kubernetes.io/hostname', ({ node }) => node],
])

/** A label of a workload's pod; '' where it has none, which is the same to those who ask (Istio). */
export const labelOf = (row: Telling, told: ReadonlyMap<string, string>, key: string): string =>
  byPlace.get(key)?.(row) ?? told.get(key) ?? byRow.get(key)?.(row) ?? ''

/** Of the labels that are asked for, those that the rest of the row does not tell as they are. Undefined: none. */
export function labelsExtension(
  row: Telling,
  labels: Readonly<Record<string, string>>,
  asked: readonly string[],
): Extension | undefined {
  const untold = new Map<string, string>()
  for (const key of asked) {
    const value = Object.hasOwn(labels, key) ? labels[key] : ''
    if (typeof value === 'string' && !byPlace.has(key) && (byRow.get(key)?.(row) ?? '') !== value)
      untold.set(key, value)
  }
  if (untold.size === 0) return undefined
  const { buffer, byteOffset, byteLength } = WorkloadLabels.encode({
    labels: Object.fromEntries(untold),
  }).finish()
  // Of the same memory: copied into Node's pool, these few bytes would keep 8 KiB for as long as the row lives.
  const value = Buffer.from(buffer, byteOffset, byteLength)
  return { name: 'lateen.dev/labels', config: { typeUrl: workloadLabelsTypeUrl, value } }
}

const none: ReadonlyMap<string, string> = new Map()

/** What is told of labels beyond the row; what cannot be read is not told. */
export function toldLabels(extensions: readonly Extension[]): ReadonlyMap<string, string> {
  const config = extensions.find((one) => one.config?.typeUrl === workloadLabelsTypeUrl)?.config
  if (!config) return none
  try {
    return new Map(Object.entries(WorkloadLabels.decode(config.value).labels))
  } catch {
    return none
  }
}
