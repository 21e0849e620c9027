import type { OutlierPolicy } from '#routes'
import { type Host, type HostHealth, isEjected } from './host.ts'

/** What came of a request or a connection, as far as it says something about its host. */
export type Outcome =
  | Readonly<{ kind: 'response'; status: number; grpcStatus?: number | undefined }>
  /** A connection of something that is not HTTP is there. */
  | Readonly<{ kind: 'connected' }>
  /** No answer: it could not be reached, or broke. */
  | Readonly<{ kind: 'local-failure' }>

type Verdict = 'ok' | 'eject'

const isGatewayError = (status: number) => status === 502 || status === 503 || status === 504

/** Of gRPC's statuses those that are errors of the server, as HTTP has them (Envoy). */
const ofGrpc: ReadonlyMap<number, number> = new Map([
  [2, 500],
  [4, 504],
  [12, 501],
  [13, 500],
  [14, 503],
  [15, 500],
])

type Seen = Readonly<{ bad: boolean; gateway: boolean }>
const well: Seen = { bad: false, gateway: false }

/** What an outcome counts as. What could not be reached is a 503; where a policy names statuses they alone are bad, and no gateway errors. */
function seenAs(outcome: Outcome, { statuses }: OutlierPolicy): Seen {
  if (outcome.kind === 'connected') return well
  if (outcome.kind === 'local-failure') return { bad: true, gateway: true }
  const { grpcStatus } = outcome
  const status = grpcStatus === undefined ? outcome.status : (ofGrpc.get(grpcStatus) ?? 200)
  if (statuses) return { bad: statuses.includes(status), gateway: false }
  return { bad: status >= 500, gateway: isGatewayError(status) }
}

/**
 * Counts an outcome for its host and says whether the host has now failed too often (facts: l7.md §3.4): a success
 * starts the counting anew, and what could not be reached counts as a 5xx unless it is counted apart.
 */
export function countOutcome(health: HostHealth, outcome: Outcome, policy: OutlierPolicy): Verdict {
  if (outcome.kind === 'local-failure' && policy.splitLocalOrigin) {
    health.consecutiveLocalFailures++
    return reached(health.consecutiveLocalFailures, policy.consecutiveLocalOriginFailures)
  }
  if (outcome.kind !== 'local-failure') health.consecutiveLocalFailures = 0
  // Counted apart, a connection says nothing about answers.
  if (outcome.kind === 'connected' && policy.splitLocalOrigin) return 'ok'
  const { bad, gateway } = seenAs(outcome, policy)
  health.consecutive5xx = bad ? health.consecutive5xx + 1 : 0
  health.consecutiveGatewayErrors = gateway ? health.consecutiveGatewayErrors + 1 : 0
  const byGateway = reached(health.consecutiveGatewayErrors, policy.consecutiveGatewayErrors)
  return byGateway === 'eject' ? byGateway : reached(health.consecutive5xx, policy.consecutive5xx)
}

const reached = (count: number, limit: number): Verdict => (limit > 0 && count >= limit ? 'eject' : 'ok')

/** May one more of so many be ejected? One always may (facts: l7.md §3.4). */
export const mayEject = (ejected: number, total: number, maxPercent: number): boolean =>
  ejected === 0 ? maxPercent > 0 : (ejected * 100) / total < maxPercent

/** Forgets everything. */
export const forgive = (health: HostHealth): void =>
  void Object.assign(health, {
    consecutive5xx: 0,
    consecutiveGatewayErrors: 0,
    consecutiveLocalFailures: 0,
    ejections: 0,
    ejectedUntil: 0,
  })

/** Forgets failures that have not come to an ejection. */
export const beginCounting = (health: HostHealth): void =>
  void Object.assign(health, { consecutive5xx: 0, consecutiveGatewayErrors: 0, consecutiveLocalFailures: 0 })

/** Ejects a host; each ejection that still counts makes it longer. */
export function eject({ health }: Host, policy: OutlierPolicy, now: number): void {
  const longest = Math.max(policy.maxEjectionMs, policy.baseEjectionMs)
  // One that is out for as long as can be is not further from coming back to normal.
  if (policy.baseEjectionMs * health.ejections < longest) health.ejections++
  health.ejectedUntil = now + Math.min(policy.baseEjectionMs * health.ejections, longest)
  beginCounting(health)
}

/** Ends of intervals: so many, the last of them then. */
type IntervalEnds = Readonly<{ count: number; last: number; intervalMs: number }>

/**
 * What they do: hosts whose time is over come back, and begin anew; for each end at which a host was there, one ejection
 * less counts. Nobody looks while nobody asks, so there may be many at once.
 */
export function sweep(hosts: Iterable<Host>, { count, last, intervalMs }: IntervalEnds): boolean {
  let changed = false
  for (const host of hosts) {
    const { health } = host
    if (health.ejectedUntil > last) continue
    // Those after the one at which it came back.
    const healthy = isEjected(host) ? Math.floor((last - health.ejectedUntil) / intervalMs) : count
    health.ejections = Math.max(0, health.ejections - healthy)
    if (!isEjected(host)) continue
    health.ejectedUntil = 0
    // What failed while it was out says nothing about how it is now.
    beginCounting(health)
    changed = true
  }
  return changed
}
