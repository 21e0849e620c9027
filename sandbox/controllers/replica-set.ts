import { isDeepStrictEqual } from 'node:util'
import { type Action, normal, refTo, remove } from './actions.ts'
import {
  pods as podKind,
  type ReplicaSet,
  type ReplicaSetStatus,
  replicaSets,
  type SchedulablePod,
} from './objects.ts'
import { availableInMs, isActive, isReady, podFromTemplate } from './pod-state.ts'

/** Pods made in one go; the next look, which follows at once, makes more. */
const maxBurst = 50

/** What brings a ReplicaSet's own pods to its number, and its status to the truth. */
export function replicaSetPlan(
  set: ReplicaSet,
  own: readonly SchedulablePod[],
  now: Date,
): readonly Action[] {
  if (set.metadata.deletionTimestamp !== undefined) return []
  return [...scale(set, own.filter(isActive)), ...writeStatus(set, own, now)]
}

function scale(set: ReplicaSet, active: readonly SchedulablePod[]): readonly Action[] {
  const missing = (set.spec?.replicas ?? 1) - active.length
  if (missing > 0)
    return Array.from({ length: Math.min(missing, maxBurst) }, () => ({
      kind: 'create',
      of: podKind,
      object: podFromTemplate(set.spec?.template, set, replicaSets),
      owner: set,
    }))
  return leastValuable(active)
    .slice(0, -missing)
    .flatMap((pod) => [
      remove(podKind, pod),
      normal(set, 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`),
    ])
}

/** Unscheduled before scheduled, unready before ready, crowded nodes before others, young before old. */
function leastValuable(active: readonly SchedulablePod[]): readonly SchedulablePod[] {
  const perNode = new Map<string, number>()
  for (const { spec } of active) {
    const node = spec?.nodeName ?? ''
    perNode.set(node, (perNode.get(node) ?? 0) + 1)
  }
  const rank = (pod: SchedulablePod) => [
    pod.spec?.nodeName ? 1 : 0,
    isReady(pod) ? 1 : 0,
    -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
    -Date.parse(pod.metadata.creationTimestamp ?? ''),
  ]
  return active.toSorted((a, b) => {
    const [left, right] = [rank(a), rank(b)]
    const at = left.findIndex((value, i) => value !== right[i])
    return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0)
  })
}

function writeStatus(set: ReplicaSet, own: readonly SchedulablePod[], now: Date): readonly Action[] {
  const counted = own.filter(isActive)
  const waits = counted
    .map((pod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, now))
    .filter((wait) => wait !== undefined)
  const status: ReplicaSetStatus = {
    replicas: counted.length,
    fullyLabeledReplicas: counted.length,
    readyReplicas: counted.filter(isReady).length,
    availableReplicas: waits.filter((wait) => wait === 0).length,
    ...(set.metadata.generation !== undefined && { observedGeneration: set.metadata.generation }),
  }
  const later = waits.filter((wait) => wait > 0)
  const again: readonly Action[] = later.length > 0 ? [{ kind: 'again', afterMs: Math.min(...later) }] : []
  return isDeepStrictEqual({ ...zeroes, ...set.status }, { ...zeroes, ...set.status, ...status })
    ? again
    : [{ kind: 'patch', ref: refTo(replicaSets, set), patch: { status }, subresource: 'status' }, ...again]
}

/** The API may leave out what is 0. */
const zeroes = { fullyLabeledReplicas: 0, readyReplicas: 0, availableReplicas: 0 }
