import { createHash } from 'node:crypto'
import type { Condition, KubeObject, Metadata, OwnerReference } from '#kube'
import type { IntOrPercent, PodTemplate, SchedulablePod } from './objects.ts'

/** The label that tells the pods of two versions of a Deployment apart. */
export const templateHashLabel = 'pod-template-hash'

export const isFinished = ({ status }: SchedulablePod): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'Failed'

/** Counts toward replicas: neither finished nor going away. */
export const isActive = (pod: SchedulablePod): boolean =>
  !isFinished(pod) && pod.metadata.deletionTimestamp === undefined

export const conditionOf = (
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined => conditions?.find((condition) => condition.type === type)

export const isReady = ({ status }: SchedulablePod): boolean =>
  conditionOf(status?.conditions, 'Ready')?.status === 'True'

/** How long until a pod counts as available: 0 when it does, undefined while it is not ready. */
export function availableInMs(pod: SchedulablePod, minReadySeconds: number, now: Date): number | undefined {
  if (!isReady(pod)) return undefined
  if (minReadySeconds === 0) return 0
  const since = Date.parse(conditionOf(pod.status?.conditions, 'Ready')?.lastTransitionTime ?? '')
  if (Number.isNaN(since)) return undefined
  return Math.max(0, since + minReadySeconds * 1000 - now.getTime())
}

/** The owner that keeps this object alive. */
export const controllerOf = ({ metadata }: KubeObject): OwnerReference | undefined =>
  metadata.ownerReferences?.find(({ controller }) => controller === true)

/** The owner reference that makes `owner` the controller of an object. */
export const controllerRef = (
  { apiVersion, kind }: { apiVersion: string; kind: string },
  owner: KubeObject,
) => ({
  apiVersion,
  kind,
  name: owner.metadata.name ?? '',
  uid: owner.metadata.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
})

/** A pod from a template: its labels, annotations and spec, owned by `owner`. */
export function podFromTemplate(
  template: PodTemplate | undefined,
  owner: KubeObject,
  kind: { apiVersion: string; kind: string },
  labels: Readonly<Record<string, string>> = {},
): SchedulablePod {
  const { labels: own, annotations, finalizers } = template?.metadata ?? {}
  const metadata: Metadata & { generateName: string } = {
    generateName: `${owner.metadata.name ?? ''}-`,
    ...(owner.metadata.namespace !== undefined && { namespace: owner.metadata.namespace }),
    labels: { ...own, ...labels },
    ...(annotations && { annotations }),
    ...(finalizers && { finalizers }),
    ownerReferences: [controllerRef(kind, owner)],
  }
  return { metadata, ...(template?.spec && { spec: template.spec }) }
}

/** Kubernetes' alphabet for generated names: no vowels, so no words. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** A short name of a value's content; the order of its keys does not matter. */
export function contentHash(value: unknown, length = 10): string {
  const digest = createHash('sha256').update(canonical(value)).digest()
  return Array.from(digest.subarray(0, length), (byte) => alphabet[byte % alphabet.length]).join('')
}

/** Ends a generated name. */
export const nameSuffix = (random: () => number = Math.random): string =>
  Array.from({ length: 5 }, () => alphabet[Math.floor(random() * alphabet.length)]).join('')

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`)
    .join(',')}}`
}

/** `25%` of 4 is 1; a fraction is rounded as told. Anything else that is no number counts as 0. */
export function resolveCount(value: IntOrPercent | undefined, of: number, round: 'up' | 'down'): number {
  if (typeof value === 'number') return value
  const match = /^(\d+)%$/.exec(value ?? '')
  if (!match) return 0
  const exact = (Number(match[1]) * of) / 100
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact)
}
