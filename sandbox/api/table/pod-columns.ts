import { isRecord } from '#base'
import { at, type KubeObject, listAt, numberAt, recordAt, scalarAt, textAt } from '../rest/object.ts'
import { ageOf } from './age.ts'

/** kubectl's READY, STATUS and RESTARTS of a pod (Kubernetes: printers/internalversion printPod). */
export function podCells(pod: KubeObject, now: number): readonly unknown[] {
  const statuses = listAt(pod, 'status', 'containerStatuses')
  const ready = statuses.filter((status) => at(status, 'ready') === true).length
  const total = listAt(pod, 'spec', 'containers').length
  const spec = recordAt(pod, 'spec')
  return [
    pod.metadata.name,
    `${ready}/${total}`,
    podReason(pod),
    restarts([...listAt(pod, 'status', 'initContainerStatuses'), ...statuses], now),
    ageOf(pod.metadata.creationTimestamp, now),
    textAt(pod, 'status', 'podIP') || '<none>',
    spec['nodeName'] || '<none>',
    textAt(pod, 'status', 'nominatedNodeName') || '<none>',
    gates(pod),
  ]
}

function podReason(pod: KubeObject): string {
  const settled = textAt(pod, 'status', 'reason') ?? textAt(pod, 'status', 'phase') ?? 'Unknown'
  const starting = initReason(pod)
  const reason = starting ?? containerReason(pod, settled)
  if (pod.metadata.deletionTimestamp === undefined) return reason
  const phase = textAt(pod, 'status', 'phase')
  return phase === 'Succeeded' || phase === 'Failed' ? reason : 'Terminating'
}

function initReason(pod: KubeObject): string | undefined {
  const containers = listAt(pod, 'spec', 'initContainers').filter(isRecord)
  const sidecars = new Set(
    containers
      .filter((container) => container['restartPolicy'] === 'Always')
      .map((container) => container['name']),
  )
  const statuses = listAt(pod, 'status', 'initContainerStatuses')
  for (const [index, status] of statuses.entries()) {
    const terminated = recordAt(status, 'state', 'terminated')
    if (terminated['exitCode'] === 0) continue
    if (sidecars.has(at(status, 'name')) && at(status, 'started') === true) continue
    if (terminated['exitCode'] !== undefined)
      return `Init:${textAt(terminated, 'reason') || `ExitCode:${scalarAt(terminated, 'exitCode')}`}`
    const waiting = textAt(status, 'state', 'waiting', 'reason') ?? ''
    return waiting !== '' && waiting !== 'PodInitializing'
      ? `Init:${waiting}`
      : `Init:${index}/${containers.length}`
  }
  return undefined
}

function containerReason(pod: KubeObject, settled: string): string {
  let reason = settled
  let running = false
  for (const status of [...listAt(pod, 'status', 'containerStatuses')].reverse()) {
    const waiting = textAt(status, 'state', 'waiting', 'reason') ?? ''
    const terminated = recordAt(status, 'state', 'terminated')
    if (waiting !== '') reason = waiting
    else if (Object.keys(terminated).length > 0)
      reason =
        textAt(terminated, 'reason') ||
        (terminated['signal']
          ? `Signal:${scalarAt(terminated, 'signal')}`
          : `ExitCode:${scalarAt(terminated, 'exitCode')}`)
    else if (at(status, 'ready') === true) running = true
  }
  if (reason !== 'Completed' || !running) return reason
  const ready = listAt(pod, 'status', 'conditions').some(
    (c) => textAt(c, 'type') === 'Ready' && textAt(c, 'status') === 'True',
  )
  return ready ? 'Running' : 'NotReady'
}

function restarts(statuses: readonly unknown[], now: number): string {
  const count = statuses.reduce<number>((sum, status) => sum + (numberAt(status, 'restartCount') ?? 0), 0)
  const times = statuses.map((status) => textAt(status, 'lastState', 'terminated', 'finishedAt') ?? '').sort()
  const last = times.at(-1) ?? ''
  return count === 0 || last === '' ? String(count) : `${count} (${ageOf(last, now)} ago)`
}

function gates(pod: KubeObject): string {
  const listed = listAt(pod, 'spec', 'readinessGates')
  if (listed.length === 0) return '<none>'
  const conditions = listAt(pod, 'status', 'conditions')
  const met = listed.filter((gate) =>
    conditions.some(
      (c) => textAt(c, 'type') === textAt(gate, 'conditionType') && textAt(c, 'status') === 'True',
    ),
  )
  return `${met.length}/${listed.length}`
}
