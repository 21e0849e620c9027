import t from 'tap'
import type { Custom, Namespace } from '#kube'
import type { workload } from '#wire'
import { meshOf, namespace, pod, service } from './world.ts'

type Words = Record<string, string>
type GatewayOptions = Readonly<{
  ns?: string
  labels?: Words
  allowed?: unknown
  addresses?: unknown
  class?: string
}>
const hostname = [{ type: 'Hostname', value: 'wp.shop.svc.cluster.local' }]
const gateway = (name: string, o: GatewayOptions = {}): Custom => ({
  metadata: { name, namespace: o.ns ?? 'shop', labels: o.labels ?? {} },
  spec: {
    gatewayClassName: o.class ?? 'istio-waypoint',
    listeners: [
      {
        name: 'mesh',
        port: 15_008,
        protocol: 'HBONE',
        ...(o.allowed === undefined ? {} : { allowedRoutes: { namespaces: o.allowed } }),
      },
    ],
  },
  status: {
    addresses: o.addresses ?? [{ type: 'Hostname', value: `${name}.${o.ns ?? 'shop'}.svc.cluster.local` }],
  },
})
const use = (name: string, more: Words = {}) => ({ 'istio.io/use-waypoint': name, ...more })
const elsewhere = (name: string) => use(name, { 'istio.io/use-waypoint-namespace': 'infra' })

const named = (address: workload.GatewayAddress | undefined) =>
  address?.destination?.$case === 'hostname'
    ? address.destination.value.hostname.split('.').slice(0, 2).reverse().join('/')
    : undefined

/** Labels of the Service, of its namespace, and the Gateways → waypoint and condition. */
type Row = readonly [string, Words, Words, readonly Custom[], string | undefined, string | undefined]
const wp = gateway('wp')
const infra = (o: GatewayOptions) => gateway('wp', { ns: 'infra', ...o })
const rows: readonly Row[] = [
  ['nobody asks', {}, {}, [wp], undefined, undefined],
  ['its own label', use('wp'), {}, [wp], 'shop/wp', 'True WaypointAccepted'],
  ['its namespace’s', {}, use('wp'), [wp], 'shop/wp', 'True WaypointAccepted'],
  ['an opt-out', use('none'), use('wp'), [wp], undefined, undefined],
  ['no such Gateway', use('typo'), {}, [wp], undefined, 'False WaypointIsNotReady'],
  [
    'one without an address',
    use('wp'),
    {},
    [gateway('wp', { addresses: [] })],
    undefined,
    'False WaypointIsNotReady',
  ],
  [
    'an own label that leads nowhere is not its namespace’s',
    use('typo'),
    use('wp'),
    [wp],
    undefined,
    'False WaypointIsNotReady',
  ],
  ['another class', use('wp'), {}, [gateway('wp', { class: 'other' })], 'shop/wp', 'True WaypointAccepted'],
  ['another namespace, not allowed', elsewhere('wp'), {}, [infra({})], undefined, 'False AttachmentDenied'],
  [
    'another namespace, all allowed',
    elsewhere('wp'),
    {},
    [infra({ allowed: { from: 'All' } })],
    'infra/wp',
    'True WaypointAccepted',
  ],
  [
    'by its namespace, allowed by a selector',
    {},
    { ...elsewhere('wp'), team: 'a' },
    [infra({ allowed: { from: 'Selector', selector: { matchLabels: { team: 'a' } } } })],
    'infra/wp',
    'True WaypointAccepted',
  ],
  [
    'not selected',
    elsewhere('wp'),
    { team: 'b' },
    [infra({ allowed: { from: 'Selector', selector: { matchLabels: { team: 'a' } } } })],
    undefined,
    'False AttachmentDenied',
  ],
  [
    'a selector that cannot be read',
    elsewhere('wp'),
    {},
    [infra({ allowed: { from: 'Selector', selector: 'x' } })],
    undefined,
    'False AttachmentDenied',
  ],
  [
    'for all',
    use('wp'),
    {},
    [gateway('wp', { labels: { 'istio.io/waypoint-for': 'all' } })],
    'shop/wp',
    'True WaypointAccepted',
  ],
  [
    'for workloads only',
    use('wp'),
    {},
    [gateway('wp', { labels: { 'istio.io/waypoint-for': 'workload' } })],
    undefined,
    'False UnsupportedTrafficType',
  ],
  [
    'for nothing that is known',
    use('wp'),
    {},
    [gateway('wp', { labels: { 'istio.io/waypoint-for': 'everything' } })],
    undefined,
    'False UnsupportedTrafficType',
  ],
  [
    'a gateway of the mesh itself',
    use('wp', { 'gateway.istio.io/managed': 'istio.io-mesh-controller' }),
    {},
    [wp],
    undefined,
    undefined,
  ],
]
t.test('the waypoint of a Service, and what its owner is told', async (t) => {
  for (const [title, own, ofNamespace, gateways, waypoint, condition] of rows) {
    const namespaces = [namespace('shop', { labels: ofNamespace })]
    const mesh = meshOf({ services: [service({}, { labels: own })], namespaces, gateways })
    t.equal(named(mesh.services.list()[0]?.waypoint), waypoint, title)
    const told = mesh.waypointReferences.list()[0]?.condition
    t.equal(told && `${told.status} ${told.reason}`, condition, title)
  }
})

const workloads = { 'istio.io/waypoint-for': 'workload' }
t.test('the waypoint of a pod: only one that is for workloads', async (t) => {
  const of = (own: Words, ofNamespace: Words, labels: Words = workloads) => {
    const ns: Namespace = namespace('shop', { labels: ofNamespace })
    const mesh = meshOf({
      pods: [pod({ metadata: { name: 'order', namespace: 'shop', labels: own } })],
      namespaces: [ns],
      gateways: [gateway('wp', { labels })],
    })
    return named(mesh.workloads.list()[0]?.waypoint)
  }
  t.equal(of(use('wp'), {}), 'shop/wp')
  t.equal(of({}, use('wp')), 'shop/wp')
  t.equal(of(use('none'), use('wp')), undefined)
  t.equal(of({}, use('wp'), {}), undefined, 'one for services')
  t.equal(of(use('wp'), {}, { 'istio.io/waypoint-for': 'all' }), 'shop/wp')
  t.equal(
    of(use('wp', { 'gateway.istio.io/managed': 'istio.io-mesh-controller' }), {}),
    undefined,
    'a waypoint itself',
  )
})

t.test('a canary takes its part, and one that cannot be used takes nothing', async (t) => {
  const of = (canary: string, weight: string | undefined, gateways = [wp, gateway('new')]) => {
    const labels = use('wp', { 'istio.io/use-waypoint-canary': canary })
    const annotations: Words = weight === undefined ? {} : { 'istio.io/use-waypoint-canary-weight': weight }
    const mesh = meshOf({ services: [service({}, { labels, annotations })], gateways })
    const row = mesh.services.list()[0]
    t.equal(named(row?.waypoint), 'shop/wp', 'the primary stays')
    const split = (row?.weightedWaypoints ?? []).map(
      ({ destination, weight: w }) => `${named(destination)}:${w}`,
    )
    return [split.join(' '), mesh.waypointReferences.list()[0]?.condition.message ?? '']
  }
  t.match(of('new', '30'), ['shop/wp:70 shop/new:30', /attached to waypoint shop\/wp$/])
  t.match(of('new', undefined), ['shop/wp:100 shop/new:0', /./])
  for (const weight of ['101', '-1', 'x', '', '1e1', '1.5'])
    t.match(of('new', weight), ['', /CanaryInvalidWeight/], weight)
  t.match(of('wp', '5'), ['', /CanarySameAsPrimary/])
  t.match(of('typo', '5'), ['', /canary shop\/typo gets no traffic: WaypointIsNotReady/])
})

t.test('where a waypoint is: its name, or an address in the network of the mesh', async (t) => {
  const of = (addresses: unknown) =>
    meshOf({
      services: [service({}, { labels: use('wp') })],
      namespaces: [namespace('istio-system', { labels: { 'topology.istio.io/network': 'n1' } })],
      gateways: [gateway('wp', { addresses })],
    }).services.list()[0]?.waypoint
  t.match(of([{ type: 'IPAddress', value: '10.0.0.1' }, ...hostname]), {
    destination: { $case: 'hostname' },
    hboneMtlsPort: 15_008,
  })
  t.match(of([{ type: 'IPAddress', value: '10.0.0.1' }]), {
    destination: { $case: 'address', value: { network: 'n1' } },
  })
  for (const garbage of [
    'x',
    [5],
    [{ type: 'IPAddress', value: 'x' }],
    [{ type: 'Pigeon', value: '10.0.0.1' }],
  ])
    t.equal(of(garbage), undefined)
})

t.test('a ServiceEntry has a waypoint; one that only its namespace sees has none of another’s', async (t) => {
  const entry = (labels: Words, spec: object = {}): Custom => ({
    metadata: { name: 'e', namespace: 'shop', labels },
    spec: { hosts: ['a.example.com'], ports: [{ number: 80, name: 'http' }], resolution: 'DNS', ...spec },
  })
  const of = (object: Custom) =>
    named(
      meshOf({
        serviceEntries: [object],
        gateways: [wp, infra({ allowed: { from: 'All' } })],
      }).services.list()[0]?.waypoint,
    )
  t.equal(of(entry(use('wp'))), 'shop/wp')
  t.equal(of(entry(elsewhere('wp'))), 'infra/wp')
  t.equal(of(entry(elsewhere('wp'), { exportTo: ['.'] })), undefined)
})

t.test(
  'ingress traffic is told to take the waypoint when the Service says so, or its namespace',
  async (t) => {
    const of = (own: Words, ofNamespace: Words) =>
      meshOf({
        services: [service({}, { labels: own })],
        namespaces: [namespace('shop', { labels: ofNamespace })],
      }).services.list()[0]?.ingressUseWaypoint
    const label = (value: string) => ({ 'istio.io/ingress-use-waypoint': value })
    t.equal(of({}, {}), false)
    t.equal(of(label('true'), {}), true)
    t.equal(of({}, label('true')), true)
    t.equal(of(label('false'), label('true')), false)
  },
)
