import t from 'tap'
import { HeaderList } from '#http'
import { timeoutsOf, withAskedRetries, withAskedTimeouts } from '#routes'
import type { Call } from '../../../waypoint/phase/call.ts'
import { dropSteering, mayAsk } from '../../../waypoint/phase/transform.ts'
import { noRetries } from '../kit.ts'

const words = [
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-retriable-status-codes',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-upstream-rq-timeout-alt-response',
]
const others = ['x-envoy', 'x_envoy_max_retries', 'grpc-timeout', 'x-request-id', 'cookie']
const values = ['', '5xx', '5', '0', '100', '1,2', '10m', 'odd']
const actions = [0, 5, 100].flatMap((timeoutMs) =>
  [0, 5, 100, 200].map((perTryTimeoutMs) => ({
    timeoutMs,
    retry: { ...noRetries, attempts: 2, perTryTimeoutMs },
  })),
)

t.test('who has none of the fields that ask for times and tries gets what the long way gives', async (t) => {
  for (const action of actions)
    for (const value of values) {
      const headers = new HeaderList(others.flatMap((name) => [name, value]))
      t.notOk(mayAsk(headers))
      t.equal(withAskedRetries(action.retry, { headers }), action.retry)
      t.strictSame(withAskedTimeouts(action, { headers }, false), timeoutsOf(action))
    }
})

t.test('whatever asks or has to be taken off goes the long way', async (t) => {
  for (const name of words) t.ok(mayAsk(new HeaderList(['cookie', 'a', name, '1'])), name)
  const headers = new HeaderList(words.flatMap((name) => [name, '1']))
  dropSteering({ request: { headers } } as Call)
  t.strictSame(headers.flat, [], 'and that is all of them')
  t.notOk(mayAsk(new HeaderList(['cookie', 'x-envoy-max-retries'])), 'a value is no name')
})
