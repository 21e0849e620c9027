import { isDeepStrictEqual } from 'node:util'
import type { Condition } from '#kube'
import type { Action } from './actions.ts'
import { rollingLimits } from './rolling-limits.ts'
import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from './objects.ts'

const defaultDeadlineSeconds = 600
const sum = (
  sets: readonly ReplicaSet[],
  of: (status: NonNullable<ReplicaSet['status']>) => number | undefined,
) => sets.reduce((total, { status }) => total + ((status && of(status)) ?? 0), 0)

/** What a Deployment's sets add up to, in Kubernetes' words and reasons. */
export function deploymentStatus(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  sets: readonly ReplicaSet[],
  now: Date,
): DeploymentStatus {
  const wanted = sets.reduce((total, { spec }) => total + (spec?.replicas ?? 1), 0)
  const availableReplicas = sum(sets, (status) => status.availableReplicas)
  const counts = {
    replicas: sum(sets, (status) => status.replicas),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum(sets, (status) => status.readyReplicas),
    availableReplicas,
    unavailableReplicas: Math.max(0, wanted - availableReplicas),
  }
  const { generation } = deployment.metadata
  const status = {
    ...counts,
    ...(generation !== undefined && { observedGeneration: generation }),
  }
  const conditions = [
    availability(deployment, availableReplicas),
    progress(deployment, current, status, now),
    ...(deployment.status?.conditions ?? []).filter(
      ({ type }) => type !== 'Available' && type !== 'Progressing',
    ),
  ]
  return { ...status, conditions: conditions.map((condition) => dated(condition, deployment, counts, now)) }
}

const noCounts = {
  replicas: 0,
  updatedReplicas: 0,
  readyReplicas: 0,
  availableReplicas: 0,
  unavailableReplicas: 0,
}

/** Would writing `after` change anything? The API may leave out a count of 0. */
export const sameStatus = (before: DeploymentStatus | undefined, after: DeploymentStatus): boolean =>
  isDeepStrictEqual({ ...noCounts, ...before }, { ...noCounts, ...before, ...after })

/** All pods are of the current version, available, and no old one is left. */
export const isComplete = ({ spec }: Deployment, status: DeploymentStatus): boolean => {
  const replicas = spec?.replicas ?? 1
  return [status.updatedReplicas, status.replicas, status.availableReplicas].every(
    (n) => (n ?? 0) === replicas,
  )
}

function availability(deployment: Deployment, availableReplicas: number): Condition {
  const { unavailable } = rollingLimits(deployment)
  const enough = availableReplicas >= (deployment.spec?.replicas ?? 1) - unavailable
  return enough
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      }
}

function progress(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  status: DeploymentStatus,
  now: Date,
): Condition {
  const type = 'Progressing'
  if (!current)
    return {
      type,
      status: 'True',
      reason: 'NewReplicaSetCreated',
      message: 'A new replica set is being created',
    }
  const set = `ReplicaSet "${current.metadata.name}"`
  if (isComplete(deployment, status))
    return {
      type,
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: `${set} has successfully progressed.`,
    }
  if (!movedOn(deployment, status) && overdueInMs(deployment, now) === 0)
    return {
      type,
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: `${set} has timed out progressing.`,
    }
  return { type, status: 'True', reason: 'ReplicaSetUpdated', message: `${set} is progressing.` }
}

const movedOn = ({ status: before, metadata }: Deployment, after: DeploymentStatus) =>
  (after.updatedReplicas ?? 0) > (before?.updatedReplicas ?? 0) ||
  (after.readyReplicas ?? 0) > (before?.readyReplicas ?? 0) ||
  (after.availableReplicas ?? 0) > (before?.availableReplicas ?? 0) ||
  before?.observedGeneration !== metadata.generation

/** Until the last sign of progress is too old; undefined while nothing is under way. */
function overdueInMs({ spec, status }: Deployment, now: Date): number | undefined {
  const last = status?.conditions?.find(({ type }) => type === 'Progressing')
  if (!last || last.reason === 'NewReplicaSetAvailable') return undefined
  const since = Date.parse(last.lastUpdateTime ?? '')
  if (Number.isNaN(since)) return undefined
  const deadlineMs = (spec?.progressDeadlineSeconds ?? defaultDeadlineSeconds) * 1000
  return Math.max(0, since + deadlineMs - now.getTime())
}

/** Another look when the progress deadline passes. */
export function progressDeadline(
  deployment: Deployment,
  status: DeploymentStatus,
  now: Date,
): readonly Action[] {
  if (isComplete(deployment, status) || deployment.spec?.paused) return []
  const afterMs = overdueInMs(deployment, now)
  return afterMs === undefined || afterMs === 0 ? [] : [{ kind: 'again', afterMs: afterMs + 1000 }]
}

/** `lastTransitionTime` moves with the status, `lastUpdateTime` with anything said, and with counts while progressing. */
function dated(
  condition: Condition,
  deployment: Deployment,
  counts: Readonly<Record<string, number>>,
  now: Date,
): DeploymentCondition {
  const before: DeploymentCondition | undefined = deployment.status?.conditions?.find(
    ({ type }) => type === condition.type,
  )
  const stamp = now.toISOString().replace(/\.\d+Z$/, 'Z')
  const moved =
    condition.type === 'Progressing' &&
    condition.reason === 'ReplicaSetUpdated' &&
    movedOn(deployment, counts)
  const same = before?.reason === condition.reason && before?.message === condition.message && !moved
  return {
    ...condition,
    lastUpdateTime: same ? (before?.lastUpdateTime ?? stamp) : stamp,
    lastTransitionTime: before?.status === condition.status ? (before.lastTransitionTime ?? stamp) : stamp,
  }
}
