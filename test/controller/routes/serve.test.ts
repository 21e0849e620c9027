import t from 'tap'
import { type Custom, kinds } from '#kube'
import { addressTypeUrl, type ads } from '#wire'
import { parseServiceRoutes, serviceRoutesTypeUrl, waypointKey } from '../../../lib/routes/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  names,
  namespace,
  service,
  ztunnelNode,
  ztunnelPod,
} from '../mesh-kit.ts'

t.setTimeout(300_000) // controllers, on a machine that may be slow

const gateway = (name: string) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name, namespace: 'shop' },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  status: { addresses: [{ type: 'Hostname', value: `${name}.shop.svc.cluster.local` }] },
})
const route = (backend: string, status?: unknown, generation = 1) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'r', namespace: 'shop', generation, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'order' }],
    rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
  },
  ...(status === undefined ? {} : { status }),
})
const bound = (name: string, waypoint: string) => {
  const plain = service('shop', name)
  return { ...plain, metadata: { ...plain.metadata, labels: { 'istio.io/use-waypoint': waypoint } } }
}
const start = async (...more: readonly ReturnType<typeof route>[]) => {
  const kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    gateway('one'),
    gateway('two'),
    bound('order', 'one'),
    bound('other', 'two'),
    service('shop', 'free'),
    ...more,
  )
  acceptTokens(kube)
  return kube
}
const order = 'shop/order.shop.svc.cluster.local'
const other = 'shop/other.shop.svc.cluster.local'

/** To where the first rule for port 80 leads. */
const leadsTo = (response: ads.DeltaDiscoveryResponse, name: string) => {
  const any = response.resources.find((resource) => resource.name === name)?.resource
  const parsed = parseServiceRoutes(name, any?.value ?? Buffer.alloc(0))
  const action = parsed.kind === 'routes' ? parsed.routes.ports[0]?.http[0]?.action : undefined
  const to = action?.kind === 'forward' ? action.destinations[0]?.to : undefined
  return to?.kind === 'service' ? to.service : to?.reason
}

t.test('whoever asks for it is told the routes of all services that have a waypoint', async (t) => {
  await using kube = await start(route('other'))
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ typeUrl: serviceRoutesTypeUrl, node: ztunnelNode })
  const first = await stream.next()
  t.equal(first.typeUrl, serviceRoutesTypeUrl)
  t.strictSame(names(first), [order, other], 'and of no others')
  t.equal(leadsTo(first, order), other)
  t.equal(leadsTo(first, other), other)

  kube.put(route('free', undefined, 2))
  const changed = await stream.next()
  t.strictSame(names(changed), [order])
  t.equal(leadsTo(changed, order), 'shop/free.shop.svc.cluster.local')

  kube.put(route('gone', undefined, 3))
  t.match(leadsTo(await stream.next(), order), /there is no Service shop\/gone/)

  kube.remove(kinds.HTTPRoute, 'r', 'shop')
  t.equal(leadsTo(await stream.next(), order), order, 'without routes a service is itself')

  kube.put(service('shop', 'order'))
  t.strictSame((await stream.next()).removedResources, [order], 'no waypoint, no routes')
})

t.test('a waypoint may ask for its own services only', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  const asked = {
    typeUrl: serviceRoutesTypeUrl,
    node: ztunnelNode,
    resourceNamesSubscribe: [waypointKey('shop', 'two')],
  }
  stream.send(asked)
  t.strictSame(names(await stream.next()), [other])
  kube.put(bound('order', 'two'))
  t.strictSame(names(await stream.next()), [order], 'what moves to it comes')
})

t.test('a client that does not ask for routes is told none', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  t.equal((await stream.next()).typeUrl, addressTypeUrl)
  kube.put(route('other'))
  kube.put(service('shop', 'new'))
  let told: readonly string[] = []
  while (!told.includes('shop/new.shop.svc.cluster.local')) told = names(await stream.next())
  t.ok(
    stream.responses.every(({ typeUrl }) => typeUrl === addressTypeUrl),
    'nothing else came',
  )
})

type Parents = readonly Readonly<{
  controllerName: string
  parentRef: unknown
  conditions: readonly Record<string, unknown>[]
}>[]
const parentsOf = (kube: FakeKube): Parents => {
  const object = kube.read(kinds.HTTPRoute, 'r', 'shop') as Custom & { status?: { parents?: Parents } }
  return object.status?.parents ?? []
}

t.test('the leader tells the owner of a route what became of it, and leaves what others say', async (t) => {
  const theirs = {
    controllerName: 'example.com/other',
    parentRef: { group: '', kind: 'Service', name: 'order' },
    conditions: [],
  }
  const ofGateway = {
    controllerName: 'example.com/ingress',
    parentRef: { name: 'ingress' },
    conditions: [],
  }
  const old = {
    controllerName: 'istio.io/gateway-controller',
    parentRef: { group: '', kind: 'Service', name: 'before' },
    conditions: [],
  }
  await using kube = await start(route('gone', { parents: [old, theirs, ofGateway] }, 4))
  await using _running = await controllerFor(kube)
  await until(() => parentsOf(kube).length === 3 && parentsOf(kube)[2]?.conditions.length === 3, 'a status')
  const [first, second, own] = parentsOf(kube)
  t.strictSame([first, second], [theirs, ofGateway])
  t.strictSame(own?.parentRef, { group: '', kind: 'Service', name: 'order' })
  t.strictSame(
    own?.conditions.map(({ type, status, reason, observedGeneration }) => [
      type,
      status,
      reason,
      observedGeneration,
    ]),
    [
      ['Accepted', 'True', 'Accepted', 4],
      ['ResolvedRefs', 'False', 'BackendNotFound', 4],
      ['ResolvedWaypoints', 'True', 'ResolvedWaypoints', 4],
    ],
  )
  const since = own?.conditions.map(({ lastTransitionTime }) => lastTransitionTime)
  kube.put(service('shop', 'gone'))
  await until(() => parentsOf(kube)[2]?.conditions[1]?.['status'] === 'True', 'the backend is found')
  t.equal(parentsOf(kube)[2]?.conditions[0]?.['lastTransitionTime'], since?.[0], 'what stays keeps its time')
})
