import t from 'tap'
import { type Custom, kinds, reflect, Table } from '#kube'
import { silent } from '#telemetry'
import type { Unbound } from '../../../controller/collections/index.ts'
import { namespaceEventWriter } from '../../../controller/reconcile/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'
import { namespace } from '../mesh-kit.ts'

t.setTimeout(120_000) // a loaded machine

const unbound = (why: string): Unbound => ({
  kind: 'unbound',
  reference: 'shop/waypiont',
  reason: 'WaypointIsNotReady',
  why,
})
const eventIn = (kube: FakeKube, name = 'shop') =>
  kube.read<Custom & Record<string, unknown>>(kinds.Event, `${name}.use-waypoint`, name)
const posts = (kube: FakeKube) => kube.requests.filter((line) => /^(POST|PATCH) .*events/.test(line)).length

async function start(kube: FakeKube, times: Readonly<{ graceMs?: number; againMs?: number }> = {}) {
  const stop = new AbortController()
  const { signal } = stop
  const loose = new Table<Unbound>('loose')
  const namespaces = reflect(kube.client(), kinds.Namespace, { signal })
  await namespaces.synced
  const writer = namespaceEventWriter({
    client: kube.client(),
    namespaces,
    loose: loose.collection,
    log: silent,
    graceMs: 20,
    ...times,
  })
  const done = writer(signal)
  const set = (key: string, row: Unbound | undefined) => loose.apply([{ key, old: loose.get(key), row }])
  return {
    set,
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
    },
  }
}

t.test(
  'a namespace whose label leads nowhere has one event that says so, and that says when it is well',
  async (t) => {
    await using kube = await FakeKube.start(namespace('shop'))
    await using running = await start(kube)
    running.set('shop', unbound('no such Gateway'))
    await until(() => eventIn(kube) !== undefined, 'told')
    t.match(eventIn(kube), {
      metadata: { name: 'shop.use-waypoint', namespace: 'shop' },
      involvedObject: { apiVersion: 'v1', kind: 'Namespace', name: 'shop', namespace: 'shop' },
      type: 'Warning',
      reason: 'WaypointIsNotReady',
      message: 'istio.io/use-waypoint names shop/waypiont: no such Gateway; traffic stays at L4',
      count: 1,
    })
    running.set('shop', unbound('not let in'))
    await until(() => eventIn(kube)?.['count'] === 2, 'told anew')
    t.match(eventIn(kube)?.['message'], /not let in/)
    running.set('shop', undefined)
    await until(() => eventIn(kube)?.['type'] === 'Normal', 'well')
    t.equal(kube.all(kinds.Event).length, 1, 'one object, however much happens')
  },
)

t.test(
  'what is over before the grace is said by nobody, and what changes often is written seldom',
  async (t) => {
    await using kube = await FakeKube.start(namespace('shop'), namespace('other'))
    await using running = await start(kube, { graceMs: 100 })
    running.set('other', unbound('x'))
    running.set('other', undefined)
    for (let i = 0; i < 500; i++) running.set('shop', unbound(`reason ${i}`))
    await until(() => eventIn(kube) !== undefined, 'told')
    t.match(eventIn(kube)?.['message'], /reason 499/)
    t.equal(posts(kube), 1)
    t.equal(eventIn(kube, 'other'), undefined)
  },
)

t.test('one that is still so is told again, and one of an earlier leader is taken over', async (t) => {
  await using kube = await FakeKube.start(namespace('shop'), {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'shop.use-waypoint', namespace: 'shop' },
    message: 'old',
  })
  await using running = await start(kube, { againMs: 30 })
  running.set('shop', unbound('x'))
  await until(() => Number(eventIn(kube)?.['count']) >= 3, 'told again')
  t.match(eventIn(kube)?.['message'], /: x;/)
})

t.test('a namespace that goes away, or is gone, is left alone', async (t) => {
  const going = {
    ...namespace('going'),
    metadata: { name: 'going', deletionTimestamp: '2026-01-01T00:00:00Z' },
  }
  await using kube = await FakeKube.start(namespace('shop'), going)
  await using running = await start(kube)
  for (const name of ['going', 'gone', 'shop']) running.set(name, unbound('x'))
  await until(() => eventIn(kube) !== undefined, 'the living one')
  t.equal(posts(kube), 1)
})
