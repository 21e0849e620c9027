import t from 'tap'
import { isDeepStrictEqual } from 'node:util'
import { kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

// What exists comes as events of the watch (WatchList), where the API server offers that.

const pod = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels },
})

const start = (fake: FakeKube) => {
  const stop = new AbortController()
  const pods = reflect(fake.client(), kinds.Pod, {
    signal: stop.signal,
    log: silent,
    baseMs: 5,
    inactivityMs: 20_000,
    streamed: true,
    labelSelector: 'app',
  })
  const seen: string[] = []
  pods.subscribe((changes) => {
    for (const { key, old, row } of changes)
      seen.push(`${old === undefined ? 'add' : row === undefined ? 'remove' : 'update'} ${key}`)
  })
  const names = () => pods.list().map((p) => p.metadata.name)
  return {
    pods,
    seen,
    names,
    hold: (...want: string[]) => until(() => isDeepStrictEqual(names(), want), `pods are ${want.join()}`),
    [Symbol.dispose]: () => stop.abort(),
  }
}
const watches = (fake: FakeKube) => fake.requests.filter((r) => r.includes('watch=1'))
const streams = (fake: FakeKube) => fake.requests.filter((r) => r.includes('sendInitialEvents=true'))
const lists = (fake: FakeKube) => fake.requests.filter((r) => r.includes('limit='))
const app = { app: 'x' }

t.test('what exists is streamed, the selected of it, then followed; nothing is listed', async (t) => {
  await using fake = await FakeKube.start(pod('a', app), pod('b', app), pod('unlabelled'))
  using r = start(fake)
  await r.pods.synced
  t.strictSame(r.names(), ['a', 'b'])
  t.equal(r.pods.get('shop/a')?.kind, 'Pod')
  fake.put(pod('c', app))
  fake.remove(kinds.Pod, 'a', 'shop')
  await r.hold('b', 'c')
  t.equal(lists(fake).length, 0)
  t.equal(watches(fake).length, 1, 'one request for all of it')
  t.match(watches(fake)[0], /resourceVersionMatch=NotOlderThan/)
})

t.test('a watch that ends resumes from its version and is told nothing again', async (t) => {
  await using fake = await FakeKube.start(pod('a', app))
  using r = start(fake)
  await r.pods.synced
  const bookmarked = fake.bookmark()
  fake.endWatches()
  fake.put(pod('b', app))
  await r.hold('a', 'b')
  t.match(watches(fake).at(-1), new RegExp(`resourceVersion=${bookmarked}&`))
  t.equal(streams(fake).length, 1)
  t.strictSame(r.seen, ['add shop/a', 'add shop/b'])
})

t.test('after 410 what exists is streamed again; only the difference is told', async (t) => {
  await using fake = await FakeKube.start(pod('a', app), pod('b', app))
  using r = start(fake)
  await r.pods.synced
  r.seen.length = 0
  const down = fake.hook(({ path }) => (path.endsWith('/pods') ? { status: 503, body: {} } : undefined))
  fake.breakWatches()
  await until(() => watches(fake).length > 1, 'asked again')
  t.strictSame(r.names(), ['a', 'b'], 'what is held stays meanwhile')
  fake.remove(kinds.Pod, 'a', 'shop')
  fake.put(pod('c', app))
  fake.compact()
  down[Symbol.dispose]()
  await r.hold('b', 'c')
  t.strictSame(r.seen.toSorted(), ['add shop/c', 'remove shop/a'])
  t.equal(lists(fake).length, 0)
})

t.test(
  'a stream that breaks off before its end counts for nothing; after three of them there is a list',
  async (t) => {
    await using fake = await FakeKube.start(pod('a', app), pod('b', app))
    fake.breakStreams = 2
    using r = start(fake)
    await r.pods.synced
    t.strictSame(r.names(), ['a', 'b'])
    t.strictSame(r.seen, ['add shop/a', 'add shop/b'], 'told once, when all was known')
    t.equal(streams(fake).length, 3)
    t.equal(lists(fake).length, 0)

    await using worse = await FakeKube.start(pod('a', app))
    worse.breakStreams = 1_000
    using other = start(worse)
    await other.pods.synced
    t.equal(streams(worse).length, 3)
    t.equal(lists(worse).length, 1)
  },
)

t.test('an API server that refuses to stream is listed, and not asked again', async (t) => {
  await using fake = await FakeKube.start(pod('a', app))
  fake.watchList = 'refused'
  using r = start(fake)
  await r.pods.synced
  fake.put(pod('b', app))
  await r.hold('a', 'b')
  fake.compact()
  fake.breakWatches()
  fake.put(pod('c', app))
  await r.hold('a', 'b', 'c')
  t.equal(streams(fake).length, 1)
  t.ok(lists(fake).length >= 1)
})

t.test('an API server that does not know what is asked for is listed at its first bookmark', async (t) => {
  await using fake = await FakeKube.start(pod('a', app))
  fake.watchList = 'unknown'
  using r = start(fake)
  await until(() => fake.watching === 1, 'watching')
  t.equal(r.pods.isSynced(), false, 'nobody has said that this is all')
  fake.bookmark()
  await r.pods.synced
  t.strictSame(r.names(), ['a'])
  t.equal(lists(fake).length, 1)
})
