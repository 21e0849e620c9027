import t from 'tap'
import {
  backoffMs,
  backoffWindowMs,
  grpcTimeout,
  isRetryCondition,
  type RetryPolicy,
  retryRoom,
  shouldRetry,
  type TryOutcome,
  withAskedRetries,
  withAskedTimeouts,
} from '../../../lib/routes/index.ts'
import { forward, policy, request, to } from './routes-kit.ts'

const usual: RetryPolicy = forward('a').retry
const on = (...conditions: RetryPolicy['on'][number][]): RetryPolicy => ({
  ...usual,
  on: conditions,
  statuses: [418, 504],
  headers: ['x-again'],
})
const facts = { tries: 1, replayable: true, responded: false, room: true }

const outcomes = {
  200: { kind: 'response', status: 200 },
  409: { kind: 'response', status: 409 },
  418: { kind: 'response', status: 418 },
  429: { kind: 'response', status: 429, rateLimited: true },
  limited: { kind: 'response', status: 503, rateLimited: true, has: () => true },
  again: { kind: 'response', status: 200, has: (name: string) => name === 'x-again' },
  500: { kind: 'response', status: 500 },
  503: { kind: 'response', status: 503 },
  cancelled: { kind: 'response', status: 200, grpcStatus: 1 },
  deadline: { kind: 'response', status: 200, grpcStatus: 4 },
  exhausted: { kind: 'response', status: 200, grpcStatus: 8 },
  internal: { kind: 'response', status: 200, grpcStatus: 13 },
  unavailable: { kind: 'response', status: 200, grpcStatus: 14 },
  connect: { kind: 'connect-failure' },
  unsent: { kind: 'reset', sent: false },
  reset: { kind: 'reset', sent: true },
  refused: { kind: 'refused-stream' },
  slow: { kind: 'per-try-timeout' },
  timeout: { kind: 'timeout' },
  overflow: { kind: 'overflow' },
} as const satisfies Record<string, TryOutcome>

/** Exactly these are tried again. */
const table: readonly [RetryPolicy['on'][number], string][] = [
  ['5xx', '500 503 connect unsent reset refused slow'],
  ['gateway-error', '503 connect unsent reset refused slow'],
  ['reset', 'connect unsent reset refused slow'],
  ['reset-before-request', 'connect unsent'],
  ['connect-failure', 'connect'],
  ['refused-stream', 'refused'],
  ['envoy-ratelimited', '429 limited'],
  ['retriable-4xx', '409'],
  ['retriable-status-codes', '418'],
  ['retriable-headers', 'again'],
  ['cancelled', 'cancelled'],
  ['deadline-exceeded', 'deadline'],
  ['resource-exhausted', 'exhausted'],
  ['internal', 'internal'],
  ['unavailable', 'unavailable'],
]
t.test('each condition fires on what Envoy documents, and on nothing else', async (t) => {
  for (const [condition, want] of table) {
    const got = Object.entries(outcomes).filter(
      ([, outcome]) => shouldRetry(on(condition), outcome, facts).retry,
    )
    t.strictSame(got.map(([name]) => name).toSorted(), want.split(' ').toSorted(), condition)
    t.ok(isRetryCondition(condition))
  }
  t.notOk(isRetryCondition('constructor'))
})

t.test('a try that may be followed by another is not always', async (t) => {
  const { connect } = outcomes
  t.strictSame(shouldRetry(usual, connect, facts), { retry: true, because: 'connect-failure' })
  t.strictSame(shouldRetry(usual, connect, { ...facts, tries: 2 }), {
    retry: true,
    because: 'connect-failure',
  })
  const no = (why: string) => ({ retry: false, why })
  t.strictSame(shouldRetry(usual, connect, { ...facts, tries: 3 }), no('exhausted'), 'two retries were made')
  t.strictSame(shouldRetry(usual, connect, { ...facts, replayable: false }), no('not-replayable'))
  t.strictSame(shouldRetry(usual, connect, { ...facts, responded: true }), no('responded'))
  t.strictSame(shouldRetry(usual, connect, { ...facts, room: false }), no('no-room'))
  t.strictSame(shouldRetry({ ...usual, attempts: 0 }, connect, facts), no('condition'))
})

t.test('retries wait up to 25, 75, 175, then 250 ms', async (t) => {
  t.strictSame(
    [1, 2, 3, 4, 5, 1_000].map((n) => backoffWindowMs(usual, n)),
    [25, 75, 175, 250, 250, 250],
  )
  t.equal(
    backoffMs(usual, 2, () => 0),
    0,
  )
  t.equal(
    backoffMs(usual, 2, () => 0.999),
    74,
  )
})

t.test('retries have room up to a number, or to a share of what is under way', async (t) => {
  const one = policy(to('a'))
  const few = { ...one, connections: { ...one.connections, maxRetries: 2 } }
  t.strictSame(
    [1, 2].map((retries) => retryRoom(few, { retries, requests: 100 })),
    [true, false],
  )
  const budget = { ...few, retryBudget: { percent: 20, minConcurrency: 3, intervalMs: 0 } }
  t.strictSame(
    [2, 3].map((retries) => retryRoom(budget, { retries, requests: 5 })),
    [true, false],
    'at least 3',
  )
  t.strictSame(
    [19, 20].map((retries) => retryRoom(budget, { retries, requests: 100 })),
    [true, false],
    '20 of 100',
  )
})

t.test('callers may ask for retries and timeouts', async (t) => {
  t.equal(withAskedRetries(usual, request('/')), usual)
  const asked = withAskedRetries(
    usual,
    request('/', { 'x-envoy-retry-on': '5xx, moon', 'x-envoy-retriable-status-codes': '418,x' }),
  )
  t.strictSame([asked.on.at(-1), asked.on.length, asked.attempts, asked.statuses], ['5xx', 5, 2, [418]])
  t.equal(withAskedRetries(usual, request('/', { 'x-envoy-max-retries': '7' })).attempts, 7)
  t.equal(withAskedRetries(usual, request('/', { 'x-envoy-max-retries': '99999' })).attempts, 10)
  t.equal(
    withAskedRetries({ ...usual, attempts: 0, on: [] }, request('/', { 'x-envoy-retry-grpc-on': 'internal' }))
      .attempts,
    1,
  )
  t.equal(
    withAskedRetries({ ...usual, attempts: 20 }, request('/', { 'x-envoy-retry-on': '5xx' })).attempts,
    20,
    'no fewer than the rule gives',
  )
  const more = request('/', {
    'x-envoy-retriable-status-codes': '404',
    'x-envoy-retriable-header-names': 'X-Again , x-more',
  })
  t.match(withAskedRetries({ ...usual, attempts: 0, on: [] }, more), {
    attempts: 0,
    on: [],
    statuses: [404],
    headers: ['x-again', 'x-more'],
  })
  const forwarding = { ...forward('a'), timeoutMs: 500 }
  t.strictSame(withAskedTimeouts(forwarding, request('/')), { timeoutMs: 500, perTryTimeoutMs: 0 })
  const headers = { 'x-envoy-upstream-rq-timeout-ms': '5', 'x-envoy-upstream-rq-per-try-timeout-ms': '-1' }
  t.strictSame(withAskedTimeouts(forwarding, request('/', headers)), { timeoutMs: 5, perTryTimeoutMs: 0 })
})

t.test('a deadline of gRPC counts as far as the rule lets it, and for gRPC alone', async (t) => {
  const cases: [string, number, number][] = [
    ['100m', 0, 100],
    ['2S', 500, 500],
    ['100m', 500, 100],
    ['1H', 0, 3_600_000],
    ['500u', 0, 1],
    ['0m', 500, 500],
    ['123456789m', 500, 500],
    ['5x', 0, 0],
  ]
  for (const [text, timeoutMs, want] of cases) {
    const rule = { timeoutMs, retry: usual }
    const asked = request('/', { 'grpc-timeout': text })
    t.equal(withAskedTimeouts(rule, asked, true).timeoutMs, want, `${text} of ${timeoutMs}`)
    t.equal(withAskedTimeouts(rule, asked).timeoutMs, timeoutMs, `${text} without gRPC`)
  }
})

t.test('a deadline of gRPC has eight digits at most, whatever is left of it', async (t) => {
  for (const [ms, text] of [
    [1, '1m'],
    [99_999_999, '99999999m'],
    [100_000_000, '100000S'],
    [360_000_999, '360000S'],
    [100_000_000_000, '1666666M'],
    [6_000_000_000_000, '1666666H'],
    [1e18, '99999999H'],
  ] as const)
    t.equal(grpcTimeout(ms), text)
  const month = request('/', { 'grpc-timeout': '720H' })
  t.equal(grpcTimeout(withAskedTimeouts({ timeoutMs: 0, retry: usual }, month, true).timeoutMs), '2592000S')
})

t.test('a try that may take as long as everything has no limit of its own', async (t) => {
  const rule = { timeoutMs: 300, retry: { ...usual, perTryTimeoutMs: 300 } }
  t.equal(withAskedTimeouts(rule, request('/')).perTryTimeoutMs, 0)
  t.equal(withAskedTimeouts({ ...rule, timeoutMs: 301 }, request('/')).perTryTimeoutMs, 300)
  t.equal(withAskedTimeouts({ ...rule, timeoutMs: 0 }, request('/')).perTryTimeoutMs, 300)
})
