import { isDeepStrictEqual } from 'node:util'
import { type Action, normal, refTo, remove, warning } from './actions.ts'
import {
  type DaemonSet,
  daemonSets,
  type DaemonSetStatus,
  pods as podKind,
  type PodTemplate,
  type SchedulableNode,
  type SchedulablePod,
  type Toleration,
} from './objects.ts'
import {
  availableInMs,
  contentHash,
  isFinished,
  isReady,
  podFromTemplate,
  resolveCount,
} from './pod-state.ts'
import { containsLabels, matchesTerms, untolerated } from './selectors.ts'

const hashLabel = 'controller-revision-hash'

/** What Kubernetes' DaemonSet controller adds to each of its pods: a node in trouble still needs its daemons. */
const daemonTolerations: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
]
/** Not-ready nodes are also tolerated at scheduling time (Kubernetes ignores the taint for daemons). */
const schedulingTolerations: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoSchedule' },
]
const hostNetworkToleration: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
}

/** One node with this set's pods on it, sorted by what they are. */
type Place = Readonly<{
  node: string
  wanted: boolean
  finished: readonly SchedulablePod[]
  current: readonly SchedulablePod[]
  old: readonly SchedulablePod[]
  leaving: readonly SchedulablePod[]
}>

/** What brings one pod to each node that should have one, a version change at the allowed pace, and the status. */
export function daemonSetPlan(
  set: DaemonSet,
  nodes: readonly SchedulableNode[],
  own: readonly SchedulablePod[],
  now: Date,
): readonly Action[] {
  if (set.metadata.deletionTimestamp !== undefined) return []
  const template = daemonTemplate(set)
  const hash = contentHash(set.spec?.template)
  const places = placesOf(template, hash, nodes, own)
  return [
    ...places.flatMap((place) => settle(set, template, hash, place)),
    ...rollOut(set, template, hash, places, now),
    ...writeStatus(set, hash, places, own, now),
  ]
}

function daemonTemplate({ spec }: DaemonSet): PodTemplate {
  const { template } = spec ?? {}
  const host = template?.spec?.hostNetwork ? [hostNetworkToleration] : []
  const tolerations = [
    ...(template?.spec?.tolerations ?? []),
    ...daemonTolerations,
    ...schedulingTolerations,
    ...host,
  ]
  return { ...template, spec: { ...template?.spec, tolerations } }
}

function placesOf(
  template: PodTemplate,
  hash: string,
  nodes: readonly SchedulableNode[],
  own: readonly SchedulablePod[],
): readonly Place[] {
  const byNode = Map.groupBy(own, nodeOf)
  const names = new Set([...nodes.map(({ metadata }) => metadata.name ?? ''), ...byNode.keys()])
  return [...names].map((node) => {
    const here = byNode.get(node) ?? []
    const staying = here.filter((pod) => !isFinished(pod) && pod.metadata.deletionTimestamp === undefined)
    const isCurrent = ({ metadata }: SchedulablePod) => metadata.labels?.[hashLabel] === hash
    const target = nodes.find(({ metadata }) => metadata.name === node)
    return {
      node,
      wanted: target !== undefined && belongsOn(target, template),
      finished: here.filter((pod) => isFinished(pod) && pod.metadata.deletionTimestamp === undefined),
      current: staying.filter(isCurrent),
      old: staying.filter((pod) => !isCurrent(pod)),
      leaving: here.filter((pod) => pod.metadata.deletionTimestamp !== undefined),
    }
  })
}

/** The node a daemon is on, or the one that it is meant for while the scheduler has not come to it. */
function nodeOf({ spec }: SchedulablePod): string {
  if (spec?.nodeName) return spec.nodeName
  const terms =
    spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? []
  const fields = terms.flatMap(({ matchFields = [] }) => matchFields)
  return fields.find(({ key }) => key === 'metadata.name')?.values?.[0] ?? ''
}

function belongsOn(node: SchedulableNode, { spec }: PodTemplate): boolean {
  const { name = '', labels } = node.metadata
  const terms =
    spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
  return (
    containsLabels(spec?.nodeSelector, labels) &&
    (terms === undefined || matchesTerms(terms, name, labels)) &&
    untolerated(node.spec?.taints ?? [], spec?.tolerations ?? []) === undefined
  )
}

/** Not about versions: a pod where there is none, none where none belongs, finished ones made anew, doubles removed. */
function settle(set: DaemonSet, template: PodTemplate, hash: string, place: Place): readonly Action[] {
  const { wanted, finished, current, old, leaving, node } = place
  const failed = finished.flatMap((pod) => [
    warning(
      set,
      'FailedDaemonPod',
      `Found failed daemon pod ${pod.metadata.name} on node ${node}, will try to kill it`,
    ),
    remove(podKind, pod),
  ])
  if (!wanted) return [...failed, ...[...current, ...old].map((pod) => remove(podKind, pod))]
  const doubles = [...oldestFirst(current).slice(1), ...oldestFirst(old).slice(1)]
  const none = current.length + old.length === 0
  // A pod that is leaving still holds the node's ports and files.
  const missing =
    none && leaving.length === 0 && finished.length === 0 ? [create(set, template, hash, node)] : []
  return [...failed, ...doubles.map((pod) => remove(podKind, pod)), ...missing]
}

const oldestFirst = (list: readonly SchedulablePod[]) =>
  list.toSorted((a, b) =>
    (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''),
  )

function create(set: DaemonSet, template: PodTemplate, hash: string, node: string): Action {
  const pod = podFromTemplate(template, set, daemonSets, { [hashLabel]: hash })
  const nodeSelectorTerms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }]
  const affinity = {
    ...pod.spec?.affinity,
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
  }
  const object: SchedulablePod = { ...pod, spec: { ...pod.spec, affinity } }
  return { kind: 'create', of: podKind, object, owner: set }
}

/** RollingUpdate, by nodes: with surge the new pod comes before the old one goes, without it after. */
function rollOut(
  set: DaemonSet,
  template: PodTemplate,
  hash: string,
  places: readonly Place[],
  now: Date,
): readonly Action[] {
  const { type, rollingUpdate } = set.spec?.updateStrategy ?? {}
  if (type === 'OnDelete') return []
  const wanted = places.filter((place) => place.wanted)
  const surge = resolveCount(rollingUpdate?.maxSurge, wanted.length, 'up')
  const unavailable = resolveCount(rollingUpdate?.maxUnavailable ?? 1, wanted.length, 'up')
  const isAvailable = (pod: SchedulablePod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, now) === 0
  const outdated = wanted.filter(({ old }) => old.length > 0)
  if (surge === 0) {
    const down = wanted.filter(({ current, old }) => ![...current, ...old].some(isAvailable)).length
    // Replacing what does not work costs no availability.
    const useless = outdated.filter(({ old }) => !old.some(isAvailable))
    const allowed = Math.max(0, Math.max(1, unavailable) - down)
    const working = outdated.filter(({ old }) => old.some(isAvailable)).slice(0, allowed)
    return [...useless, ...working].flatMap(({ old }) => replace(set, old))
  }
  const replaced = outdated.filter(({ current }) => current.some(isAvailable))
  const surging = outdated.filter(({ current }) => current.length > 0 && !current.some(isAvailable)).length
  const waiting = outdated.filter(({ current }) => current.length === 0)
  const broken = waiting.filter(({ old }) => !old.some(isAvailable))
  const next = waiting.filter(({ old }) => old.some(isAvailable)).slice(0, Math.max(0, surge - surging))
  return [
    ...replaced.flatMap(({ old }) => replace(set, old)),
    ...[...broken, ...next].map(({ node }) => create(set, template, hash, node)),
  ]
}

const replace = (set: DaemonSet, old: readonly SchedulablePod[]): readonly Action[] =>
  old.flatMap((pod) => [
    remove(podKind, pod),
    normal(set, 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`),
  ])

function writeStatus(
  set: DaemonSet,
  hash: string,
  places: readonly Place[],
  own: readonly SchedulablePod[],
  now: Date,
): readonly Action[] {
  const waits = new Map(own.map((pod) => [pod, availableInMs(pod, set.spec?.minReadySeconds ?? 0, now)]))
  const wanted = places.filter((place) => place.wanted)
  const having = wanted.filter(({ current, old }) => current.length + old.length > 0)
  const count = (is: (pod: SchedulablePod) => boolean) =>
    wanted.filter(({ current, old }) => [...current, ...old].some(is)).length
  const available = count((pod) => waits.get(pod) === 0)
  const status: DaemonSetStatus = {
    currentNumberScheduled: having.length,
    desiredNumberScheduled: wanted.length,
    numberMisscheduled: places.filter((place) => !place.wanted && place.current.length + place.old.length > 0)
      .length,
    numberReady: count(isReady),
    numberAvailable: available,
    numberUnavailable: wanted.length - available,
    updatedNumberScheduled: count(({ metadata }) => metadata.labels?.[hashLabel] === hash),
    ...(set.metadata.generation !== undefined && { observedGeneration: set.metadata.generation }),
  }
  const later = [...waits.values()].filter((wait) => wait !== undefined && wait > 0)
  return [
    ...(isDeepStrictEqual({ ...noCounts, ...set.status }, { ...noCounts, ...set.status, ...status })
      ? []
      : [{ kind: 'patch', ref: refTo(daemonSets, set), patch: { status }, subresource: 'status' } as const]),
    ...(later.length > 0
      ? [{ kind: 'again', afterMs: Math.min(...later.map((wait) => wait ?? 0)) } as const]
      : []),
  ]
}

/** The API may leave out a count of 0. */
const noCounts = { numberAvailable: 0, numberUnavailable: 0, updatedNumberScheduled: 0 }
