import { getEventListeners } from 'node:events'
import t from 'tap'
import { abortable, backoffMs, coalesce, isRetryable, MeshError, retry, sleep, timerMs, within } from '#base'

const never = new AbortController().signal
const quick = { baseMs: 0, capMs: 0 }

t.test('what may be tried again follows from the code and from whether bytes left', async (t) => {
  t.equal(isRetryable(new MeshError('identity-unavailable')), true)
  t.equal(isRetryable(new MeshError('connect-failed', { unsent: true })), true)
  t.equal(isRetryable(new MeshError('connect-failed')), false)
  t.equal(isRetryable(new MeshError('tls-failed', { unsent: true })), false)
  t.equal(isRetryable(new Error('bug')), false)
})

t.test('retry stops at success, at the number of attempts and at what may not be repeated', async (t) => {
  let calls = 0
  const failing = (times: number, error: Error) => async () => {
    if (++calls <= times) throw error
    return 'done'
  }
  const soft = new MeshError('unavailable')
  t.equal(await retry(failing(2, soft), { signal: never, ...quick }), 'done')
  t.equal(calls, 3)
  calls = 0
  await t.rejects(retry(failing(9, soft), { signal: never, attempts: 4, ...quick }), soft)
  t.equal(calls, 4)
  calls = 0
  await t.rejects(retry(failing(9, new Error('bug')), { signal: never, ...quick }), { message: 'bug' })
  t.equal(calls, 1)
})

t.test('a cancelled retry makes no further attempt and rejects with the reason', async (t) => {
  const abort = new AbortController()
  let calls = 0
  const attempt = async () => {
    calls++
    abort.abort(new Error('stop'))
    throw new MeshError('unavailable')
  }
  await t.rejects(retry(attempt, { signal: abort.signal, baseMs: 60_000 }), MeshError)
  t.equal(calls, 1)
  await t.rejects(sleep(60_000, abort.signal), { message: 'stop' })
})

t.test('a wait that is longer than a timer can be is long, not over at once', async (t) => {
  const abort = new AbortController()
  let over = false
  const waiting = sleep(2 ** 31, abort.signal).finally(() => (over = true))
  const deadline = within(2 ** 40, new AbortController().signal)
  await sleep(20, new AbortController().signal)
  t.equal(over, false)
  t.equal(deadline.aborted, false)
  abort.abort(new Error('stop'))
  await t.rejects(waiting, { message: 'stop' })
})

t.test('waits double, jitter within a fifth and keep to the cap', async (t) => {
  t.equal(backoffMs(1, { baseMs: 100, random: () => 0.5 }), 100)
  t.equal(backoffMs(4, { baseMs: 100, random: () => 0.5 }), 800)
  t.equal(backoffMs(99, { baseMs: 100, capMs: 1000, random: () => 0.999_999 }) <= 1200, true)
  t.equal(Math.round(backoffMs(1, { baseMs: 100, random: () => 0 })), 80)
})

t.test('requests during a run become exactly one more run', async (t) => {
  let runs = 0
  const gates: (() => void)[] = []
  const task = coalesce(async () => {
    runs++
    await new Promise<void>((go) => gates.push(go))
  })
  const first = task()
  const second = task()
  const third = task()
  t.equal(runs, 1)
  t.equal(second, third)
  gates.shift()?.()
  await first
  await Promise.resolve()
  t.equal(runs, 2)
  gates.shift()?.()
  await second
  t.equal(runs, 2)
})

t.test('who gives up waiting leaves the promise to others, and its signal without a listener', async (t) => {
  const task = Promise.withResolvers<string>()
  const [one, two] = [new AbortController(), new AbortController()]
  const [first, second] = [abortable(task.promise, one.signal), abortable(task.promise, two.signal)]
  one.abort(new Error('enough'))
  await t.rejects(first, { message: 'enough' })
  await t.rejects(abortable(task.promise, one.signal), { message: 'enough' }, 'also who came too late')
  task.resolve('done')
  t.equal(await second, 'done')
  await Promise.resolve()
  t.equal(getEventListeners(two.signal, 'abort').length, 0)
})

t.test('timers get what they can take', async (t) => {
  const cases: [given: number, taken: number][] = [
    [0, 0],
    [-1, 0],
    [Number.NaN, 0],
    [0.2, 1],
    [5_000, 5_000],
    [2 ** 31 - 1, 2 ** 31 - 1],
    [2 ** 31, 2 ** 31 - 1],
    [2 ** 60, 2 ** 31 - 1],
    [Number.POSITIVE_INFINITY, 2 ** 31 - 1],
  ]
  for (const [given, taken] of cases) t.equal(timerMs(given), taken, `${given}`)
  t.equal(within(Number.POSITIVE_INFINITY, never).aborted, false)
})
