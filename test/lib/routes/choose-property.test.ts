import fc from 'fast-check'
import t from 'tap'
import {
  type Caller,
  chooseRoute,
  explainRoute,
  type HttpRule,
  routeTable,
} from '../../../lib/routes/index.ts'
import { naiveChoice } from './oracle.ts'
import { request, rule } from './routes-kit.ts'

// A small world, so that rules and requests meet.
const segment = fc.constantFrom('a', 'b', 'A', 'ab', '')
const path = fc.array(segment, { maxLength: 3 }).map((segments) => `/${segments.join('/')}`)
const word = fc.constantFrom('', 'x', 'y', 'xy', 'X')
const pattern = fc.constantFrom(
  'x|y',
  '.*',
  'x.*',
  '[xy]+',
  '/a.*',
  '/ab?',
  '/a*',
  '/ab{0}',
  '/a+',
  '/a/b',
  '(?i)/a',
  '/(a|b)/?',
  '/a|/b',
  '.*b',
  '(?:/a)+',
)
const text = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const), value: word }),
  fc.record({ kind: fc.constant('regex' as const), value: pattern }),
)
const presence = fc.oneof(text, fc.constant({ kind: 'present' as const }))
const segments = path.map((value) => (value.length > 1 ? value.replace(/\/+$/, '') || '/' : value))
const pathMatch = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value: path }),
  fc.record({
    kind: fc.constant('segments' as const),
    value: segments.filter((value) => !value.includes('//')),
  }),
  fc.record({ kind: fc.constant('regex' as const), value: pattern }),
)
const name = fc.constantFrom('h1', 'h2')
const match = fc.record(
  {
    path: pathMatch,
    ignorePathCase: fc.boolean(),
    method: fc.constantFrom(
      { kind: 'exact' as const, value: 'GET' },
      { kind: 'exact' as const, value: 'POST' },
    ),
    headers: fc.array(
      fc.record(
        { name, value: presence, negated: fc.boolean(), missingIsEmpty: fc.boolean() },
        { requiredKeys: ['name', 'value'] },
      ),
      { maxLength: 2 },
    ),
    query: fc.array(fc.record({ name: fc.constantFrom('p', 'q'), value: presence }), { maxLength: 1 }),
    source: fc.record(
      { namespace: fc.constantFrom('shop', 'bank'), labels: fc.constantFrom({}, { app: 'a' }) },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
)
const rules = fc
  .array(match, { maxLength: 30 })
  .map((matches): readonly HttpRule[] => matches.map((one, i) => rule(`r${i}`, one)))
const query = fc.constantFrom('', '?p=x', '?q=&p=y', '?p&q=x', '?p=x&p=y', '?pp=x')
const asked = fc.record({
  path,
  query,
  method: fc.constantFrom('GET', 'POST'),
  headers: fc.dictionary(name, word, { maxKeys: 2 }),
})
const caller: fc.Arbitrary<Caller> = fc.record(
  {
    namespace: fc.constantFrom('shop', 'bank'),
    label: fc.constantFrom('', 'a', 'b').map((app) => (key: string) => (key === 'app' ? app : '')),
  },
  { requiredKeys: [] },
)

t.setTimeout(300_000) // ten thousand tables, on a machine that may be slow

t.test(
  'the index finds the rule that looking at one after the other finds, and explains it the same',
  async (t) => {
    let matched = 0
    const questions = fc.array(fc.tuple(asked, caller), { minLength: 2, maxLength: 4 })
    fc.assert(
      fc.property(rules, questions, (list, all) => {
        const table = routeTable({ http: list })
        for (const [{ path: asks, query: and, method, headers }, who] of all) {
          const question = request(asks + and, headers, { method })
          const want = naiveChoice(list, question, who)
          const choice = chooseRoute(table, question, who, () => 0)
          const got = choice.rule === undefined ? -1 : list.indexOf(choice.rule)
          const explained = explainRoute(table, question, who)
          const last = explained.findIndex(({ matches }) => matches)
          if (want >= 0) matched++
          if (got !== want || last !== want || (want < 0 && explained.length !== list.length)) return false
        }
        return true
      }),
      { numRuns: 10_000 },
    )
    t.ok(matched > 5_000, `${matched} requests matched a rule`)
  },
)

t.test('rules that only a header or the caller tells apart are found as well', async (t) => {
  const list = Array.from({ length: 40 }, (_, i) =>
    rule(`user ${i}`, { headers: [{ name: 'end-user', value: { kind: 'exact', value: `u${i}` } }] }),
  ).concat(rule('rest', {}))
  const table = routeTable({ http: list })
  for (const user of ['u0', 'u17', 'u39', 'u40', '']) {
    const choice = chooseRoute(table, request('/', { 'end-user': user }), {}, () => 0)
    t.equal(choice.rule?.name, /^u(\d|[123]\d)$/.test(user) ? `user ${user.slice(1)}` : 'rest', user)
  }
})
