import t from 'tap'
import { kinds, lease } from '#kube'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const contender = (fake: FakeKube, identity: string, o: { leaseMs?: number } = {}) => {
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
      ...o,
    },
    async (signal) => {
      state.leading = true
      state.terms++
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      state.leading = false
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
  const a = contender(fake, 'a')
  await until(() => a.state.leading, 'a leads')
  const down = fake.hook(() => ({ status: 500, body: {} }))
  await until(() => !a.state.leading, 'a stopped')
  down[Symbol.dispose]()
  await until(() => a.state.leading, 'a leads again')
  t.equal(a.state.terms, 2)
  await a.stop()
})
