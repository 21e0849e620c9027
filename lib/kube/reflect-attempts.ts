import { isStatus, KubeError } from './kube-error.ts'

/** What the attempts at a list and a watch have come to; decides how the next one is made, and when. */
export type Attempts = Readonly<{
  /** Where the next watch begins; undefined when everything has to be told again. */
  version: string | undefined
  /** Ask for what exists as events of the watch. */
  streamed: boolean
  failures: number
  /** Refusals in a row by the API server itself. */
  refusals: number
  /** Streams of what exists that broke off. */
  unfinished: number
  missingSinceMs: number
}>

/** What is known of an attempt that failed. */
export type Failed = Readonly<{
  error: unknown
  version: string | undefined
  /** An event came. */
  any: boolean
  /** It was still being told what exists. */
  unfinished: boolean
  lastedMs: number
  nowMs: number
  /** Rows are held. */
  holds: boolean
}>

type Next = Readonly<{ attempts: Attempts }> &
  Readonly<
    | { kind: 'absent' }
    | { kind: 'list' }
    /** `quiet`: the log has said so, or it is usual. */
    | { kind: 'again'; quiet: boolean; wait: boolean }
  >

/** Refusals in a row to watch from one version before everything is listed again: the server may have lost its past. */
const maxRefusalsOfVersion = 3
/** Streams of what exists that broke off before their end; something in between may not let them through. */
const maxUnfinished = 3
/** A watch that lived this long before it failed was no failure to connect. */
const healthyMs = 30_000

export const firstAttempt = (streamed: boolean): Attempts => ({
  version: undefined,
  streamed,
  failures: 0,
  refusals: 0,
  unfinished: 0,
  missingSinceMs: Infinity,
})

/** After a watch ended as it should, at `version`. */
export const afterEnd = (attempts: Attempts, version: string | undefined): Attempts => ({
  ...attempts,
  version,
  failures: 0,
  missingSinceMs: Infinity,
})

/** After an attempt failed. `optional` kinds may be absent; one that had rows is believed to be after `forgetMs`. */
export function afterFailure(
  attempts: Attempts,
  failed: Failed,
  { optional, forgetMs }: Readonly<{ optional: boolean; forgetMs: number }>,
): Next {
  const { error, nowMs } = failed
  const missing = isStatus(error, 404)
  const missingSinceMs = missing ? Math.min(attempts.missingSinceMs, nowMs) : Infinity
  const isKnown = failed.holds && nowMs - missingSinceMs < forgetMs
  if (optional && attempts.version === undefined && missing && !isKnown)
    return { kind: 'absent', attempts: { ...attempts, missingSinceMs } }
  const unfinished = attempts.unfinished + Number(failed.unfinished && !isNotOffered(error))
  if (failed.unfinished && (isNotOffered(error) || unfinished >= maxUnfinished))
    return { kind: 'list', attempts: { ...attempts, missingSinceMs, unfinished, streamed: false } }
  const fresh = failed.any || failed.lastedMs > healthyMs
  const failures = fresh ? 1 : attempts.failures + 1
  // Silence and refused connections say nothing about what the server still knows.
  const answered = error instanceof KubeError && error.status !== 0
  const refusals = answered ? (fresh ? 1 : attempts.refusals + 1) : attempts.refusals
  const expired = isExpired(error)
  const version = expired || refusals >= maxRefusalsOfVersion ? undefined : failed.version
  const quiet = expired || failures > 1
  return {
    kind: 'again',
    // One line per outage and kind; the rest of it is the same line again.
    quiet,
    wait: !expired || failures > 1,
    attempts: {
      ...attempts,
      version,
      failures,
      refusals: version === undefined ? 0 : refusals,
      unfinished,
      missingSinceMs,
    },
  }
}

/** What API servers without WatchList say to its parameters. */
const isNotOffered = (error: unknown) => isStatus(error, 400) || isStatus(error, 422)

const isExpired = (error: unknown) =>
  isStatus(error, 410) ||
  (error instanceof KubeError && (error.reason === 'Expired' || error.reason === 'Gone'))
