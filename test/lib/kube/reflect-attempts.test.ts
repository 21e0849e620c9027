import t from 'tap'
import { KubeError } from '#kube'
import {
  type Attempts,
  afterEnd,
  afterFailure,
  type Failed,
  firstAttempt,
} from '../../../lib/kube/reflect-attempts.ts'

const watching: Attempts = { ...firstAttempt(true), version: '7' }
const refused = (status: number, reason = '') => new KubeError(status, reason, 'x')
const failed = (error: unknown, extra: Partial<Failed> = {}): Failed => ({
  error,
  version: '9',
  any: false,
  unfinished: false,
  lastedMs: 10,
  nowMs: 1_000,
  holds: true,
  ...extra,
})
const rules = { optional: false, forgetMs: 300 }

const cases: [string, Attempts, Failed, string][] = [
  ['a first failure is said aloud', watching, failed(new Error('x')), 'again aloud wait from 9, failures 1'],
  [
    'a second is not',
    { ...watching, failures: 1 },
    failed(new Error('x')),
    'again quiet wait from 9, failures 2',
  ],
  [
    'one after events is a first again',
    { ...watching, failures: 5 },
    failed(new Error('x'), { any: true }),
    'again aloud wait from 9, failures 1',
  ],
  [
    'so is one after a long life',
    { ...watching, failures: 5 },
    failed(new Error('x'), { lastedMs: 60_000 }),
    'again aloud wait from 9, failures 1',
  ],
  [
    'what expired is listed at once',
    watching,
    failed(refused(410)),
    'again quiet at once from -, failures 1',
  ],
  ['by its reason, too', watching, failed(refused(0, 'Expired')), 'again quiet at once from -, failures 1'],
  [
    'but not in a tight loop',
    { ...watching, failures: 1 },
    failed(refused(410)),
    'again quiet wait from -, failures 2',
  ],
  [
    'a version that is refused again and again is given up',
    { ...watching, refusals: 2 },
    failed(refused(500)),
    'again aloud wait from -, failures 1',
  ],
  [
    'one that nobody refused is not',
    { ...watching, refusals: 2 },
    failed(new Error('x')),
    'again aloud wait from 9, failures 1',
  ],
  ['a stream that is not offered is a list', watching, failed(refused(422), { unfinished: true }), 'list'],
  [
    'a stream that breaks off is tried again',
    watching,
    failed(new Error('x'), { unfinished: true }),
    'again aloud wait from 9, failures 1',
  ],
  ['three times', { ...watching, unfinished: 2 }, failed(new Error('x'), { unfinished: true }), 'list'],
]
const told = (next: ReturnType<typeof afterFailure>) =>
  next.kind === 'again'
    ? `again ${next.quiet ? 'quiet' : 'aloud'} ${next.wait ? 'wait' : 'at once'} from ${next.attempts.version ?? '-'}, failures ${next.attempts.failures}`
    : next.kind
for (const [name, attempts, failure, want] of cases)
  t.test(name, async (t) => t.equal(told(afterFailure(attempts, failure, rules)), want))

t.test('a kind that may be absent', async (t) => {
  const may = { ...rules, optional: true }
  const first = firstAttempt(false)
  const gone = failed(refused(404), { version: undefined })
  t.equal(afterFailure(first, gone, rules).kind, 'again', 'others may not')
  t.equal(
    afterFailure(first, { ...gone, holds: false }, may).kind,
    'absent',
    'is, when nothing is held of it',
  )
  t.equal(afterFailure(watching, gone, may).kind, 'again', 'is not while it was being watched')
  const once = afterFailure(first, gone, may)
  t.equal(once.kind, 'again', 'is not believed to be gone at once')
  t.equal(afterFailure(once.attempts, { ...gone, nowMs: 1_299 }, may).kind, 'again')
  t.equal(afterFailure(once.attempts, { ...gone, nowMs: 1_300 }, may).kind, 'absent', 'but after a while')
  const back = afterFailure(once.attempts, { ...gone, error: new Error('x') }, may).attempts
  t.equal(afterFailure(back, { ...gone, nowMs: 1_300 }, may).kind, 'again', 'that nothing else interrupted')
})

t.test('a stream that was refused is not asked for again, and an end forgives failures', async (t) => {
  t.equal(afterFailure(watching, failed(refused(400), { unfinished: true }), rules).attempts.streamed, false)
  t.match(afterEnd({ ...watching, failures: 4 }, '12'), { version: '12', failures: 0 })
})
