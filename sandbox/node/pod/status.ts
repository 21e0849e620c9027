import { isRecord } from '#base'
import { imageName } from '../../images/index.ts'
import type { Plan, Records } from './plan.ts'
import { isSidecar } from './plan.ts'
import type { NodePod, PodContainer } from './pod.ts'
import { type ContainerRecord, newRecord, type Termination } from './records.ts'

type StatusFacts = Readonly<{
  podIps: readonly string[]
  hostIps: readonly string[]
  startTime: number
  now: number
}>
type Json = Readonly<Record<string, unknown>>

const time = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

/** `status` of the pod as the API server and its users expect it. */
export function statusOf(pod: NodePod, records: Records, plan: Plan, facts: StatusFacts): Json {
  const { initContainers, containers } = pod.spec
  const statuses = (list: readonly PodContainer[]) =>
    list.map((container) =>
      containerStatus(pod, container, records.get(container.name) ?? newRecord(container.name), plan),
    )
  return {
    phase: plan.phase,
    conditions: conditionsOf(pod, records, plan, facts),
    hostIP: facts.hostIps[0],
    hostIPs: facts.hostIps.map((ip) => ({ ip })),
    ...(facts.podIps.length > 0 && { podIP: facts.podIps[0], podIPs: facts.podIps.map((ip) => ({ ip })) }),
    startTime: pod.status.startTime ?? time(facts.startTime),
    ...(initContainers.length > 0 && { initContainerStatuses: statuses(initContainers) }),
    containerStatuses: statuses(containers),
    qosClass: 'BestEffort',
  }
}

function containerStatus(pod: NodePod, container: PodContainer, record: ContainerRecord, plan: Plan): Json {
  const { run, state, last } = record
  const backoffUntil = plan.backoff.get(container.name)
  const crashing = state.kind === 'terminated' && backoffUntil !== undefined && record.quickEnds > 1
  const id = `lateen://${pod.metadata.uid}-${container.name}-${run}`
  const isInit = pod.spec.initContainers.includes(container) && !isSidecar(container)
  return {
    name: container.name,
    image: container.image,
    imageID: run < 0 ? '' : `lateen://${imageName(container.image)}`,
    ...(run >= 0 && { containerID: id }),
    // An init container is ready when it has done its work.
    ready: isInit ? state.kind === 'terminated' && state.exitCode === 0 : record.ready,
    started: record.started,
    restartCount: Math.max(0, run),
    state: crashing
      ? {
          waiting: {
            reason: 'CrashLoopBackOff',
            message: crashMessage(pod, container, state.finishedAt, backoffUntil),
          },
        }
      : stateJson(record, id, plan.initialized || isInit),
    lastState: crashing ? terminated(state, id) : last ? terminated(last) : {},
  }
}

const crashMessage = ({ metadata }: NodePod, { name }: PodContainer, from: number, until: number) =>
  `back-off ${Math.round((until - from) / 100) / 10}s restarting failed container=${name} pod=${metadata.name}_${metadata.namespace}(${metadata.uid})`

function stateJson({ state, run }: ContainerRecord, id: string, mayRun: boolean): Json {
  switch (state.kind) {
    case 'waiting':
      if (!mayRun && run < 0) return { waiting: { reason: 'PodInitializing' } }
      return {
        waiting: { reason: state.reason, ...(state.message !== undefined && { message: state.message }) },
      }
    case 'running':
      return { running: { startedAt: time(state.startedAt) } }
    case 'terminated':
      return terminated(state, id)
  }
}

const terminated = (
  { exitCode, reason, message, startedAt, finishedAt }: Termination,
  containerID?: string,
): Json => ({
  terminated: {
    exitCode,
    reason,
    ...(message !== undefined && { message }),
    startedAt: time(startedAt),
    finishedAt: time(finishedAt),
    ...(containerID !== undefined && { containerID }),
  },
})

/** Our own conditions; those of others (readiness gates) are kept as they are. */
function conditionsOf(pod: NodePod, records: Records, plan: Plan, facts: StatusFacts): readonly Json[] {
  const { containers, readinessGates } = pod.spec
  const over = plan.phase === 'Succeeded' || plan.phase === 'Failed'
  const unready = containers.filter(({ name }) => !records.get(name)?.ready).map(({ name }) => name)
  const why = over
    ? { reason: 'PodCompleted' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` }
  const containersReady = unready.length === 0 && !over
  const gatesPass = readinessGates.every(({ conditionType }) =>
    pod.status.conditions.some(({ type, status }) => type === conditionType && status === 'True'),
  )
  const own: readonly (readonly [type: string, holds: boolean, why: Json])[] = [
    ['PodReadyToStartContainers', facts.podIps.length > 0 && !over, {}],
    ['Initialized', plan.initialized, { reason: 'ContainersNotInitialized' }],
    ['Ready', containersReady && gatesPass, containersReady ? { reason: 'ReadinessGatesNotReady' } : why],
    ['ContainersReady', containersReady, why],
    ['PodScheduled', true, {}],
  ]
  const others = pod.status.conditions.filter(({ type }) => !own.some(([mine]) => mine === type))
  return [
    ...others,
    ...own.map(([type, holds, reason]) => condition(pod, type, holds, holds ? {} : reason, facts.now)),
  ]
}

function condition(pod: NodePod, type: string, holds: boolean, why: Json, now: number): Json {
  const status = holds ? 'True' : 'False'
  const before: unknown = pod.status.conditions.find((each) => each.type === type)
  const since = isRecord(before) && before['status'] === status ? before['lastTransitionTime'] : undefined
  return { type, status, ...why, lastTransitionTime: since ?? time(now) }
}
