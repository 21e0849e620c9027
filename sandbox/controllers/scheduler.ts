import type { Pod } from '#kube'
import { type Action, normal, refTo, warning } from './actions.ts'
import {
  type AffinityTerm,
  pods as podKind,
  type SchedulableNode,
  type SchedulablePod,
  type Taint,
} from './objects.ts'
import { conditionOf, controllerOf, isFinished } from './pod-state.ts'
import { containsLabels, matchesTerms, selectsLabels, untolerated } from './selectors.ts'

/** Where a pod goes, or why it can go nowhere. */
type Placement =
  | Readonly<{ kind: 'bind'; node: string }>
  | Readonly<{ kind: 'unschedulable'; message: string }>

/** Ours to place: not placed, not going away, not held back, and asking for no other scheduler. */
export const isWaiting = ({ metadata, spec }: SchedulablePod): boolean =>
  !spec?.nodeName &&
  metadata.deletionTimestamp === undefined &&
  (spec?.schedulerName ?? 'default-scheduler') === 'default-scheduler' &&
  (spec?.schedulingGates ?? []).length === 0

/** The allowed node with the fewest pods of the same owner, then with the fewest pods. */
export function schedule(
  pod: SchedulablePod,
  nodes: readonly SchedulableNode[],
  placed: readonly SchedulablePod[],
): Placement {
  const running = placed.filter((other) => other.spec?.nodeName && !isFinished(other))
  const onNode = Map.groupBy(running, ({ spec }) => spec?.nodeName ?? '')
  const judged = nodes.map((node) => ({ node, why: obstacle(pod, node, nodes, onNode) }))
  const owner = controllerOf(pod)?.uid
  const load = (node: SchedulableNode) => {
    const here = onNode.get(node.metadata.name ?? '') ?? []
    const siblings = owner === undefined ? [] : here.filter((other) => controllerOf(other)?.uid === owner)
    return siblings.length * 1000 + here.length
  }
  const [best] = judged
    .filter(({ why }) => why === undefined)
    .map(({ node }) => node)
    .toSorted((a, b) => load(a) - load(b) || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))
  if (best) return { kind: 'bind', node: best.metadata.name ?? '' }
  const reasons = Map.groupBy(judged, ({ why }) => why ?? '')
  const parts = [...reasons].map(([why, list]) => `${list.length} ${why}`).sort()
  return {
    kind: 'unschedulable',
    message: `0/${nodes.length} nodes are available${parts.length > 0 ? `: ${parts.join(', ')}` : ''}.`,
  }
}

type OnNode = ReadonlyMap<string, readonly SchedulablePod[]>

/** Why a pod may not be on a node, in the scheduler's words; undefined when it may. */
function obstacle(
  { spec, metadata }: SchedulablePod,
  node: SchedulableNode,
  nodes: readonly SchedulableNode[],
  onNode: OnNode,
): string | undefined {
  const { name = '', labels } = node.metadata
  const here = onNode.get(name) ?? []
  const taint = untolerated(taintsOf(node), spec?.tolerations ?? [])
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`
  const terms =
    spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
  if (!containsLabels(spec?.nodeSelector, labels) || (terms && !matchesTerms(terms, name, labels)))
    return "node(s) didn't match Pod's node affinity/selector"
  const taken = new Set(here.flatMap(({ spec: other }) => hostPorts(other)))
  if (hostPorts(spec).some((port) => taken.has(port)))
    return "node(s) didn't have free ports for the requested pod ports"
  const capacity = Number(node.status?.allocatable?.['pods'] ?? Number.POSITIVE_INFINITY)
  if (here.length >= capacity) return 'Too many pods'
  const apart = spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
  const crowded = apart.some((term) => isNear(term, metadata.namespace, node, nodes, onNode))
  return crowded ? "node(s) didn't match pod anti-affinity rules" : undefined
}

/** Is a pod that `term` selects in the same topology as `node`? */
function isNear(
  { topologyKey, labelSelector, namespaces }: AffinityTerm,
  own: string | undefined,
  node: SchedulableNode,
  nodes: readonly SchedulableNode[],
  onNode: OnNode,
): boolean {
  const topologyOf = ({ metadata }: SchedulableNode) =>
    metadata.labels?.[topologyKey] ?? (topologyKey === 'kubernetes.io/hostname' ? metadata.name : undefined)
  const here = topologyOf(node)
  const allowed = namespaces && namespaces.length > 0 ? namespaces : [own ?? '']
  return nodes
    .filter((other) => here !== undefined && topologyOf(other) === here)
    .flatMap(({ metadata }) => onNode.get(metadata.name ?? '') ?? [])
    .some(
      ({ metadata }) =>
        allowed.includes(metadata.namespace ?? '') && selectsLabels(labelSelector, metadata.labels),
    )
}

/** A node's taints, with those that its state amounts to even before anybody wrote them down. */
function taintsOf({ spec, status }: SchedulableNode): readonly Taint[] {
  const ready = conditionOf(status?.conditions, 'Ready')?.status === 'True'
  return [
    ...(spec?.taints ?? []),
    ...(ready ? [] : [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]),
    ...(spec?.unschedulable ? [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] : []),
  ]
}

const hostPorts = (spec: Pod['spec']): readonly string[] =>
  (spec?.containers ?? [])
    .flatMap(({ ports = [] }) => ports)
    .map(({ hostPort, containerPort, protocol = 'TCP' }) => ({
      port: hostPort ?? (spec?.hostNetwork ? containerPort : 0),
      protocol,
    }))
    .filter(({ port }) => port > 0)
    .map(({ port, protocol }) => `${protocol}/${port}`)

/** Binds a waiting pod, or says on it and in an event why it waits. */
export function schedulePlan(
  pod: SchedulablePod,
  nodes: readonly SchedulableNode[],
  placed: readonly SchedulablePod[],
  now: Date,
): readonly Action[] {
  if (!isWaiting(pod)) return []
  const placement = schedule(pod, nodes, placed)
  const { name, namespace } = pod.metadata
  if (placement.kind === 'bind')
    return [
      { kind: 'bind', pod, node: placement.node },
      normal(pod, 'Scheduled', `Successfully assigned ${namespace}/${name} to ${placement.node}`),
    ]
  const before = conditionOf(pod.status?.conditions, 'PodScheduled')
  if (before?.status === 'False' && before.message === placement.message) return []
  const condition = {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message: placement.message,
    lastTransitionTime:
      before?.status === 'False' ? before.lastTransitionTime : now.toISOString().replace(/\.\d+Z$/, 'Z'),
  }
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled')
  const patch = { status: { conditions: [...others, condition] } }
  return [
    { kind: 'patch', ref: refTo(podKind, pod), patch, subresource: 'status' },
    warning(pod, 'FailedScheduling', placement.message),
  ]
}
