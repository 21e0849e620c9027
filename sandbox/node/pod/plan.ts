import type { NodePod, PodContainer } from './pod.ts'
import { type ContainerRecord, newRecord, restartDelayMs } from './records.ts'

export type Records = ReadonlyMap<string, ContainerRecord>
type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed'

/** What is to be done for a pod now. */
export type Plan = Readonly<{
  /** Containers to start, in this order. */
  start: readonly PodContainer[]
  /** Containers that wait for their time after ending, with that time. */
  backoff: ReadonlyMap<string, number>
  /** When to look again, if nothing happens before. */
  wakeAt: number | undefined
  /** Every init container has done its part. */
  initialized: boolean
  phase: Phase
}>

type Need =
  | Readonly<{ kind: 'none' }>
  | Readonly<{ kind: 'start' }>
  | Readonly<{ kind: 'wait'; until: number }>

/** An init container with `restartPolicy: Always` runs beside the others (KEP-753). */
export const isSidecar = ({ restartPolicy }: PodContainer): boolean => restartPolicy === 'Always'

/** Nothing of such a pod runs again. */
export const isOver = (phase: string | undefined): boolean => phase === 'Succeeded' || phase === 'Failed'

/** Init containers one after the other, then everything else at once; each is started again as its policy says. */
export function planPod(pod: NodePod, records: Records, now: number): Plan {
  const { initContainers, containers, restartPolicy } = pod.spec
  const recordOf = ({ name }: PodContainer) => records.get(name) ?? newRecord(name)
  const start: PodContainer[] = []
  const backoff = new Map<string, number>()
  const retries: number[] = []
  const consider = (container: PodContainer, policy: string) => {
    const need = needOf(recordOf(container), policy, now)
    if (need.kind === 'start') start.push(container)
    if (need.kind !== 'wait') return
    retries.push(need.until)
    if (recordOf(container).state.kind === 'terminated') backoff.set(container.name, need.until)
  }
  let initialized = true
  for (const container of initContainers) {
    const record = recordOf(container)
    consider(container, isSidecar(container) ? 'Always' : restartPolicy === 'Never' ? 'Never' : 'OnFailure')
    if (isSidecar(container) ? record.started : succeeded(record)) continue
    initialized = false
    break
  }
  const phase = phaseOf(pod, recordOf, initialized)
  if (initialized) for (const container of containers) consider(container, restartPolicy)
  const over = isOver(phase)
  return {
    start: over ? [] : start,
    backoff: over ? new Map() : backoff,
    wakeAt: over || retries.length === 0 ? undefined : Math.min(...retries),
    initialized,
    phase,
  }
}

const succeeded = ({ state }: ContainerRecord) => state.kind === 'terminated' && state.exitCode === 0
const failed = ({ state }: ContainerRecord) => state.kind === 'terminated' && state.exitCode !== 0

function needOf(record: ContainerRecord, policy: string, now: number): Need {
  const { state } = record
  switch (state.kind) {
    case 'running':
      return { kind: 'none' }
    case 'waiting':
      return due(state.retryAt ?? now, now)
    case 'terminated': {
      if (policy === 'Never' || (policy === 'OnFailure' && state.exitCode === 0)) return { kind: 'none' }
      return due(state.finishedAt + restartDelayMs(record.quickEnds), now)
    }
  }
}

const due = (at: number, now: number): Need => (at <= now ? { kind: 'start' } : { kind: 'wait', until: at })

function phaseOf(
  pod: NodePod,
  recordOf: (container: PodContainer) => ContainerRecord,
  initialized: boolean,
): Phase {
  const { initContainers, containers, restartPolicy } = pod.spec
  if (!initialized) {
    const broken = initContainers.some((each) => !isSidecar(each) && failed(recordOf(each)))
    return broken && restartPolicy === 'Never' ? 'Failed' : 'Pending'
  }
  const records = containers.map(recordOf)
  if (records.some(({ state, last }) => state.kind === 'waiting' && !last)) return 'Pending'
  if (records.some(({ state }) => state.kind !== 'terminated') || restartPolicy === 'Always') return 'Running'
  if (records.every(succeeded)) return 'Succeeded'
  return restartPolicy === 'Never' ? 'Failed' : 'Running'
}
