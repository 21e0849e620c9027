import type { ProbeNews } from '../probes/prober.ts'
import type { Exit } from '../runtime/container.ts'
import type { StartResult } from '../start-container.ts'
import type { PodContainer } from './pod.ts'
import { began, type ContainerRecord, ended } from './records.ts'

/** What follows from something that a container did: its record from now on, what is told, whether it is to end. */
export type After = Readonly<{
  record: ContainerRecord
  event?: Readonly<{ type: 'Normal' | 'Warning'; reason: string; message: string }>
  stop?: boolean
}>

/** An image or a name that is not there may come later. */
const missingRetryMs = 3_000

/** After run `run` was tried to start; `before` is the record from before the attempt. */
export function afterStart(
  container: PodContainer,
  { before, record, run }: Readonly<{ before: ContainerRecord; record: ContainerRecord; run: number }>,
  result: StartResult,
  now: number,
): After {
  const { name } = container
  switch (result.kind) {
    case 'started':
      return {
        record: begun(container, record, run, now),
        event: { type: 'Normal', reason: 'Started', message: `Started container ${name}` },
      }
    case 'waiting': {
      const { state } = before
      const again = state.kind === 'waiting' && /^(ErrImagePull|ImagePullBackOff)$/.test(state.reason)
      const reason = again && result.reason === 'ErrImagePull' ? 'ImagePullBackOff' : result.reason
      const { message } = result
      return {
        record: { ...before, state: { kind: 'waiting', reason, message, retryAt: now + missingRetryMs } },
        event: { type: 'Warning', reason: 'Failed', message },
      }
    }
    case 'failed': {
      const { message } = result
      const failure = { exitCode: 128, reason: 'StartError', message, startedAt: now, finishedAt: now }
      return {
        record: ended({ ...record, run }, failure),
        event: { type: 'Warning', reason: 'Failed', message: `Error: ${message}` },
      }
    }
  }
}

/** The record of a container whose run began. */
export const begun = (
  { startupProbe, readinessProbe }: PodContainer,
  record: ContainerRecord,
  run: number,
  startedAt: number,
): ContainerRecord =>
  began(record, run, startedAt, {
    startup: startupProbe !== undefined,
    readiness: readinessProbe !== undefined,
  })

/** After a run's program ended; undefined when that is old news. */
export function afterExit(
  record: ContainerRecord,
  run: number,
  { code, finishedAt }: Exit,
): After | undefined {
  if (record.run !== run || record.state.kind !== 'running') return undefined
  const { startedAt } = record.state
  const reason = code === 0 ? 'Completed' : 'Error'
  const message = `Back-off restarting failed container ${record.name}`
  return {
    record: ended(record, { exitCode: code, reason, startedAt, finishedAt }),
    ...(code !== 0 && record.quickEnds > 0 && { event: { type: 'Warning', reason: 'BackOff', message } }),
  }
}

/** After a probe of a run found something; undefined when that changes nothing. */
export function afterProbe(
  container: PodContainer,
  record: ContainerRecord,
  run: number,
  news: ProbeNews,
): After | undefined {
  if (record.run !== run || record.state.kind !== 'running') return undefined
  switch (news.kind) {
    case 'started':
      if (record.started) return undefined
      return { record: { ...record, started: true, ready: container.readinessProbe === undefined } }
    case 'ready':
      return { record: { ...record, ready: news.ready } }
    case 'unhealthy': {
      const message = `${news.probe} probe failed: ${news.message}`
      return { record, event: { type: 'Warning', reason: 'Unhealthy', message } }
    }
    case 'dead': {
      const message = `Container ${container.name} failed ${news.probe} probe, will be restarted`
      return { record, event: { type: 'Normal', reason: 'Killing', message }, stop: true }
    }
  }
}
