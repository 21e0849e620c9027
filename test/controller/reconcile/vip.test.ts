import t from 'tap'
import { isRecord, parseCidr } from '#base'
import { type Custom, derive, fixed, kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { readServiceEntry } from '../../../controller/collections/index.ts'
import { vipWriter } from '../../../controller/reconcile/index.ts'
import { VipRange } from '../../../controller/reconcile/vip-pool.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const block = (text: string) => parseCidr(text) ?? t.bailout(text)
const ranges = (v4 = '240.240.0.0/16') => ({ v4: block(v4) as never, v6: block('2001:2::/48') as never })
type Options = { spec?: object; labels?: Record<string, string>; created?: string; vips?: [string, string][] }
const entry = (
  name: string,
  { spec = {}, labels = {}, created = '2026-01-01T00:00:00Z', vips }: Options = {},
) => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'shop', labels, creationTimestamp: created },
  spec: { hosts: [`${name}.example.com`], resolution: 'DNS', ...spec },
  ...(vips ? { status: { addresses: vips.map(([host, value]) => ({ value, host })) } } : {}),
})

/** A leader on its own view of the API server. */
async function leader(kube: FakeKube, o: { v4?: string; hidden?: Record<string, true> } = {}) {
  const stop = new AbortController()
  const objects = reflect(kube.client(), kinds.ServiceEntry, { signal: stop.signal, baseMs: 5 })
  await objects.synced
  const entries = derive('ServiceEntries', objects, readServiceEntry)
  const hidden = fixed<true>('hidden', o.hidden ?? {})
  const write = vipWriter({
    client: kube.client(),
    objects,
    entries,
    hidden,
    ranges: ranges(o.v4),
    log: silent,
  })
  const done = write(stop.signal)
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
    },
  }
}
const vips = (kube: FakeKube, name: string): string[] => {
  const { status } = kube.read<Custom>(kinds.ServiceEntry, name, 'shop') ?? { status: undefined }
  const list = isRecord(status) ? status['addresses'] : undefined
  return Array.isArray(list) ? list.map(({ value, host }) => `${host ?? ''} ${value}`) : []
}
const has = (kube: FakeKube, name: string, ...want: string[]) =>
  until(
    () => JSON.stringify(vips(kube, name)) === JSON.stringify(want),
    `${name} has ${want.join()}, not ${vips(kube, name).join()}`,
  )
const patches = (kube: FakeKube) => kube.requests.filter((r) => r.startsWith('PATCH')).length

t.test('each host gets one address of each family, in the status', async (t) => {
  await using kube = await FakeKube.start(entry('a', { spec: { hosts: ['a.example.com', 'b.example.com'] } }))
  await using _l = await leader(kube)
  await has(
    kube,
    'a',
    'a.example.com 240.240.0.1',
    'a.example.com 2001:2::1',
    'b.example.com 240.240.0.2',
    'b.example.com 2001:2::2',
  )
  kube.put(entry('c'))
  await has(kube, 'c', 'c.example.com 240.240.0.3', 'c.example.com 2001:2::3')
  t.equal(patches(kube), 2, 'each entry is written once')
})

t.test('who gets none', async (t) => {
  await using kube = await FakeKube.start(
    entry('none', { spec: { resolution: 'NONE' } }),
    entry('own', { spec: { addresses: ['192.0.2.1'] } }),
    entry('unreadable', { spec: { addresses: ['nonsense'] } }),
    entry('off', { labels: { 'networking.istio.io/enable-autoallocate-ip': 'false' } }),
    entry('wild', { spec: { hosts: ['*.example.com'] } }),
    entry('last'),
  )
  await using _l = await leader(kube)
  await has(kube, 'last', 'last.example.com 240.240.0.1', 'last.example.com 2001:2::1')
  for (const name of ['none', 'own', 'unreadable', 'off', 'wild']) t.strictSame(vips(kube, name), [], name)
  t.equal(patches(kube), 1)
})

t.test('a wildcard that a waypoint resolves gets addresses', async () => {
  await using kube = await FakeKube.start(
    entry('wild', { spec: { hosts: ['*.example.com'], resolution: 'DYNAMIC_DNS' } }),
  )
  await using _l = await leader(kube)
  await has(kube, 'wild', '*.example.com 240.240.0.1', '*.example.com 2001:2::1')
})

t.test('the next leader writes nothing, and goes on with what is free', async (t) => {
  await using kube = await FakeKube.start(entry('a'), entry('b'))
  {
    await using _l = await leader(kube)
    await until(() => vips(kube, 'a').length + vips(kube, 'b').length === 4, 'all allocated')
  }
  const before = [...vips(kube, 'a'), ...vips(kube, 'b')]
  const written = patches(kube)
  await using _l = await leader(kube)
  kube.put(entry('c'))
  await has(kube, 'c', 'c.example.com 240.240.0.3', 'c.example.com 2001:2::3')
  t.strictSame([...vips(kube, 'a'), ...vips(kube, 'b')], before)
  t.equal(patches(kube), written + 1)
})

t.test('what is no longer to be given is taken away; what others wrote stays', async () => {
  await using kube = await FakeKube.start(
    entry('a', {
      vips: [
        ['a.example.com', '240.240.0.9'],
        ['gone.example.com', '240.240.0.8'],
        ['a.example.com', '192.0.2.9'],
      ],
    }),
    entry('off', {
      labels: { 'networking.istio.io/enable-autoallocate-ip': 'false' },
      vips: [['off.example.com', '240.240.0.7']],
    }),
  )
  await using _l = await leader(kube)
  await has(kube, 'a', 'a.example.com 192.0.2.9', 'a.example.com 240.240.0.9', 'a.example.com 2001:2::1')
  await has(kube, 'off')
})

t.test('of two with one address the older keeps it', async () => {
  await using kube = await FakeKube.start(
    entry('young', {
      created: '2026-02-01T00:00:00Z',
      vips: [
        ['young.example.com', '240.240.0.1'],
        ['young.example.com', '2001:2::1'],
      ],
    }),
    entry('old', {
      vips: [
        ['old.example.com', '240.240.0.1'],
        ['old.example.com', '2001:2::1'],
      ],
    }),
  )
  await using _l = await leader(kube)
  await has(kube, 'young', 'young.example.com 240.240.0.2', 'young.example.com 2001:2::2')
  await has(kube, 'old', 'old.example.com 240.240.0.1', 'old.example.com 2001:2::1')
})

t.test('an address that a user writes is his, alone or in a block', async () => {
  await using kube = await FakeKube.start(entry('a'))
  await using _l = await leader(kube)
  await has(kube, 'a', 'a.example.com 240.240.0.1', 'a.example.com 2001:2::1')
  kube.put(entry('user', { created: '2026-03-01T00:00:00Z', spec: { addresses: ['240.240.0.1'] } }))
  await has(kube, 'a', 'a.example.com 240.240.0.2', 'a.example.com 2001:2::1')
  kube.put(entry('user2', { spec: { addresses: ['240.240.0.0/24'] } }))
  await has(kube, 'a', 'a.example.com 240.240.1.0', 'a.example.com 2001:2::1')
})

t.test('a write that met another is tried again on what is there now', async (t) => {
  await using kube = await FakeKube.start(entry('a'))
  let refused = 0
  kube.hook(({ method }) => (method === 'PATCH' && refused++ === 0 ? { status: 409, body: {} } : undefined))
  await using _l = await leader(kube)
  await until(() => vips(kube, 'a').length === 2, 'allocated after all')
  t.equal(refused, 2)
})

t.test('a range that is full leaves the rest without, and is used again when something goes', async (t) => {
  await using kube = await FakeKube.start(entry('a'), entry('b'))
  await using _l = await leader(kube, { v4: '240.240.0.0/30' })
  await until(() => vips(kube, 'a').length + vips(kube, 'b').length === 4, 'both have theirs')
  kube.put(entry('c'))
  await until(() => kube.requests.length > 0, 'asked')
  kube.remove(kinds.ServiceEntry, 'a', 'shop')
  kube.put(entry('c', { labels: { changed: 'yes' } }))
  await until(() => vips(kube, 'c').length === 2, 'c has what a had')
  t.match(vips(kube, 'c')[0], /^c.example.com 240.240.0.[12]$/)
})

t.test('entries of a namespace that we do not look at are left alone', async (t) => {
  await using kube = await FakeKube.start(entry('a', { vips: [['x', '240.240.0.1']] }))
  await using _l = await leader(kube, { hidden: { shop: true } })
  kube.put({ ...entry('b'), metadata: { name: 'b', namespace: 'seen' } })
  await until(
    () =>
      kube
        .all<Custom>(kinds.ServiceEntry)
        .some(({ status }) => JSON.stringify(status)?.includes('240.240.0.1') === true),
    'the other is served',
  )
  t.strictSame(vips(kube, 'a'), ['x 240.240.0.1'])
})

t.test('500 at once: no address twice', async (t) => {
  const many = Array.from({ length: 500 }, (_, i) => entry(`e${i}`))
  await using kube = await FakeKube.start(...many)
  await using _l = await leader(kube)
  await until(() => many.every(({ metadata }) => vips(kube, metadata.name).length === 2), 'all served')
  const all = many.flatMap(({ metadata }) => vips(kube, metadata.name).map((text) => text.split(' ')[1]))
  t.equal(new Set(all).size, 1000)
  t.equal(patches(kube), 500)
})

t.test('a range never gives its first and its last address', async (t) => {
  const range = new VipRange(block('10.0.0.8/29') as never)
  const given = new Set<string>()
  for (let i = 0; i < 6; i++) given.add(range.next((address) => !given.has(address)))
  t.strictSame([...given], ['10.0.0.9', '10.0.0.10', '10.0.0.11', '10.0.0.12', '10.0.0.13', '10.0.0.14'])
  t.throws(() => range.next((address) => !given.has(address)), { code: 'over-limit' })
})
