import { status } from '@grpc/grpc-js'
import t from 'tap'
import { Registry, silent } from '#telemetry'
import { addressTypeUrl, ads } from '#wire'
import { xdsMetrics } from '../../../controller/xds/metrics.ts'
import { SendBudget } from '../../../controller/xds/send-budget.ts'
import { bytesOf, encodeOutgoing } from '../../../controller/xds/service.ts'
import { type Resource, Snapshot } from '../../../controller/xds/snapshot.ts'
import { AdsStream, type Refusal } from '../../../controller/xds/stream.ts'
import { until } from '../../fakes/until.ts'

const resource = (name: string): Resource => ({
  name,
  version: 'v1',
  aliases: [`alias-of-${name}`],
  keys: [name],
  any: { typeUrl: addressTypeUrl, value: Buffer.from(`bytes of ${name}`) },
})

const viewOf = (...names: readonly string[]) => {
  const view = new Snapshot()
  view.publish(names, resource)
  return view
}

t.test('a response of resources encoded once is the message that encoding all of it gives', async (t) => {
  const view = viewOf('a', 'b')
  const resources = ['b', 'a'].flatMap((name) => view.get(name) ?? [])
  const bytes = encodeOutgoing({ typeUrl: addressTypeUrl, nonce: '7', resources, removed: ['gone'] })
  t.strictSame(ads.DeltaDiscoveryResponse.decode(bytes), {
    systemVersionInfo: '',
    typeUrl: addressTypeUrl,
    nonce: '7',
    resources: ['b', 'a'].map((name) => ({
      name,
      version: 'v1',
      aliases: [`alias-of-${name}`],
      resource: { typeUrl: addressTypeUrl, value: Buffer.from(`bytes of ${name}`) },
      ttl: undefined,
    })),
    removedResources: ['gone'],
  })
})

t.test('what a client gets that has nothing is put together once, until something changes', async (t) => {
  const view = viewOf('b', 'a')
  const first = view.whole()
  t.strictSame(
    first.resources.map(({ name }) => name),
    ['a', 'b'],
  )
  t.equal(view.whole(), first)
  const parts = { typeUrl: addressTypeUrl, nonce: '7', resources: first.resources, removed: [] }
  t.strictSame(encodeOutgoing({ ...parts, joined: first.joined }), encodeOutgoing(parts))
  t.equal(bytesOf(first), view.bytes)
  view.publish(['a'], resource)
  t.equal(view.whole(), first, 'nothing changed')
  view.publish(['c'], resource)
  t.equal(view.whole().resources.length, 3)
  view.publish(['a', 'b', 'c'], () => undefined)
  t.strictSame(view.whole(), { resources: [], joined: Buffer.alloc(0) })
})

t.test('a view knows its size on the wire whatever comes, changes and goes', async (t) => {
  const view = viewOf('a', 'b', 'c')
  const sum = () => [...view.names()].reduce((bytes, name) => bytes + (view.get(name)?.wire.length ?? 0), 0)
  t.equal(view.bytes, sum())
  view.publish(['a', 'b'], (name) =>
    name === 'a' ? undefined : { ...resource('b'), version: 'longer than before' },
  )
  t.equal(view.bytes, sum())
  view.publish(['b', 'c'], () => undefined)
  t.equal(view.bytes, 0)
})

t.test('a client that does not read is let go, and what it held is free again', async (t) => {
  const budget = new SendBudget(1 << 20)
  const registry = new Registry()
  const ended: (Refusal | undefined)[] = []
  const view = new Snapshot()
  view.publish(['a'], () => ({ ...resource('a'), any: { typeUrl: '', value: Buffer.alloc(100_000) } }))
  const stream = new AdsStream(
    { write: () => undefined, end: (refusal) => void ended.push(refusal) },
    {
      views: new Map([[addressTypeUrl, view]]),
      caller: { namespace: 'istio-system', serviceAccount: 'ztunnel', pod: { name: 'z', uid: 'z' } },
      nodeKey: (node) => node,
      budget,
      sendTimeoutMs: 5,
      log: silent,
      metrics: xdsMetrics(registry),
    },
  )
  stream.take(ads.DeltaDiscoveryRequest.decode(firstRequest))
  t.ok(budget.used >= 100_000, 'it is on its way')
  await until(() => ended.length > 0, 'the stream ends')
  t.strictSame(ended, [{ code: status.UNAVAILABLE, details: 'client does not read' }])
  t.equal(budget.used, 0)
  t.match(await registry.metrics(), /^pilot_xds_write_timeout 1$/m)
})

t.test('who asks for what it has, in a loop, is answered ten times and then once a second', async (t) => {
  const view = viewOf('a', 'b')
  const registry = new Registry()
  const nonces: string[] = []
  const request = (parts: Partial<ads.DeltaDiscoveryRequest>): ads.DeltaDiscoveryRequest => ({
    ...ads.DeltaDiscoveryRequest.decode(firstRequest),
    ...parts,
  })
  const stream = new AdsStream(
    {
      write: ({ nonce }, taken) => {
        nonces.push(nonce)
        taken()
      },
      end: () => undefined,
    },
    {
      views: new Map([[addressTypeUrl, view]]),
      caller: { namespace: 'istio-system', serviceAccount: 'ztunnel', pod: { name: 'z', uid: 'z' } },
      nodeKey: (node) => node,
      budget: new SendBudget(1 << 20),
      sendTimeoutMs: 60_000,
      log: silent,
      metrics: xdsMetrics(registry),
    },
  )
  t.teardown(() => stream.end())
  const again = () =>
    stream.take(request({ resourceNamesSubscribe: ['a'], responseNonce: nonces.at(-1) ?? '' }))
  stream.take(request({ resourceNamesSubscribe: ['*', 'a'] }))
  for (let i = 0; i < 50; i++) again()
  t.equal(nonces.length, 11, 'the first answer and ten more')
  view.publish(['b'], (name) => ({ ...resource(name), version: 'v2' }))
  stream.published(addressTypeUrl, ['b'])
  t.equal(nonces.length, 11, 'also of what changes meanwhile')
  await until(() => nonces.length === 12, 'the next one')
  stream.take(request({ responseNonce: '12' }))
  t.equal(nonces.length, 13, 'who only acknowledges has the change at once')
  for (let i = 0; i < 50; i++) again()
  t.equal(nonces.length, 13)
  t.match(await registry.metrics(), /^pilot_proxy_queue_time_count 1$/m)
})

t.test('what gathers while a client is silent is bounded by what there is, and told once', async (t) => {
  const view = viewOf('a', 'b')
  const sent: string[][] = []
  const stream = new AdsStream(
    {
      write: ({ resources }, taken) => {
        sent.push(resources.map(({ name, version }) => `${name}@${version}`))
        taken()
      },
      end: () => undefined,
    },
    {
      views: new Map([[addressTypeUrl, view]]),
      caller: { namespace: 'istio-system', serviceAccount: 'ztunnel', pod: { name: 'z', uid: 'z' } },
      nodeKey: (node) => node,
      budget: new SendBudget(1 << 20),
      sendTimeoutMs: 60_000,
      log: silent,
      metrics: xdsMetrics(new Registry()),
    },
  )
  t.teardown(() => stream.end())
  stream.take(ads.DeltaDiscoveryRequest.decode(firstRequest))
  for (let i = 0; i < 1_000; i++) {
    const names = view.publish(['a'], (name) => ({ ...resource(name), version: `v${i + 2}` }))
    stream.published(addressTypeUrl, names)
  }
  t.strictSame(stream.status('').holdings()[0]?.pending, ['a'])
  stream.take({ ...ads.DeltaDiscoveryRequest.decode(firstRequest), responseNonce: '1' })
  t.strictSame(sent, [['a@v1', 'b@v1'], ['a@v1001']])
})

/** Nothing but `type_url` (2). */
const firstRequest = new Uint8Array([0x12, addressTypeUrl.length, ...Buffer.from(addressTypeUrl)])
