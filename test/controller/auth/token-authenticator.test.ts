import { Metadata } from '@grpc/grpc-js'
import t from 'tap'
import { callerFrom, tokenAuthenticator } from '../../../controller/auth/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'

const audiences = ['istio-ca']
const user = (username: string, extra: Record<string, string[]> = {}) => ({ username, extra })
const pod = {
  'authentication.kubernetes.io/pod-name': ['ztunnel-1'],
  'authentication.kubernetes.io/pod-uid': ['uid-1'],
}
const account = 'system:serviceaccount:istio-system:ztunnel'
const accepted = { authenticated: true, audiences }

const reviews: readonly [string, object, object][] = [
  [
    'a pod’s',
    { ...accepted, user: user(account, pod) },
    {
      kind: 'caller',
      namespace: 'istio-system',
      serviceAccount: 'ztunnel',
      pod: { name: 'ztunnel-1', uid: 'uid-1' },
    },
  ],
  ['bound to no pod', { ...accepted, user: user(account) }, { kind: 'caller', pod: undefined }],
  [
    'a pod’s name without its UID',
    { ...accepted, user: user(account, { 'authentication.kubernetes.io/pod-name': ['x'] }) },
    { kind: 'caller', pod: undefined },
  ],
  ['not accepted', { authenticated: false, error: 'expired' }, { kind: 'refused', reason: /expired/ }],
  ['no answer', {}, { kind: 'refused' }],
  [
    'for another audience',
    { ...accepted, audiences: ['https://kubernetes.default.svc'], user: user(account) },
    { kind: 'refused', reason: /audience/ },
  ],
  ['for no audience', { authenticated: true, user: user(account) }, { kind: 'refused', reason: /audience/ }],
  ['a user’s', { ...accepted, user: user('admin') }, { kind: 'refused', reason: /service account/ }],
  ['a node’s', { ...accepted, user: user('system:node:n1') }, { kind: 'refused' }],
  ['a strange account name', { ...accepted, user: user('system:serviceaccount:a:b:c') }, { kind: 'refused' }],
]
for (const [title, status, want] of reviews)
  t.test(`a token ${title}`, async (t) => {
    t.match(callerFrom({ metadata: {}, spec: { token: 'x' }, status }, audiences), want)
  })

const withToken = (value: string) => {
  const metadata = new Metadata()
  metadata.set('authorization', value)
  return metadata
}

t.test('reviews once, remembers for five seconds, asks for our audience', async (t) => {
  await using kube = await FakeKube.start()
  const seen: unknown[] = []
  kube.hook(({ path, body }) => {
    if (!path.endsWith('/tokenreviews')) return undefined
    seen.push(body)
    return { status: 201, body: { status: { ...accepted, user: user(account, pod) } } }
  })
  let nowMs = 0
  const authenticate = tokenAuthenticator({
    client: kube.client(),
    audiences,
    signal: new AbortController().signal,
    now: () => nowMs,
  })
  await Promise.all([1, 2, 3].map(() => authenticate(withToken('Bearer abc'))))
  t.equal(seen.length, 1, 'together they are one review')
  t.match(seen[0], { spec: { token: 'abc', audiences } })
  nowMs = 4_999
  t.match(await authenticate(withToken('Bearer abc')), { kind: 'caller' })
  t.equal(seen.length, 1)
  await authenticate(withToken('bearer other'))
  t.equal(seen.length, 2)
  nowMs = 5_001
  await authenticate(withToken('Bearer abc'))
  t.equal(seen.length, 3, 'then it is reviewed again')
})

t.test('no token, garbage, or no API server: refused, never thrown', async (t) => {
  await using kube = await FakeKube.start()
  const authenticate = tokenAuthenticator({
    client: kube.client(),
    audiences,
    signal: new AbortController().signal,
  })
  t.match(await authenticate(new Metadata()), { kind: 'refused' })
  for (const value of ['', 'abc', 'Basic abc', 'Bearer', `Bearer ${'x'.repeat(20_000)}`, 'Bearer a b'])
    t.match(
      await authenticate(withToken(value)),
      { kind: 'refused', reason: 'no bearer token' },
      value.slice(0, 20),
    )
  t.equal(kube.requests.length, 0, 'nothing of that is worth a review')
  kube.hook(() => ({ status: 503, body: {} }))
  t.match(await authenticate(withToken('Bearer abc')), { kind: 'refused', reason: /review failed/ })
})

const start = (kube: FakeKube, now?: () => number) =>
  tokenAuthenticator({
    client: kube.client(),
    audiences,
    signal: new AbortController().signal,
    ...(now ? { now } : {}),
  })
const good = { status: 201, body: { status: { ...accepted, user: user(account, pod) } } }
const bad = { status: 201, body: { status: { authenticated: false, error: 'expired' } } }
const tokenIn = (body: unknown) => (body as { spec: { token: string } }).spec.token

t.test(
  'a revoked token is refused at the next review, and a token that was refused may become good',
  async (t) => {
    await using kube = await FakeKube.start()
    let valid = true
    kube.hook(() => (valid ? good : bad))
    let nowMs = 0
    const authenticate = start(kube, () => nowMs)
    t.match(await authenticate(withToken('Bearer abc')), { kind: 'caller' })
    valid = false
    nowMs = 5_001
    t.match(await authenticate(withToken('Bearer abc')), { kind: 'refused', later: false, reason: /expired/ })
    valid = true
    t.match(await authenticate(withToken('Bearer abc')), { kind: 'refused' }, 'not asked in a tight loop')
    nowMs = 6_100
    t.match(await authenticate(withToken('Bearer abc')), { kind: 'caller' })
  },
)

t.test('one address with made-up tokens uses up its own share of reviews only', async (t) => {
  await using kube = await FakeKube.start()
  kube.hook(({ body }) => (tokenIn(body).startsWith('junk') ? bad : good))
  let nowMs = 0
  const authenticate = start(kube, () => nowMs)
  const attacker = (n: number) => authenticate(withToken(`Bearer junk${n}`), `10.0.0.66:${4000 + n}`)
  t.match(await authenticate(withToken('Bearer its-good'), '10.0.0.66:1'), { kind: 'caller' })
  let later = 0
  for (let n = 0; n < 500; n++) {
    const answer = await attacker(n)
    t.equal(answer.kind, 'refused')
    if (answer.kind === 'refused' && answer.later) later++
  }
  t.equal(later, 480)
  t.equal(kube.requests.length, 21, 'the rest were not worth a review')
  t.match(
    await authenticate(withToken('Bearer abc'), '10.0.0.5:4000'),
    { kind: 'caller' },
    'others are served',
  )
  t.match(
    await authenticate(withToken('Bearer its-good'), '10.0.0.66:2'),
    { kind: 'caller' },
    'known: no review',
  )
  nowMs = 2_000
  t.match(await authenticate(withToken('Bearer fresh'), '10.0.0.66:3'), { kind: 'caller' }, 'it gets over it')
})

t.test(
  'many tokens of one address are reviewed one after the other, and nobody else waits for them',
  async (t) => {
    await using kube = await FakeKube.start()
    const authenticate = start(kube)
    const order: string[] = []
    kube.hook(({ body }) => {
      order.push(tokenIn(body))
      return good
    })
    const many = Array.from({ length: 200 }, (_, n) =>
      authenticate(withToken(`Bearer t${n}`), `fd00::6:${n}`),
    )
    const other = authenticate(withToken('Bearer abc'), 'fd00::7:9')
    const answers = await Promise.all(many)
    t.equal(answers.filter(({ kind }) => kind === 'caller').length, 8 + 128)
    t.equal(answers.filter((answer) => answer.kind === 'refused' && answer.later).length, 64)
    t.match(await other, { kind: 'caller' })
    t.ok(order.indexOf('abc') < 68, `it came ${order.indexOf('abc')}. of ${order.length}`)
  },
)

t.test('an address whose waiting tokens turn out to be bad is not asked for the rest', async (t) => {
  await using kube = await FakeKube.start()
  kube.hook(() => bad)
  const authenticate = start(kube, () => 0)
  const many = Array.from({ length: 100 }, (_, n) => authenticate(withToken(`Bearer t${n}`), `10.0.0.6:${n}`))
  t.ok((await Promise.all(many)).every(({ kind }) => kind === 'refused'))
  t.ok(kube.requests.length < 20 + 8, `${kube.requests.length} reviews`)
})
