import { type Action, normal, refTo, remove } from './actions.ts'
import { deploymentStatus, isComplete, progressDeadline, sameStatus } from './deployment-status.ts'
import { type Deployment, deployments, type ReplicaSet, replicaSets, type SchedulablePod } from './objects.ts'
import { contentHash, controllerRef, isActive, templateHashLabel } from './pod-state.ts'
import { rollingLimits } from './rolling-limits.ts'

const revisionAnnotation = 'deployment.kubernetes.io/revision'

/** A Deployment, the ReplicaSets that it owns, and their pods. */
type DeploymentWorld = Readonly<{
  deployment: Deployment
  sets: readonly ReplicaSet[]
  pods: readonly SchedulablePod[]
}>

/** The next step toward the wanted pods, by way of ReplicaSets, and the status as it is now. */
export function deploymentPlan(world: DeploymentWorld, now: Date): readonly Action[] {
  const { deployment, sets } = world
  if (deployment.metadata.deletionTimestamp !== undefined) return []
  const current = currentSet(deployment, sets)
  const old = sets.filter((set) => set !== current)
  const status = deploymentStatus(deployment, current, sets, now)
  return [
    ...(deployment.spec?.paused ? scalePaused(deployment, sets) : roll(world, current, old)),
    ...revise(deployment, current, old),
    ...(isComplete(deployment, status) ? forgetOld(deployment, old) : []),
    ...(sameStatus(deployment.status, status)
      ? []
      : [
          {
            kind: 'patch',
            ref: refTo(deployments, deployment),
            patch: { status },
            subresource: 'status',
          } as const,
        ]),
    ...progressDeadline(deployment, status, now),
  ]
}

const hashOf = (deployment: Deployment) => contentHash(deployment.spec?.template)

/** The set that runs the template as it is now. */
const currentSet = (deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined => {
  const hash = hashOf(deployment)
  return sets.find(({ metadata }) => metadata.labels?.[templateHashLabel] === hash)
}

const wanted = (set: ReplicaSet) => set.spec?.replicas ?? 1
const available = (set: ReplicaSet) => set.status?.availableReplicas ?? 0
const sum = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number) =>
  sets.reduce((total, set) => total + of(set), 0)
const revisionOf = ({ metadata }: ReplicaSet) => Number(metadata.annotations?.[revisionAnnotation] ?? 0)
const nextRevision = (old: readonly ReplicaSet[]) => Math.max(0, ...old.map(revisionOf)) + 1

function scaleTo(deployment: Deployment, set: ReplicaSet, replicas: number): readonly Action[] {
  const from = wanted(set)
  if (replicas === from) return []
  const direction = replicas > from ? 'up' : 'down'
  const message = `Scaled ${direction} replica set ${set.metadata.name} from ${from} to ${replicas}`
  return [
    { kind: 'patch', ref: refTo(replicaSets, set), patch: { spec: { replicas } } },
    normal(deployment, 'ScalingReplicaSet', message),
  ]
}

/** A paused Deployment starts no new version, but its newest one still follows the replica count. */
function scalePaused(deployment: Deployment, sets: readonly ReplicaSet[]): readonly Action[] {
  const [newest] = sets.toSorted((a, b) => revisionOf(b) - revisionOf(a))
  const others = sets.filter((set) => set !== newest && wanted(set) > 0)
  return newest && others.length === 0 ? scaleTo(deployment, newest, deployment.spec?.replicas ?? 1) : []
}

function roll(world: DeploymentWorld, current: ReplicaSet | undefined, old: readonly ReplicaSet[]) {
  return world.deployment.spec?.strategy?.type === 'Recreate'
    ? recreate(world, current, old)
    : rollingUpdate(world.deployment, current, old)
}

/** No two versions at once: the new one starts when the last pod of the old ones is gone. */
function recreate(
  { deployment, pods }: DeploymentWorld,
  current: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): readonly Action[] {
  const down = old.flatMap((set) => scaleTo(deployment, set, 0))
  const uids = new Set(old.map(({ metadata }) => metadata.uid))
  const running = pods.some(
    (pod) =>
      (isActive(pod) || pod.metadata.deletionTimestamp !== undefined) &&
      pod.metadata.ownerReferences?.some(({ uid }) => uids.has(uid)),
  )
  if (down.length > 0 || running) return down
  const replicas = deployment.spec?.replicas ?? 1
  return current ? scaleTo(deployment, current, replicas) : createSet(deployment, old, replicas)
}

function rollingUpdate(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): readonly Action[] {
  const replicas = deployment.spec?.replicas ?? 1
  const { surge, unavailable } = rollingLimits(deployment)
  const have = current ? wanted(current) : 0
  const room = Math.max(0, replicas + surge - sum(old, wanted) - have)
  const next = have > replicas ? replicas : Math.min(replicas, have + room)
  if (!current) return createSet(deployment, old, next)
  if (next !== have) return scaleTo(deployment, current, next)
  return scaleDownOld(deployment, current, old, replicas - unavailable)
}

/** Unavailable pods of old versions go first; then as many others as availability allows, oldest version first. */
function scaleDownOld(
  deployment: Deployment,
  current: ReplicaSet,
  old: readonly ReplicaSet[],
  minAvailable: number,
): readonly Action[] {
  const pending = wanted(current) - available(current)
  const total = sum([...old, current], wanted)
  let spare = total - minAvailable - pending
  if (spare <= 0) return []
  const oldestFirst = old.filter((set) => wanted(set) > 0).toSorted((a, b) => revisionOf(a) - revisionOf(b))
  const targets = new Map<ReplicaSet, number>()
  for (const set of oldestFirst) {
    const useless = Math.min(Math.max(0, wanted(set) - available(set)), spare)
    targets.set(set, wanted(set) - useless)
    spare -= useless
  }
  let dispensable = sum([...old, current], available) - minAvailable
  for (const set of oldestFirst) {
    const left = targets.get(set) ?? 0
    const fewer = Math.max(0, Math.min(left, dispensable))
    targets.set(set, left - fewer)
    dispensable -= fewer
  }
  return [...targets].flatMap(([set, replicas]) => scaleTo(deployment, set, replicas))
}

function createSet(deployment: Deployment, old: readonly ReplicaSet[], replicas: number): readonly Action[] {
  const hash = hashOf(deployment)
  const { name = '', namespace } = deployment.metadata
  const { spec } = deployment
  const template = spec?.template
  const labels = { ...template?.metadata?.labels, [templateHashLabel]: hash }
  const set: ReplicaSet = {
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace !== undefined && { namespace }),
      labels,
      annotations: { ...carried(deployment), [revisionAnnotation]: String(nextRevision(old)) },
      ownerReferences: [controllerRef(deployments, deployment)],
    },
    spec: {
      replicas,
      selector: {
        ...spec?.selector,
        matchLabels: { ...spec?.selector?.matchLabels, [templateHashLabel]: hash },
      },
      template: { ...template, metadata: { ...template?.metadata, labels } },
      ...(spec?.minReadySeconds !== undefined && { minReadySeconds: spec.minReadySeconds }),
    },
  }
  return [
    { kind: 'create', of: replicaSets, object: set, owner: deployment },
    normal(
      deployment,
      'ScalingReplicaSet',
      `Scaled up replica set ${set.metadata.name} from 0 to ${replicas}`,
    ),
  ]
}

/** Annotations of a Deployment show on its sets, but for those that speak of the Deployment itself. */
function carried({ metadata }: Deployment): Readonly<Record<string, string>> {
  const own = new Set([revisionAnnotation, 'kubectl.kubernetes.io/last-applied-configuration'])
  return Object.fromEntries(Object.entries(metadata.annotations ?? {}).filter(([key]) => !own.has(key)))
}

/** The current version has the highest revision, also when it was an old one that came back; the Deployment shows it. */
function revise(
  deployment: Deployment,
  current: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): readonly Action[] {
  const highest = Math.max(0, ...old.map(revisionOf))
  const revision = current && revisionOf(current) > highest ? revisionOf(current) : highest + 1
  if (!current && deployment.spec?.paused) return []
  const annotated = (of: Deployment | ReplicaSet) =>
    of.metadata.annotations?.[revisionAnnotation] === String(revision)
  const patch = { metadata: { annotations: { [revisionAnnotation]: String(revision) } } }
  return [
    ...(current && !annotated(current)
      ? [{ kind: 'patch', ref: refTo(replicaSets, current), patch } as const]
      : []),
    ...(annotated(deployment)
      ? []
      : [{ kind: 'patch', ref: refTo(deployments, deployment), patch } as const]),
  ]
}

function forgetOld({ spec }: Deployment, old: readonly ReplicaSet[]): readonly Action[] {
  const keep = spec?.revisionHistoryLimit ?? 10
  const empty = old.filter(
    (set) =>
      wanted(set) === 0 &&
      (set.status?.replicas ?? 0) === 0 &&
      set.metadata.deletionTimestamp === undefined &&
      (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 0),
  )
  return empty
    .toSorted((a, b) => revisionOf(a) - revisionOf(b))
    .slice(0, Math.max(0, empty.length - keep))
    .map((set) => remove(replicaSets, set))
}
