import t from 'tap'
import { isDeepStrictEqual } from 'node:util'
import { kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const pod = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels },
})

const start = async (fake: FakeKube, inactivityMs = 5_000) => {
  const stop = new AbortController()
  const pods = reflect(fake.client(), kinds.Pod, {
    signal: stop.signal,
    log: silent,
    baseMs: 5,
    inactivityMs,
  })
  const seen: string[] = []
  pods.subscribe((changes) => {
    for (const { key, old, row } of changes)
      seen.push(`${old === undefined ? 'add' : row === undefined ? 'remove' : 'update'} ${key}`)
  })
  await pods.synced
  const names = () => pods.list().map((p) => p.metadata.name)
  return {
    pods,
    seen,
    names,
    hold: (...want: string[]) => until(() => isDeepStrictEqual(names(), want), `pods are ${want.join()}`),
    stop: () => stop.abort(),
    [Symbol.dispose]: () => stop.abort(),
  }
}
const watches = (fake: FakeKube) => fake.requests.filter((r) => r.includes('watch=1'))
const lists = (fake: FakeKube) => fake.requests.filter((r) => r.includes('limit='))

t.test('lists page by page, then follows', async (t) => {
  await using fake = await FakeKube.start(pod('a'), pod('b'), pod('c'))
  fake.pageSize = 2
  using r = await start(fake)
  t.strictSame(r.names(), ['a', 'b', 'c'])
  t.equal(fake.requests.filter((q) => q.includes('continue=')).length, 1)
  fake.put(pod('d'))
  fake.put(pod('a', { app: 'x' }))
  fake.remove(kinds.Pod, 'b', 'shop')
  await r.hold('a', 'c', 'd')
  t.same(new Set(r.seen.slice(3)), new Set(['add shop/d', 'update shop/a', 'remove shop/b']))
  t.equal(r.pods.get('shop/a')?.kind, 'Pod', 'items of lists and events carry their kind')
})

t.test(
  'a watch that ends resumes from the last version, a bookmark’s included, without a second list',
  async (t) => {
    await using fake = await FakeKube.start(pod('a'))
    using r = await start(fake)
    await until(() => watches(fake).length === 1, 'watching')
    fake.put(pod('b'))
    await r.hold('a', 'b')
    const bookmarked = fake.bookmark()
    fake.compact() // all before the bookmark is forgotten: resuming from the last event would be answered 410
    fake.endWatches() // which comes after the bookmark: a bookmark leaves no trace to wait for
    fake.put(pod('c'))
    await r.hold('a', 'b', 'c')
    t.match(watches(fake).at(-1), new RegExp(`resourceVersion=${bookmarked}&`))
    t.equal(lists(fake).length, 1)
    t.strictSame(r.seen, ['add shop/a', 'add shop/b', 'add shop/c'], 'nothing is told twice')
  },
)

t.test('410 lists again, and only the difference is told; what is held stays meanwhile', async (t) => {
  await using fake = await FakeKube.start(pod('a'), pod('b'))
  using r = await start(fake)
  await until(() => watches(fake).length === 1, 'watching')
  r.seen.length = 0
  const down = fake.hook(({ path }) => (path.endsWith('/pods') ? { status: 503, body: {} } : undefined))
  fake.breakWatches()
  fake.put(pod('c'))
  fake.remove(kinds.Pod, 'a', 'shop')
  fake.compact()
  await until(() => fake.requests.length >= 5, 'retries')
  t.strictSame(r.names(), ['a', 'b'])
  down[Symbol.dispose]()
  await r.hold('b', 'c')
  t.strictSame(r.seen, ['remove shop/a', 'add shop/c'])
})

t.test('a watch that is answered with garbage is dropped and begun again', async () => {
  await using fake = await FakeKube.start(pod('a'))
  let lies = 2
  fake.hook(() => (watches(fake).length > 0 && lies-- > 0 ? { status: 200, body: 'no event' } : undefined))
  using r = await start(fake)
  fake.put(pod('b'))
  await r.hold('a', 'b')
})

t.test('a silent watch is taken for dead', async () => {
  await using fake = await FakeKube.start(pod('a'))
  using _r = await start(fake, 50)
  await until(() => watches(fake).length >= 2, 'watched again')
})

t.test('ends with its signal and asks no more', async (t) => {
  await using fake = await FakeKube.start(pod('a'))
  const r = await start(fake)
  await until(() => watches(fake).length === 1, 'watching')
  r.stop()
  await until(() => fake.watching === 0, 'watch closed')
  const asked = fake.requests.length
  await new Promise((done) => setTimeout(done, 30))
  t.equal(fake.requests.length, asked)
})

t.test('only what is read of an object is held, and a change of the rest is told to nobody', async (t) => {
  const with2 = (name: string, image: string, node: string) => ({
    ...pod(name),
    metadata: { ...pod(name).metadata, managedFields: [{ manager: 'kubelet' }] },
    spec: { nodeName: node, containers: [{ name: 'app', image }] },
  })
  await using fake = await FakeKube.start(with2('a', 'one', 'n1'))
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const pods = reflect(fake.client(), kinds.Pod, {
    signal: stop.signal,
    baseMs: 5,
    trim: ({ metadata: { name = '', namespace = '' }, spec }) => ({
      metadata: { name, namespace },
      spec: { nodeName: spec?.nodeName ?? '' },
    }),
  })
  const heard: unknown[] = []
  pods.subscribe((changes) => heard.push(...changes.map(({ row }) => row?.spec)))
  await pods.synced
  await until(() => watches(fake).length === 1, 'watching')
  fake.put(with2('a', 'two', 'n1'))
  fake.put(with2('a', 'two', 'n2'))
  await until(() => heard.length >= 2, 'the change that counts')
  t.strictSame(heard, [{ nodeName: 'n1' }, { nodeName: 'n2' }])
  fake.breakWatches()
  fake.put(with2('a', 'three', 'n2'))
  fake.compact()
  await until(() => lists(fake).length === 2, 'listed again')
  await until(() => watches(fake).length >= 3, 'watching again')
  t.equal(heard.length, 2, 'a list that says the same says nothing')
  t.strictSame(pods.get('shop/a'), { metadata: { name: 'a', namespace: 'shop' }, spec: { nodeName: 'n2' } })
})

t.test('who wrote which field is not held of any kind', async (t) => {
  await using fake = await FakeKube.start({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'm', namespace: 'shop', labels: { a: 'b' }, managedFields: [] } as object,
  })
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const maps = reflect(fake.client(), kinds.ConfigMap, { signal: stop.signal })
  await maps.synced
  t.notOk('managedFields' in (maps.get('shop/m')?.metadata ?? {}))
  t.strictSame(maps.get('shop/m')?.metadata.labels, { a: 'b' })
})
