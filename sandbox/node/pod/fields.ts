import { availableParallelism, totalmem } from 'node:os'
import type { NodePod } from './pod.ts'

/** What is known of a pod beyond its own object. */
export type PodFacts = Readonly<{ podIps: readonly string[]; hostIps: readonly string[] }>

/** The value of a downward API field; undefined for a path that Kubernetes does not offer either. */
export function fieldValue(pod: NodePod, facts: PodFacts, path: string): string | undefined {
  const { metadata, spec } = pod
  const [, map, key] = /^metadata\.(labels|annotations)\['([^']*)'\]$/.exec(path) ?? []
  if (map === 'labels') return metadata.labels[key ?? ''] ?? ''
  if (map === 'annotations') return metadata.annotations[key ?? ''] ?? ''
  switch (path) {
    case 'metadata.name':
      return metadata.name
    case 'metadata.namespace':
      return metadata.namespace
    case 'metadata.uid':
      return metadata.uid
    case 'metadata.labels':
      return quotedLines(metadata.labels)
    case 'metadata.annotations':
      return quotedLines(metadata.annotations)
    case 'spec.nodeName':
      return spec.nodeName
    case 'spec.serviceAccountName':
      return spec.serviceAccountName
    case 'status.hostIP':
      return facts.hostIps[0] ?? ''
    case 'status.hostIPs':
      return facts.hostIps.join(',')
    case 'status.podIP':
      return facts.podIps[0] ?? ''
    case 'status.podIPs':
      return facts.podIps.join(',')
    default:
      return undefined
  }
}

/** As the downward API writes maps: `key="value"` per line, sorted. */
const quotedLines = (map: Readonly<Record<string, string>>) =>
  Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n')

type ResourceRef = Readonly<{
  resource: string
  containerName?: string | undefined
  divisor?: string | number | undefined
}>

/** `limits.cpu` and the like, rounded up to the divisor; without a limit, what the machine has. */
export function resourceValue(pod: NodePod, ref: ResourceRef, ownContainer: string): string | undefined {
  const name = ref.containerName ?? ownContainer
  const container = [...pod.spec.initContainers, ...pod.spec.containers].find((each) => each.name === name)
  const [list = '', resource = ''] = ref.resource.split('.')
  if (!container || (list !== 'limits' && list !== 'requests')) return undefined
  const set = container.resources[list][resource]
  const amount = set === undefined ? (list === 'limits' ? machineHas(resource) : 0) : quantity(set)
  if (amount === undefined) return undefined
  const divisor = quantity(ref.divisor ?? 1) || 1
  return String(Math.ceil(amount / divisor))
}

const machineHas = (resource: string) =>
  resource === 'cpu' ? availableParallelism() : resource === 'memory' ? totalmem() : undefined

const factors: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** `500m` → 0.5, `1Gi` → 2³⁰. Text that is no quantity is 0: the API server has checked it. */
export function quantity(text: string | number): number {
  const [, number = '0', suffix = ''] = /^([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)$/.exec(String(text)) ?? []
  return Number(number) * (factors[suffix] ?? 1)
}
