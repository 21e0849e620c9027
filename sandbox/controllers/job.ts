import { isDeepStrictEqual } from 'node:util'
import type { Condition } from '#kube'
import { type Action, normal, refTo, remove, warning } from './actions.ts'
import { type Job, jobs, type JobStatus, pods as podKind, type SchedulablePod } from './objects.ts'
import { conditionOf, isActive, isReady, podFromTemplate } from './pod-state.ts'

/** Kubernetes' wait before the pod after the first failure; doubled by each further one, up to the cap. */
const backoffBaseMs = 10_000
const backoffCapMs = 360_000
/** Pods made in one go; the next look, which follows at once, makes more. */
const maxBurst = 50

type Counts = Readonly<{
  active: readonly SchedulablePod[]
  succeeded: number
  failed: readonly SchedulablePod[]
}>
type Ending = Readonly<{ type: 'Complete' | 'Failed'; reason: string; message: string }>

/** What runs a Job's pods until enough have succeeded or too many failed, and its status. */
export function jobPlan(job: Job, own: readonly SchedulablePod[], now: Date): readonly Action[] {
  if (job.metadata.deletionTimestamp !== undefined) return []
  if (endedAt(job) !== undefined) return expire(job, now)
  if (job.spec?.completionMode === 'Indexed')
    return [warning(job, 'NotRun', 'The sandbox does not run Jobs with completionMode Indexed')]
  const counts: Counts = {
    active: own.filter(isActive),
    succeeded: own.filter(({ status }) => status?.phase === 'Succeeded').length,
    failed: own.filter(({ status }) => status?.phase === 'Failed'),
  }
  const ending = endingOf(job, counts, now)
  const idle = ending !== undefined || job.spec?.suspend === true
  return [
    ...(idle ? counts.active.map((pod) => remove(podKind, pod)) : run(job, counts, now)),
    ...(ending ? [(ending.type === 'Complete' ? normal : warning)(job, ending.reason, ending.message)] : []),
    ...writeStatus(job, counts, ending, now),
    ...deadline(job, now),
  ]
}

const endedAt = ({ status }: Job): Condition | undefined =>
  status?.conditions?.find(
    ({ type, status: is }) => (type === 'Complete' || type === 'Failed') && is === 'True',
  )

/** A finished Job goes when its time to live is over, if it has one. */
function expire(job: Job, now: Date): readonly Action[] {
  const ttl = job.spec?.ttlSecondsAfterFinished
  const since = Date.parse(endedAt(job)?.lastTransitionTime ?? '')
  if (ttl === undefined || Number.isNaN(since)) return []
  const afterMs = since + ttl * 1000 - now.getTime()
  return afterMs > 0 ? [{ kind: 'again', afterMs }] : [remove(jobs, job)]
}

function endingOf(job: Job, { active, succeeded, failed }: Counts, now: Date): Ending | undefined {
  const { completions, parallelism = 1, backoffLimit = 6 } = job.spec ?? {}
  // Without a number of completions the first success ends it, once the others have ended too.
  const isComplete =
    completions === undefined && parallelism !== 1
      ? succeeded > 0 && active.length === 0
      : succeeded >= (completions ?? 1)
  if (isComplete) return { type: 'Complete', reason: 'Completed', message: 'Job completed' }
  if (failed.length > backoffLimit)
    return {
      type: 'Failed',
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
    }
  return leftMs(job, now) === 0
    ? { type: 'Failed', reason: 'DeadlineExceeded', message: 'Job was active longer than specified deadline' }
    : undefined
}

function leftMs({ spec, status }: Job, now: Date): number | undefined {
  const since = Date.parse(status?.startTime ?? '')
  if (spec?.activeDeadlineSeconds === undefined || spec.suspend || Number.isNaN(since)) return undefined
  return Math.max(0, since + spec.activeDeadlineSeconds * 1000 - now.getTime())
}

function deadline(job: Job, now: Date): readonly Action[] {
  const afterMs = leftMs(job, now)
  return afterMs === undefined || afterMs === 0 ? [] : [{ kind: 'again', afterMs }]
}

function run(job: Job, { active, succeeded, failed }: Counts, now: Date): readonly Action[] {
  const { completions, parallelism = 1 } = job.spec ?? {}
  const open =
    completions === undefined ? (succeeded > 0 ? active.length : parallelism) : completions - succeeded
  const wanted = Math.min(parallelism, open)
  if (wanted < active.length) return active.slice(wanted).map((pod) => remove(podKind, pod))
  const missing = Math.min(wanted - active.length, maxBurst)
  const waitMs = missing > 0 ? pauseMs(failed, now) : 0
  if (waitMs > 0) return [{ kind: 'again', afterMs: waitMs }]
  const { name = '', uid = '' } = job.metadata
  const labels = {
    'job-name': name,
    'controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'batch.kubernetes.io/controller-uid': uid,
  }
  return Array.from({ length: missing }, () => ({
    kind: 'create',
    of: podKind,
    object: podFromTemplate(job.spec?.template, job, jobs, labels),
    owner: job,
  }))
}

/** How long the next pod still waits after the failures so far. */
function pauseMs(failed: readonly SchedulablePod[], now: Date): number {
  const ends = failed.map(endOf).filter((time) => !Number.isNaN(time))
  if (ends.length === 0) return 0
  const waitMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** (failed.length - 1))
  return Math.max(0, Math.max(...ends) + waitMs - now.getTime())
}

/** When a failed pod stopped, as far as it says so. */
const endOf = ({ metadata, status }: SchedulablePod): number =>
  Date.parse(
    conditionOf(status?.conditions, 'Ready')?.lastTransitionTime ??
      status?.startTime ??
      metadata.creationTimestamp ??
      '',
  )

function writeStatus(job: Job, counts: Counts, ending: Ending | undefined, now: Date): readonly Action[] {
  const stamp = now.toISOString().replace(/\.\d+Z$/, 'Z')
  const before = job.status
  const conditions: readonly Condition[] = ending
    ? [...(before?.conditions ?? []), { ...ending, status: 'True', lastTransitionTime: stamp }]
    : (before?.conditions ?? [])
  const status: JobStatus = {
    active: ending ? 0 : counts.active.length,
    ready: ending ? 0 : counts.active.filter(isReady).length,
    succeeded: counts.succeeded,
    failed: counts.failed.length,
    startTime: before?.startTime ?? stamp,
    ...(ending?.type === 'Complete' && { completionTime: stamp }),
    ...(conditions.length > 0 && { conditions }),
  }
  return isDeepStrictEqual({ ...noCounts, ...before }, { ...noCounts, ...before, ...status })
    ? []
    : [{ kind: 'patch', ref: refTo(jobs, job), patch: { status }, subresource: 'status' }]
}

/** The API may leave out a count of 0. */
const noCounts = { active: 0, ready: 0, succeeded: 0, failed: 0 }
