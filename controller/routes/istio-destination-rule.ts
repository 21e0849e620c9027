import type { Custom } from '#kube'
import { type Field, itemsOf, partsOf, problem, textOf } from './gateway-api-fields.ts'
import { isThere, labelsOf, type Notes } from './istio-fields.ts'
import {
  absoluteHost,
  isFindable,
  type IstioObject,
  readIstioObject,
  refusedIn,
  specOf,
} from './istio-object.ts'
import { type ReadPolicy, readTrafficPolicy } from './istio-traffic-policy.ts'

export type Subset = Readonly<{
  name: string
  labels: Readonly<Record<string, string>>
  policy: ReadPolicy | undefined
}>

export type DestinationRule = IstioObject &
  Readonly<{
    /** Absolute. */
    host: string
    policy: ReadPolicy | undefined
    subsets: readonly Subset[]
    /** Which clients it is for; undefined: all. */
    selector: Readonly<Record<string, string>> | undefined
    /** What cannot be read: it is as if it were not there, but TLS, which is closed then. */
    problems: readonly string[]
    remarks: readonly string[]
    /** What else of it the webhook refuses. */
    refused: readonly string[]
  }>

/** More is somebody else's schema. */
const maxSubsets = 4_096

export function readDestinationRule(object: Custom, domain: string): DestinationRule {
  const notes: Notes = { problems: [], remarks: [] }
  const head = readIstioObject(object, notes.problems)
  const spec: Field = { value: specOf(object), path: 'spec', problems: notes.problems }
  const parts = partsOf(spec, ['host', 'trafficPolicy', 'subsets', 'exportTo', 'workloadSelector'])
  const host = absoluteHost(textOf(parts?.host) ?? '', head.namespace, domain)
  if (parts && (host === '' || !isFindable(host)))
    problem(parts.host, host === '' ? 'is missing' : 'a * is the whole first label')
  const selector = isThere(parts?.workloadSelector)
    ? (labelsOf(partsOf(parts.workloadSelector, ['matchLabels'])?.matchLabels) ?? {})
    : undefined
  const policy = isThere(parts?.trafficPolicy) ? readTrafficPolicy(parts.trafficPolicy, notes) : undefined
  const items = parts ? itemsOf(parts.subsets) : []
  if (parts && items.length > maxSubsets)
    problem(parts.subsets, `after ${maxSubsets} nothing more is looked at`)
  return {
    ...head,
    host,
    policy,
    subsets: items.slice(0, maxSubsets).flatMap((item) => readSubset(item, notes)),
    selector,
    problems: notes.problems,
    remarks: notes.remarks,
    refused: refusedIn('DestinationRule', object, notes.problems),
  }
}

function readSubset(field: Field, notes: Notes): readonly Subset[] {
  const parts = partsOf(field, ['name', 'labels', 'trafficPolicy'])
  const before = field.problems.length
  const [name = '', labels = {}] = [textOf(parts?.name), labelsOf(parts?.labels)]
  if (name === '') problem(field, 'has no name')
  // Without some of its labels it would be more than was meant.
  if (field.problems.length > before) return []
  const policy = isThere(parts?.trafficPolicy) ? readTrafficPolicy(parts.trafficPolicy, notes) : undefined
  return [{ name, labels, policy }]
}
