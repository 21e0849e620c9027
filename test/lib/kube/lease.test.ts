import t from 'tap'
import { KubeClient, kinds, lease } from '#kube'
import { ApiFront, isLease } from '../../fakes/api-front.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const contender = (
  fake: Readonly<{ client: () => KubeClient }>,
  identity: string,
  o: Readonly<{ leaseMs?: number; retryMs?: number; events?: string[] }> = {},
) => {
  const { events = [], ...times } = o
  const stop = new AbortController()
  const state = { leading: false, terms: 0 }
  const done = lease(
    fake.client(),
    {
      namespace: 'istio-system',
      name: 'istio-leader',
      identity,
      signal: stop.signal,
      leaseMs: 300,
      retryMs: 10,
      ...times,
    },
    async (signal) => {
      state.leading = true
      state.terms++
      events.push(`${identity} starts`)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      state.leading = false
      events.push(`${identity} ends`)
    },
  )
  return {
    state,
    stop: async () => {
      stop.abort()
      await done
    },
  }
}

t.test('one leads; when it ends, the other does, at once', async (t) => {
  await using fake = await FakeKube.start()
  const a = contender(fake, 'a', { leaseMs: 60_000 })
  await until(() => a.state.leading, 'a leads')
  const b = contender(fake, 'b', { leaseMs: 60_000 })
  const seen = fake.requests.length
  await until(() => fake.requests.length > seen + 6, 'both have tried')
  t.equal(b.state.terms, 0)
  await a.stop()
  t.equal(a.state.leading, false)
  await until(() => b.state.leading, 'b leads')
  t.equal(fake.read(kinds.Lease, 'istio-leader', 'istio-system')?.spec?.holderIdentity, 'b')
  await b.stop()
})

t.test('a holder that renews no more is followed after its lease', async (t) => {
  await using fake = await FakeKube.start({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'istio-leader', namespace: 'istio-system' },
    spec: { holderIdentity: 'dead', renewTime: '2026-01-01T00:00:00.000000Z' },
  })
  const started = performance.now()
  const b = contender(fake, 'b', { leaseMs: 200 })
  await until(() => b.state.leading, 'b leads')
  t.ok(performance.now() - started >= 195, 'not before we ourselves saw no renewal for that long')
  await b.stop()
})

t.test('who cannot renew stops in time, and leads again when it can', async (t) => {
  await using fake = await FakeKube.start()
  // Long enough for a machine that stands still not to cost a term.
  const a = contender(fake, 'a', { leaseMs: 2_000 })
  await until(() => a.state.leading, 'a leads')
  const down = fake.hook(() => ({ status: 500, body: {} }))
  await until(() => !a.state.leading, 'a stopped')
  down[Symbol.dispose]()
  await until(() => a.state.leading, 'a leads again')
  t.equal(a.state.terms, 2)
  await a.stop()
})

t.test('an API server that does not answer ends a term before anybody else’s may begin', async (t) => {
  await using fake = await FakeKube.start()
  await using front = await ApiFront.start(fake.cluster)
  using client = new KubeClient(front.cluster)
  const events: string[] = []
  const times = { leaseMs: 1_500, retryMs: 50, events }
  const a = contender({ client: () => client }, 'a', times)
  await until(() => a.state.leading, 'a leads')
  const b = contender(fake, 'b', times)
  front.fate = () => 'hang'
  await until(() => b.state.leading, 'b leads')
  t.strictSame(events, ['a starts', 'a ends', 'b starts'])
  front.fate = () => 'pass'
  const seen = front.calls.length
  await until(() => front.calls.length > seen + 4, 'a asks again')
  t.ok(front.calls.slice(seen).every(isLease))
  t.equal(a.state.terms, 1, 'a does not lead while b does')
  await Promise.all([a.stop(), b.stop()])
})

t.test('a client that is fenced reads and does not write', async (t) => {
  await using fake = await FakeKube.start()
  let may = true
  const fenced = fake.client().writingWhile(() => may)
  const object = (name: string) => ({ metadata: { name, namespace: 'a' } })
  await fenced.create(kinds.ConfigMap, object('x'))
  may = false
  const ref = { kind: kinds.ConfigMap, namespace: 'a', name: 'x' }
  const how = { fieldManager: 'm' }
  for (const write of [
    () => fenced.create(kinds.ConfigMap, object('y')),
    () => fenced.update(kinds.ConfigMap, object('x')),
    () => fenced.mergePatch(ref, { data: {} }),
    () => fenced.apply(kinds.ConfigMap, object('x'), how),
    () => fenced.delete(ref).then(() => undefined),
  ])
    await t.rejects(
      write().then(() => undefined),
      { message: /not ours to write any more/ },
    )
  t.ok(await fenced.find(ref), 'it reads')
  t.equal(fake.all(kinds.ConfigMap).length, 1)
})
