import t from 'tap'
import { answerReview, type Judge, judge, parseReview } from '../../../controller/webhook/index.ts'

const no: Judge = () => ({ errors: ['spec.rules[0].x: bad; try y', 'rubbish'], warnings: ['w'.repeat(300)] })
const review = (request: unknown) => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request,
})
const base = {
  uid: 'u-1',
  kind: { group: 'security.istio.io', version: 'v1', kind: 'AuthorizationPolicy' },
  resource: { group: 'security.istio.io', version: 'v1', resource: 'authorizationpolicies' },
  operation: 'CREATE',
  namespace: 'shop',
  name: 'p',
  object: { metadata: { name: 'p' }, spec: { rules: [] } },
}
const answerTo = (request: unknown, by: Judge = no) => {
  const parsed = parseReview(review(request))
  return parsed && answerReview(parsed, judge(parsed, by)).response
}

t.test('a refusal names the object, each field, and what to do', async (t) => {
  const response = answerTo(base)
  t.match(response, {
    uid: 'u-1',
    allowed: false,
    status: {
      code: 422,
      reason: 'Invalid',
      message: 'AuthorizationPolicy shop/p: spec.rules[0].x: bad; try y; rubbish',
      details: {
        causes: [
          { field: 'spec.rules[0].x', message: 'bad; try y' },
          { field: 'spec', message: 'rubbish' },
        ],
      },
    },
  })
  t.equal(response?.warnings?.[0]?.length, 256)
})

t.test('names that no API server has are cut before they stand anywhere', async (t) => {
  const long = 'x'.repeat(100_000)
  const kind = { group: long, version: long, kind: long }
  const parsed = parseReview(
    review({ ...base, kind, resource: { resource: long }, name: long, namespace: long, object: {} }),
  )
  t.ok(JSON.stringify(parsed).length < 3_000)
  const response = parsed && answerReview(parsed, { errors: ['spec: no'], warnings: [] }).response
  t.ok(JSON.stringify(response).length < 3_000)
  t.equal(response?.uid, 'u-1')
})

t.test('what is judged is where the request says', async (t) => {
  let seen: unknown
  answerTo({ ...base, object: { metadata: { generateName: 'p-' }, spec: 1 } }, (reviewed) => {
    seen = reviewed
    return undefined
  })
  t.match(seen, {
    kind: 'AuthorizationPolicy',
    object: { metadata: { namespace: 'shop', name: 'p' }, spec: 1 },
  })
})

const passes: readonly [string, Record<string, unknown>][] = [
  ['a deletion', { operation: 'DELETE', object: null }],
  ['a connection', { operation: 'CONNECT' }],
  [
    'a change beside the spec',
    { operation: 'UPDATE', oldObject: { metadata: { labels: {} }, spec: { rules: [] } } },
  ],
  [
    'an object on its way out',
    { operation: 'UPDATE', object: { metadata: { deletionTimestamp: 'now' }, spec: 5 } },
  ],
]
for (const [title, more] of passes)
  t.test(`passes unread: ${title}`, async (t) => {
    t.same(answerTo({ ...base, ...more }), { uid: 'u-1', allowed: true })
  })

t.test('a change of the spec is read', async (t) => {
  t.equal(answerTo({ ...base, operation: 'UPDATE', oldObject: { spec: {} } })?.allowed, false)
})

t.test('kinds that nobody reads pass', async (t) => {
  t.equal(answerTo(base, () => undefined)?.allowed, true)
})

t.test('Istio’s question whether the webhook is at work is answered no', async (t) => {
  const annotations = { 'internal.istio.io/webhook-always-reject': 'true' }
  const object = { metadata: { annotations }, spec: {} }
  t.equal(answerTo({ ...base, object }, () => undefined)?.allowed, false)
})

t.test('what is no review is none', async (t) => {
  for (const value of [
    null,
    5,
    [],
    {},
    review(null),
    review({}),
    review({ ...base, uid: 5 }),
    review({ ...base, kind: 'x' }),
  ])
    t.equal(parseReview(value), undefined)
  t.equal(parseReview({ ...review(base), apiVersion: 'admission.k8s.io/v1beta1' }), undefined)
})

t.test('a refusal is bounded', async (t) => {
  const many: Judge = () => ({
    errors: Array.from({ length: 1_000 }, (_, i) => `spec.a[${i}]: ${'x'.repeat(100)}`),
    warnings: Array.from({ length: 99 }, () => 'w'),
  })
  const response = answerTo(base, many)
  t.ok(JSON.stringify(response).length < 12_000)
  t.equal(response?.warnings?.length, 16)
})
