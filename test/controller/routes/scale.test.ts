import t from 'tap'
import { kinds } from '#kube'
import { addressTypeUrl, type ads } from '#wire'
import { serviceRoutesTypeUrl, waypointKey } from '../../../lib/routes/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  names,
  namespace,
  pod,
  type Running,
  service,
} from '../mesh-kit.ts'

t.setTimeout(300_000) // a thousand services, on a machine that may be slow

/** Half of them behind each of two waypoints, and one route each. */
const count = 1_000
const waypointOf = (n: number) => (n % 2 === 0 ? 'even' : 'odd')
const nameOf = (n: number) => `shop/s${n}.shop.svc.cluster.local`

const gateway = (name: string) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name, namespace: 'shop' },
  spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  status: { addresses: [{ type: 'Hostname', value: `${name}.shop.svc.cluster.local` }] },
})
const bound = (n: number, waypoint = waypointOf(n)) => {
  const plain = service('shop', `s${n}`)
  return { ...plain, metadata: { ...plain.metadata, labels: { 'istio.io/use-waypoint': waypoint } } }
}
const route = (n: number, backend: number, generation = 1) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: `r${n}`, namespace: 'shop', generation, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: `s${n}` }],
    rules: [{ backendRefs: [{ name: `s${backend}`, port: 80 }] }],
  },
})
const waypointPod = (name: string) => {
  const plain = pod('shop', `${name}-1`, { account: name, ip: name === 'even' ? '10.244.1.8' : '10.244.1.9' })
  const labels = { ...plain.metadata.labels, 'gateway.networking.k8s.io/gateway-name': name }
  return { ...plain, metadata: { ...plain.metadata, labels } }
}

const token = (name: string) => `shop/${name}/${name}-1/uid-of-${name}-1`
const node = (name: string) => ({
  id: `waypoint~10.244.1.8~${name}-1.shop~shop.svc.cluster.local`,
  cluster: '',
  metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: name },
  buildVersion: '',
})
/** Asks as our waypoints do. */
async function waypoint(running: Running, name: string) {
  const stream = adsStream(running, token(name))
  const resourceNamesSubscribe = [waypointKey('shop', name)]
  stream.send({ typeUrl: serviceRoutesTypeUrl, node: node(name), resourceNamesSubscribe })
  return { stream, first: await stream.next() }
}
const bytesOf = ({ resources }: ads.DeltaDiscoveryResponse) =>
  resources.reduce((sum, { resource }) => sum + (resource?.value.length ?? 0), 0)

t.test('of 1,000 services each waypoint is told its own, and of a change what has changed', async (t) => {
  const all = Array.from({ length: count }, (_, n) => n)
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ...['even', 'odd'].flatMap((name) => [gateway(name), waypointPod(name)]),
    ...all.map((n) => bound(n)),
    ...all.map((n) => route(n, (n + 2) % count)),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const [even, odd] = [await waypoint(running, 'even'), await waypoint(running, 'odd')]
  using _even = even.stream
  using _odd = odd.stream
  const own = (name: string) => all.filter((n) => waypointOf(n) === name).map(nameOf)
  t.strictSame(names(even.first), own('even').sort())
  t.strictSame(names(odd.first), own('odd').sort(), 'and nothing of the other')
  const each = bytesOf(even.first) / own('even').length
  t.ok(each < 4_096, `${Math.round(each)} bytes a service`)

  kube.put(route(4, 8, 2))
  const changed = await even.stream.next()
  t.strictSame([names(changed), changed.removedResources], [[nameOf(4)], []], 'one route, one resource')
  kube.put(bound(4, 'odd'))
  const [lost, won] = [await even.stream.next(), await odd.stream.next()]
  t.strictSame([names(won), won.removedResources], [[nameOf(4)], []], 'who gets it is told of it')
  t.strictSame([names(lost), lost.removedResources], [[], [nameOf(4)]], 'who loses it, too')
  kube.remove(kinds.HTTPRoute, 'r6', 'shop')
  t.strictSame(names(await even.stream.next()), [nameOf(6)])

  // What nobody here has asked about, and a route that says what it said before.
  kube.put(service('shop', 'free'))
  kube.put({ ...route(7, 9), metadata: { ...route(7, 9).metadata, labels: { any: 'thing' } } })
  kube.put(route(9, 13, 2))
  t.strictSame(names(await odd.stream.next()), [nameOf(9)])
  t.equal(even.stream.unread() + odd.stream.unread(), 0, 'nobody is told of what is not its own')
  const sent = [...even.stream.responses, ...odd.stream.responses].reduce(
    (sum, { resources }) => sum + resources.length,
    0,
  )
  t.equal(sent, count + 4, 'resources, all in all')
  const pushes = even.stream.responses.length + odd.stream.responses.length
  t.match(await running.metrics(), new RegExp(`^pilot_xds_pushes(_total)?\\{type="rds"\\} ${pushes}$`, 'm'))
})

t.test(
  'what a waypoint does not take is in the status of what it comes from, until it changes',
  async (t) => {
    const destinationRule = {
      apiVersion: 'networking.istio.io/v1',
      kind: 'DestinationRule',
      metadata: { name: 'd', namespace: 'shop' },
      spec: { host: 's0', trafficPolicy: { loadBalancer: { simple: 'RANDOM' } } },
    }
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      gateway('even'),
      waypointPod('even'),
      pod('shop', 'web'),
      bound(0),
      bound(2),
      route(0, 2),
      route(2, 0),
      destinationRule,
    )
    acceptTokens(kube)
    await using running = await controllerFor(kube)
    const accepted = (kind: typeof kinds.HTTPRoute, name: string) => {
      const found = JSON.stringify(kube.read(kind, name, 'shop')?.status ?? {})
      const conditions = JSON.parse(found).parents?.[0]?.conditions ?? JSON.parse(found).conditions ?? []
      const one = conditions.find(({ type }: { type: string }) => /(^|\/)Accepted$/.test(type))
      return one ? `${one.status} ${one.reason} ${one.message}` : ''
    }
    const says = (kind: typeof kinds.HTTPRoute, name: string, text: RegExp) =>
      until(() => text.test(accepted(kind, name)), `${name}: ${text}, not: ${accepted(kind, name)}`)
    await says(kinds.HTTPRoute, 'r0', /^True Accepted/)
    const nack = async (name: string, message: string) => {
      const stream =
        name === 'web' ? adsStream(running, 'shop/web/web/uid-of-web') : adsStream(running, token(name))
      const resourceNamesSubscribe = [waypointKey('shop', 'even')]
      stream.send({
        typeUrl: serviceRoutesTypeUrl,
        resourceNamesSubscribe,
        ...(name === 'web' ? {} : { node: node(name) }),
      })
      const { nonce } = await stream.next(false)
      const errorDetail = { code: 3, message, details: [] }
      stream.send({ typeUrl: serviceRoutesTypeUrl, responseNonce: nonce, errorDetail })
      return stream
    }
    using _workload = await nack('web', `${nameOf(2)}: says who`)
    using stream = await nack('even', `${nameOf(0)}: ports[0].http[0]: no such thing`)
    await says(
      kinds.HTTPRoute,
      'r0',
      /^False Rejected a waypoint rejects what it comes to for shop\/s0\.\S+: .*no such thing$/,
    )
    await says(kinds.DestinationRule, 'd', /^False Rejected a waypoint rejects/)
    t.match(accepted(kinds.HTTPRoute, 'r2'), /^True Accepted/, 'a workload’s word counts for nothing')

    kube.put(route(0, 0, 2))
    t.strictSame(names(await stream.next()), [nameOf(0)], 'what changed is sent again')
    await says(kinds.HTTPRoute, 'r0', /^True Accepted/)
    await says(kinds.DestinationRule, 'd', /^True Accepted/)
    t.ok(stream.responses.every(({ typeUrl }) => typeUrl !== addressTypeUrl))
  },
)
