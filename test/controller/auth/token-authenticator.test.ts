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

t.test('reviews once, remembers for ten seconds, asks for our audience', async (t) => {
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
  nowMs = 9_999
  t.match(await authenticate(withToken('Bearer abc')), { kind: 'caller' })
  t.equal(seen.length, 1)
  await authenticate(withToken('bearer other'))
  t.equal(seen.length, 2)
  nowMs = 10_001
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
