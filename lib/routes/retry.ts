import type { DestinationPolicy } from './destination-policy.ts'
import type { RetryCondition, RetryPolicy } from './model.ts'
import type { RouteRequest } from './request.ts'

/** How one try ended, as far as it matters for another one. */
export type TryOutcome =
  | Readonly<{
      kind: 'response'
      status: number
      /** In the headers: only answers of trailers alone have it there. */
      grpcStatus?: number | undefined
      /** x-envoy-ratelimited: whoever says so is asked again only by who wants that. */
      rateLimited?: boolean
      /** Is there a header of this name (in lower case)? */
      has?: (name: string) => boolean
    }>
  /** No connection: refused, unreachable, TLS failed, or too slow. */
  | Readonly<{ kind: 'connect-failure' }>
  /** No answer: the connection or the stream ended before the headers. `sent`: the request's headers had left. */
  | Readonly<{ kind: 'reset'; sent: boolean }>
  | Readonly<{ kind: 'refused-stream' }>
  | Readonly<{ kind: 'per-try-timeout' }>
  /** The time of the whole request is over. */
  | Readonly<{ kind: 'timeout' }>
  /** A circuit breaker. */
  | Readonly<{ kind: 'overflow' }>

/** What else must be so for another try. */
export type RetryFacts = Readonly<{
  /** Tries made, this one included. */
  tries: number
  /** The whole request is at hand to be sent again. */
  replayable: boolean
  /** The client has had headers of an answer. */
  responded: boolean
  /** See `retryRoom`. */
  room: boolean
}>

export type RetryDecision =
  | Readonly<{ retry: true; because: RetryCondition }>
  | Readonly<{ retry: false; why: 'condition' | 'responded' | 'exhausted' | 'not-replayable' | 'no-room' }>

/** Whether a try that ended like this is followed by another. `exhausted` is told apart: the flag URX. */
export function shouldRetry(policy: RetryPolicy, outcome: TryOutcome, facts: RetryFacts): RetryDecision {
  const because = policy.on.find((condition) => fires(condition, outcome, policy))
  if (because === undefined || policy.attempts === 0) return { retry: false, why: 'condition' }
  if (facts.responded) return { retry: false, why: 'responded' }
  if (facts.tries > policy.attempts) return { retry: false, why: 'exhausted' }
  if (!facts.replayable) return { retry: false, why: 'not-replayable' }
  return facts.room ? { retry: true, because } : { retry: false, why: 'no-room' }
}

const grpcStatuses: ReadonlyMap<RetryCondition, number> = new Map([
  ['cancelled', 1],
  ['deadline-exceeded', 4],
  ['resource-exhausted', 8],
  ['internal', 13],
  ['unavailable', 14],
])

/** Envoy's conditions: for 5xx and gateway-error a try without an answer is a 503, and one that took too long a 504. */
function fires(
  condition: RetryCondition,
  outcome: TryOutcome,
  { statuses, headers = [] }: RetryPolicy,
): boolean {
  if (outcome.kind === 'timeout' || outcome.kind === 'overflow') return false
  const isAnswer = outcome.kind === 'response'
  if (isAnswer && outcome.rateLimited === true) return condition === 'envoy-ratelimited'
  switch (condition) {
    case '5xx':
      return !isAnswer || (outcome.status >= 500 && outcome.status < 600)
    case 'gateway-error':
      return !isAnswer || (outcome.status >= 502 && outcome.status <= 504)
    case 'reset':
      return !isAnswer
    case 'reset-before-request':
      return outcome.kind === 'connect-failure' || (outcome.kind === 'reset' && !outcome.sent)
    case 'connect-failure':
      return outcome.kind === 'connect-failure'
    case 'refused-stream':
      return outcome.kind === 'refused-stream'
    case 'envoy-ratelimited':
      return false
    case 'retriable-4xx':
      return isAnswer && outcome.status === 409
    case 'retriable-status-codes':
      return isAnswer && statuses.includes(outcome.status)
    case 'retriable-headers':
      return isAnswer && headers.some((name) => outcome.has?.(name) === true)
    default:
      return (
        isAnswer && outcome.grpcStatus !== undefined && outcome.grpcStatus === grpcStatuses.get(condition)
      )
  }
}

/** How long the `retry`-th retry (from 1) waits: somewhere from 0 to this. */
export const backoffWindowMs = ({ backoffBaseMs, backoffMaxMs }: RetryPolicy, retry: number): number =>
  Math.min((2 ** retry - 1) * backoffBaseMs, backoffMaxMs)

/** How long it waits. */
export const backoffMs = (policy: RetryPolicy, retry: number, random: () => number): number =>
  Math.floor(backoffWindowMs(policy, retry) * random())

/** Whether a destination that has so much under way may be sent a retry. */
export function retryRoom(
  { retryBudget, connections: { maxRetries } }: Pick<DestinationPolicy, 'retryBudget' | 'connections'>,
  { retries, requests }: Readonly<{ retries: number; requests: number }>,
): boolean {
  if (retryBudget === undefined) return retries < maxRetries
  return retries < Math.max(retryBudget.minConcurrency, (requests * retryBudget.percent) / 100)
}

const conditions: ReadonlySet<string> = new Set<RetryCondition>([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  ...grpcStatuses.keys(),
])

/** A word of Envoy's lists. */
export const isRetryCondition = (word: string): word is RetryCondition => conditions.has(word)

/**
 * No client may ask for more than this: each of its requests would cost an upstream as many, and Istio's rules give two.
 * Whoever has a certificate of the mesh is internal in Envoy's sense, whose word counts (facts: l7.md §3.1).
 */
const maxAskedRetries = 10
const conditionHeaders = ['x-envoy-retry-on', 'x-envoy-retry-grpc-on']

/** What the caller asks for in `x-envoy-*` headers, on top of the rule's policy; words that nobody knows ask for nothing. */
export function withAskedRetries(
  policy: RetryPolicy,
  { headers }: Pick<RouteRequest, 'headers'>,
): RetryPolicy {
  const asked = conditionHeaders.flatMap((name) => wordsOf(headers.joined(name))).filter(isRetryCondition)
  const most = wholeNumber(headers.joined('x-envoy-max-retries'))
  const statuses = wordsOf(headers.joined('x-envoy-retriable-status-codes')).map(wholeNumber)
  const names = wordsOf(headers.joined('x-envoy-retriable-header-names')).map((name) => name.toLowerCase())
  const asksMore = statuses.length > 0 || names.length > 0
  if (asked.length === 0 && most === undefined && !asksMore) return policy
  return {
    ...policy,
    attempts: askedAttempts(policy, asked.length > 0, most),
    on: [...new Set([...policy.on, ...asked])],
    statuses: [...policy.statuses, ...statuses.filter((status) => status !== undefined)],
    ...(names.length > 0 ? { headers: names } : {}),
  }
}

/** Who asks for retries where there are none gets one; what the rule gives anyway is not too many. */
const askedAttempts = ({ attempts }: RetryPolicy, asks: boolean, most: number | undefined): number =>
  most === undefined ? Math.max(attempts, asks ? 1 : 0) : Math.min(most, Math.max(attempts, maxAskedRetries))

export type Timeouts = Readonly<{ timeoutMs: number; perTryTimeoutMs: number }>

/**
 * The rule's timeouts, or those that the caller asks for. A deadline of gRPC counts as far as the rule's timeout lets it
 * (Istio gives every route maxGrpcTimeout). A try that may take longer than the whole has no limit of its own.
 */
export function withAskedTimeouts(
  { timeoutMs: ruleMs, retry }: Readonly<{ timeoutMs: number; retry: RetryPolicy }>,
  { headers }: Pick<RouteRequest, 'headers'>,
  isGrpc = false,
): Timeouts {
  const asked = wholeNumber(headers.joined('x-envoy-upstream-rq-timeout-ms'))
  const grpcMs = isGrpc ? grpcTimeoutMs(headers.joined('grpc-timeout')) : 0
  const timeoutMs = asked ?? (ruleMs > 0 && grpcMs > 0 ? Math.min(ruleMs, grpcMs) : ruleMs || grpcMs)
  const tryMs = wholeNumber(headers.joined('x-envoy-upstream-rq-per-try-timeout-ms')) ?? retry.perTryTimeoutMs
  return timeouts(timeoutMs, tryMs)
}

/** The rule's own, for who asks for none. */
export const timeoutsOf = ({
  timeoutMs,
  retry,
}: Readonly<{ timeoutMs: number; retry: RetryPolicy }>): Timeouts =>
  timeouts(timeoutMs, retry.perTryTimeoutMs)

const timeouts = (timeoutMs: number, tryMs: number): Timeouts => ({
  timeoutMs,
  perTryTimeoutMs: timeoutMs > 0 && tryMs >= timeoutMs ? 0 : tryMs,
})

const grpcUnitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
}

/** A deadline as gRPC writes it (`100m`); 0 for none, or what cannot be read. */
function grpcTimeoutMs(text: string | undefined): number {
  const [, digits = '', unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text ?? '') ?? []
  return Math.ceil(Number(digits) * (grpcUnitMs[unit] ?? 0))
}

/** The largest number that a deadline of gRPC may have: eight digits. */
const maxGrpcTimeout = 99_999_999

/** So many milliseconds as gRPC writes them, in the finest unit that has room for them. */
export function grpcTimeout(ms: number): string {
  const units = [
    [1, 'm'],
    [1_000, 'S'],
    [60_000, 'M'],
  ] as const
  const [size, unit] = units.find(([one]) => ms / one <= maxGrpcTimeout) ?? [3_600_000, 'H']
  return `${Math.min(maxGrpcTimeout, Math.floor(ms / size))}${unit}`
}

const wordsOf = (text: string | undefined): readonly string[] =>
  text === undefined ? [] : text.split(',').map((word) => word.trim())

const wholeNumber = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined
