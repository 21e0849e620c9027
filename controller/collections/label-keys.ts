import { isRecord } from '#base'
import { type Collection, type Custom, derive, fixed } from '#kube'
import type { workload } from '#wire'
import { labelsExtension } from '#wire'
import { listIn } from './inputs.ts'

/** Names of pods' labels, in their order. */
export type LabelKeys = readonly string[]

/** Routes ask for no others: what else pods are labelled with is nothing to the data planes. */
export type LabelAskers = Readonly<{
  virtualServices: Collection<Custom>
  destinationRules: Collection<Custom>
}>

export const labelKeysKey = 'all'

/** Labels that some route or policy of the mesh tells workloads apart by: one row, `all`. */
export function labelKeys({ virtualServices, destinationRules }: LabelAskers): Collection<LabelKeys> {
  const read = (name: string, from: Collection<Custom>, keysIn: (spec: unknown) => Iterable<string>) =>
    derive<Custom, LabelKeys>(name, from, ({ spec }) => {
      const keys = [...new Set(keysIn(spec))].sort()
      return keys.length === 0 ? undefined : keys
    })
  const rows = [
    read('VirtualServiceLabels', virtualServices, keysOfVirtualService),
    read('DestinationRuleLabels', destinationRules, keysOfDestinationRule),
  ]
  const asked = fixed('LabelsAsked', { [labelKeysKey]: true })
  return derive<boolean, LabelKeys>('LabelKeys', asked, (_, fetch) =>
    [...new Set(rows.flatMap((one) => fetch(one).flat()))].sort(),
  )
}

const partOf = (value: unknown, field: string): unknown => (isRecord(value) ? value[field] : undefined)
const listOf = (value: unknown, field: string): readonly unknown[] => {
  const list = partOf(value, field)
  return Array.isArray(list) ? listIn(list) : []
}
const keysAt = (value: unknown, field: string): readonly string[] => {
  const map = partOf(value, field)
  return isRecord(map) ? Object.keys(map) : []
}

function* keysOfVirtualService(spec: unknown): Iterable<string> {
  for (const list of ['http', 'tls', 'tcp'])
    for (const rule of listOf(spec, list))
      for (const match of listOf(rule, 'match')) yield* keysAt(match, 'sourceLabels')
}

function* keysOfDestinationRule(spec: unknown): Iterable<string> {
  const subsets = listOf(spec, 'subsets')
  for (const subset of subsets) yield* keysAt(subset, 'labels')
  for (const policy of [spec, ...subsets].map((one) => partOf(one, 'trafficPolicy')))
    for (const settings of [policy, ...listOf(policy, 'portLevelSettings')]) {
      const locality = partOf(partOf(settings, 'loadBalancer'), 'localityLbSetting')
      const order = partOf(locality, 'failoverPriority')
      for (const item of Array.isArray(order) ? order : [])
        if (typeof item === 'string') yield item.split('=', 1)[0] ?? ''
    }
}

/** A workload with those of its labels that somebody asks for; one without any is as it was. */
export function withLabels(
  row: workload.Workload,
  labels: Readonly<Record<string, string>> | undefined,
  keys: LabelKeys | undefined,
): workload.Workload {
  if (keys === undefined || keys.length === 0) return row
  const extension = labelsExtension(row, labels ?? {}, keys)
  return extension === undefined ? row : { ...row, extensions: [...row.extensions, extension] }
}
