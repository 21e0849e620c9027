import type { Condition, Lease } from '#kube'
import { type Action, refTo, remove, warning } from './actions.ts'
import {
  nodes as nodeKind,
  pods as podKind,
  type SchedulableNode,
  type SchedulablePod,
  type Taint,
} from './objects.ts'
import { conditionOf } from './pod-state.ts'

/** Kubernetes' node-monitor-grace-period: silence after which a node counts as lost. */
const graceMs = 40_000
const notReady = 'node.kubernetes.io/not-ready'
const unreachable = 'node.kubernetes.io/unreachable'

/**
 * A node that stopped renewing its lease is marked, its pods leave all Services; taints follow its Ready condition.
 * Its silence counts from `reachableSince` at the earliest: before that nobody could have heard it.
 */
export function nodeLifecyclePlan(
  node: SchedulableNode,
  lease: Lease | undefined,
  own: readonly SchedulablePod[],
  now: Date,
  reachableSince = new Date(0),
): readonly Action[] {
  const ready = conditionOf(node.status?.conditions, 'Ready')
  const heard = Date.parse(lease?.spec?.renewTime ?? node.metadata.creationTimestamp ?? '')
  const silentMs = Number.isNaN(heard) ? 0 : now.getTime() - Math.max(heard, reachableSince.getTime())
  const lost = silentMs > graceMs
  const status = lost ? 'Unknown' : (ready?.status ?? 'Unknown')
  const marks = lost && ready?.status !== 'Unknown' ? markLost(node, now) : []
  return [
    ...marks,
    ...(status === 'True' ? [] : own.flatMap((pod) => markUnready(pod, now))),
    // Both write the node from one version of it: the taint waits for the next look, which the mark brings about.
    ...(marks.length > 0 ? [] : taint(node, status)),
    ...(lost ? [] : [{ kind: 'again', afterMs: Math.max(1000, graceMs - silentMs + 500) } as const]),
  ]
}

const stamp = (now: Date) => now.toISOString().replace(/\.\d+Z$/, 'Z')

function markLost(node: SchedulableNode, now: Date): readonly Action[] {
  const others = (node.status?.conditions ?? []).filter(({ type }) => type !== 'Ready')
  const condition: Condition = {
    type: 'Ready',
    status: 'Unknown',
    reason: 'NodeStatusUnknown',
    message: 'Kubelet stopped posting node status.',
    lastTransitionTime: stamp(now),
  }
  const { resourceVersion } = node.metadata
  return [
    {
      kind: 'patch',
      ref: refTo(nodeKind, node),
      // The version guards against a heartbeat that came in meanwhile.
      patch: { metadata: { resourceVersion }, status: { conditions: [...others, condition] } },
      subresource: 'status',
    },
    warning(node, 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`),
  ]
}

function markUnready(pod: SchedulablePod, now: Date): readonly Action[] {
  const ready = conditionOf(pod.status?.conditions, 'Ready')
  if (ready?.status !== 'True') return []
  const conditions = (pod.status?.conditions ?? []).map((condition) =>
    condition.type === 'Ready'
      ? { ...condition, status: 'False', lastTransitionTime: stamp(now) }
      : condition,
  )
  return [
    { kind: 'patch', ref: refTo(podKind, pod), patch: { status: { conditions } }, subresource: 'status' },
    warning(pod, 'NodeNotReady', 'Node is not ready'),
  ]
}

/** NoSchedule only: pods are not evicted from a lost node, they go on where their node comes back. */
function taint(node: SchedulableNode, status: Condition['status']): readonly Action[] {
  const before = node.spec?.taints ?? []
  const key = status === 'False' ? notReady : unreachable
  const own: readonly Taint[] = status === 'True' ? [] : [{ key, effect: 'NoSchedule' }]
  const isOurs = ({ key: name, effect }: Taint) =>
    (name === notReady || name === unreachable) && effect === 'NoSchedule'
  const held = before.filter(isOurs)
  if (held.length === own.length && held.every(({ key: name }) => name === own[0]?.key)) return []
  const { resourceVersion } = node.metadata
  const taints = [...before.filter((other) => !isOurs(other)), ...own]
  return [
    { kind: 'patch', ref: refTo(nodeKind, node), patch: { metadata: { resourceVersion }, spec: { taints } } },
  ]
}

/** Nobody is left to end a pod of a node that is gone, or one that was deleted before it had a node. */
export function podGcPlan(pod: SchedulablePod, nodeExists: (name: string) => boolean): readonly Action[] {
  const node = pod.spec?.nodeName
  const orphaned = node ? !nodeExists(node) : pod.metadata.deletionTimestamp !== undefined
  return orphaned ? [remove(podKind, pod, true)] : []
}
