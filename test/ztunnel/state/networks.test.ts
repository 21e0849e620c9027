import t from 'tap'
import { ip, parseAddress } from '#base'
import {
  failedEndpoint,
  finishRoute,
  MeshState,
  type OutboundQuestion,
  parseService,
  parseWorkload,
  resolveOutbound,
  type Route,
} from '../../../ztunnel/state/index.ts'
import {
  gateway,
  type ServiceDraft,
  serviceWire,
  type WorkloadDraft,
  workloadWire,
} from '../../fakes/mesh.ts'
import { routeText } from '../../helpers/route-oracle.ts'

const host = 'web.demo.svc.cluster.local'
const web = `demo/${host}`
const wp = 'demo/wp.demo.svc.cluster.local'
const gw = 'demo/gw.demo.svc.cluster.local'
const alt = 'spiffe://cluster.local/ns/demo/sa/web'
const id = (name: string) => `spiffe://cluster.local/ns/demo/sa/${name}`

const meshOf = (workloads: readonly WorkloadDraft[], services: readonly ServiceDraft[] = []) => {
  const state = new MeshState('n1')
  const client: WorkloadDraft = { name: 'client', node: 'n1', addresses: ['10.0.0.1', 'fd00::1'] }
  state.apply({
    workloads: [client, ...workloads].map((draft) => parseWorkload(workloadWire(draft))),
    services: services.map((draft) => parseService(serviceWire(draft))),
  })
  return state
}
const ask = (state: MeshState, to: string, question: Partial<OutboundQuestion> = {}): Route => {
  const source = state.localWorkload({ namespace: 'demo', name: 'client', serviceAccount: 'client' })
  const origDst = parseAddress(to)
  if (!source || !origDst) throw new Error(to)
  return resolveOutbound(
    state,
    { source, sourceIp: ip('10.0.0.1'), network: '', random: () => 0, ...question },
    origDst,
  )
}
const textOf = (route: Route) => (route.kind === 'reject' ? `reject ${route.reason}` : routeText(route))

const service: ServiceDraft = {
  name: 'web',
  vips: ['10.96.0.1', 'fd96::1'],
  ports: { 80: 8080 },
  subjectAltNames: [alt],
}
/** What the control plane sends for all endpoints of a service on another network. */
const far: WorkloadDraft = {
  name: 'far',
  uid: 'far/SplitHorizonWorkload/gw/demo/web',
  network: 'far',
  services: { [web]: { 80: 8080 } },
  networkGateway: gateway(gw, 15009),
}
const eastWest: WorkloadDraft = {
  name: 'gw',
  network: 'far',
  addresses: ['192.0.2.1'],
  services: { [gw]: { 15009: 15008 } },
}
const eastWest2 = { ...eastWest, name: 'gw2', addresses: ['192.0.2.2'], serviceAccount: 'gw' }
const gatewayService: ServiceDraft = { name: 'gw', ports: { 15009: 15008 } }
const near: WorkloadDraft = { name: 'near', addresses: ['10.0.0.2'], services: { [web]: { 80: 8080 } } }
const waypoint: WorkloadDraft = {
  name: 'wp',
  network: 'far',
  services: { [wp]: {} },
  networkGateway: gateway(gw, 15009),
}
const waypointService: ServiceDraft = { name: 'wp', ports: { 15008: 15008 }, subjectAltNames: [id('wp')] }
const networkFirst = (mode: 1 | 2) => ({
  ...service,
  loadBalancing: { mode, routingPreference: [6, 1, 2] as (1 | 2 | 6)[], healthPolicy: 0 as const },
})
const byAddress = (address: string, network = 'far') => ({
  hboneMtlsPort: 15009,
  destination: {
    $case: 'address' as const,
    value: { network, address: Buffer.from(address.split('.').map(Number)) },
  },
})
const through = (via: string, reason: string, inner = alt) =>
  `double-hbone ${via} ${host}:80 ${id('gw')} inner ${inner} ${reason}`

const cases: [string, WorkloadDraft[], ServiceDraft[], string, string][] = [
  [
    'an endpoint of another network, through its gateway by hostname, with the mapped port',
    [far, eastWest],
    [service, gatewayService],
    '10.96.0.1:80',
    through('192.0.2.1:15008', 'remote-endpoint'),
  ],
  [
    'through its gateway by address: the port is the gateway’s own',
    [{ ...far, networkGateway: byAddress('192.0.2.1') }, eastWest],
    [service],
    '10.96.0.1:80',
    through('192.0.2.1:15009', 'remote-endpoint'),
  ],
  [
    'without a gateway it is no candidate',
    [{ ...far, networkGateway: undefined }],
    [service],
    '10.96.0.1:80',
    'reject no-healthy-upstream',
  ],
  ['with a gateway that nobody knows', [far], [service], '10.96.0.1:80', 'reject unknown-gateway'],
  [
    'with a gateway that has no healthy pod',
    [far, { ...eastWest, status: 1 }],
    [service, gatewayService],
    '10.96.0.1:80',
    'reject unknown-gateway',
  ],
  [
    'nothing says who may answer there',
    [far, eastWest],
    [{ ...service, subjectAltNames: [] }, gatewayService],
    '10.96.0.1:80',
    'reject remote-identity-unknown',
  ],
  [
    'an endpoint of our own network beside it is taken where the gateway is down',
    [far, near],
    [service, gatewayService],
    '10.96.0.1:80',
    `hbone 10.0.0.2:15008 10.0.0.2:8080 ${id('near')},${alt} service-endpoint`,
  ],
  [
    'NETWORK first: our own network before any other',
    [{ ...far, capacity: 1000 }, eastWest, { ...near, locality: { region: 'x', zone: 'y', subzone: '' } }],
    [networkFirst(2), gatewayService],
    '10.96.0.1:80',
    `hbone 10.0.0.2:15008 10.0.0.2:8080 ${id('near')},${alt} service-endpoint`,
  ],
  [
    'NETWORK first: fails over to the other network',
    [far, eastWest, { ...near, status: 1 }],
    [networkFirst(2), gatewayService],
    '10.96.0.1:80',
    through('192.0.2.1:15008', 'remote-endpoint'),
  ],
  [
    'NETWORK strictly: never over',
    [far, eastWest],
    [networkFirst(1), gatewayService],
    '10.96.0.1:80',
    'reject no-healthy-upstream',
  ],
  [
    'a waypoint on another network: the inner tunnel expects the waypoint',
    [waypoint, eastWest],
    [{ ...service, waypoint: wp }, waypointService, gatewayService],
    '10.96.0.1:80',
    through('192.0.2.1:15008', 'remote-waypoint', id('wp')),
  ],
  [
    'a waypoint on another network without a gateway is not bypassed',
    [{ ...waypoint, networkGateway: undefined }, near],
    [{ ...service, waypoint: wp }, waypointService],
    '10.96.0.1:80',
    'reject unknown-waypoint',
  ],
  [
    "a pod's waypoint on another network: only a service's traffic may cross",
    [{ ...near, waypoint: wp }, waypoint, eastWest],
    [waypointService, gatewayService],
    '10.0.0.2:80',
    'reject remote-workload',
  ],
  [
    'a gateway with a name instead of addresses',
    [far, { ...eastWest, addresses: [], hostname: 'lb.example' }],
    [service, gatewayService],
    '[fd96::1]:80',
    'resolve lb.example ipv6 any double-hbone 15008 remote-endpoint',
  ],
  [
    'an endpoint with a name instead of addresses',
    [{ ...near, addresses: [], hostname: 'db.example', tunnelProtocol: 0 }],
    [service],
    '10.96.0.1:80',
    'resolve db.example ipv4 any none 8080 service-endpoint',
  ],
  [
    'of a service of one family only that one is asked for',
    [{ ...near, addresses: [], hostname: 'db.example', tunnelProtocol: 0 }],
    [{ ...service, ipFamilies: 2 }],
    '10.96.0.1:80',
    'resolve db.example ipv6 ipv6 none 8080 service-endpoint',
  ],
  [
    'a waypoint whose pod has a name',
    [{ ...waypoint, network: '', hostname: 'wp.example', networkGateway: undefined }, near],
    [{ ...service, waypoint: wp }, waypointService],
    '10.96.0.1:80',
    'resolve wp.example ipv4 any waypoint 15008 service-waypoint',
  ],
  [
    'a waypoint by address keeps that family whatever was dialled',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9', 'fd00::9'], services: {} }],
    [{ ...service, waypoint: '10.0.0.9' }],
    '[fd96::1]:80',
    `waypoint 10.0.0.9:15008 [fd96::1]:80 ${id('wp')} service-waypoint`,
  ],
  [
    'a waypoint by hostname takes the family of the caller',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9', 'fd00::9'] }],
    [{ ...service, waypoint: wp }, waypointService],
    '[fd96::1]:80',
    `waypoint [fd00::9]:15008 [fd96::1]:80 ${id('wp')} service-waypoint`,
  ],
  [
    'a waypoint service without ports, its pod with an application tunnel',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9'], applicationTunnel: { protocol: 1, port: 15088 } }],
    [
      { ...service, waypoint: wp },
      { ...waypointService, ports: {} },
    ],
    '10.96.0.1:80',
    `waypoint 10.0.0.9:15008 10.96.0.1:80 ${id('wp')} service-waypoint`,
  ],
  [
    'weighted waypoints: one without pods is passed over, not bypassed',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9'] }],
    [
      {
        ...service,
        weightedWaypoints: [
          { destination: gateway('demo/gone.demo.svc.cluster.local'), weight: 9 },
          { destination: gateway(wp), weight: 1 },
        ],
      },
      waypointService,
    ],
    '10.96.0.1:80',
    `waypoint 10.0.0.9:15008 10.96.0.1:80 ${id('wp')} service-waypoint`,
  ],
  [
    'an address of a service and of a pod with a waypoint: the waypoint is not bypassed',
    [
      { ...near, waypoint: wp },
      { ...waypoint, network: '', addresses: ['10.0.0.9'] },
    ],
    [{ ...service, vips: ['10.0.0.2'] }, waypointService],
    '10.0.0.2:80',
    `waypoint 10.0.0.9:15008 10.0.0.2:80 ${id('wp')} workload-waypoint`,
  ],
  [
    'a host-network pod is reached through its service',
    [{ ...near, networkMode: 1, tunnelProtocol: 0 }],
    [service],
    '10.96.0.1:80',
    'direct 10.0.0.2:8080 service-endpoint',
  ],
  [
    'an endpoint without address and name',
    [{ ...near, addresses: [] }],
    [service],
    '10.96.0.1:80',
    'reject no-healthy-upstream',
  ],
  [
    'an endpoint of the wrong family alone',
    [{ ...near, addresses: ['fd00::2'] }],
    [{ ...service, ipFamilies: 1 }],
    '10.96.0.1:80',
    'reject no-healthy-upstream',
  ],
  ['a port that the service does not have', [near], [service], '10.96.0.1:81', 'reject no-such-port'],
  [
    'an address of another network is not ours',
    [{ ...near, network: 'far' }],
    [],
    '10.0.0.2:80',
    'passthrough 10.0.0.2:80 not-in-mesh',
  ],
]
for (const [name, workloads, services, to, want] of cases) {
  t.test(name, async (t) => {
    t.equal(textOf(ask(meshOf(workloads, services), to)), want)
  })
}

t.test('REGISTRY_ONLY: what nobody has told us about is refused, what is known is not', async (t) => {
  const passing: ServiceDraft = {
    name: 'ext',
    vips: ['203.0.113.0/24'],
    ports: { 443: 443 },
    loadBalancing: { mode: 3, routingPreference: [], healthPolicy: 0 },
  }
  const state = meshOf([near], [service, passing])
  const text = (to: string) => textOf(ask(state, to, { registryOnly: true }))
  t.equal(text('1.1.1.1:443'), 'reject outside-registry')
  t.equal(text('[2606::1]:443'), 'reject outside-registry')
  t.match(text('10.96.0.1:80'), /^hbone/)
  t.match(text('10.0.0.2:80'), /^hbone/)
  t.equal(text('203.0.113.7:443'), 'passthrough 203.0.113.7:443 service-passthrough')
  t.equal(text('127.0.0.2:80'), 'passthrough 127.0.0.2:80 own-address', 'what does not leave the pod')
  t.match(ask(state, '1.1.1.1:443', { registryOnly: true }), {
    message: 'REGISTRY_ONLY: nobody in the registry has 1.1.1.1:443',
  })
})

t.test('another gateway, another waypoint pod, then nobody: what failed is not asked again', async (t) => {
  const tried = new Set<NonNullable<ReturnType<typeof failedEndpoint>>>()
  const next = (state: MeshState) => {
    const route = ask(state, '10.96.0.1:80', { tried })
    const failed = failedEndpoint(route)
    if (failed !== undefined) tried.add(failed)
    return 'via' in route ? route.via.address : textOf(route)
  }
  const remote = meshOf([far, eastWest, eastWest2], [service, gatewayService])
  t.same([next(remote), next(remote), next(remote)], ['192.0.2.1', '192.0.2.2', 'reject unknown-gateway'])
  tried.clear()
  const pods = ['10.0.0.8', '10.0.0.9'].map((address) => ({
    ...waypoint,
    name: `wp-${address}`,
    serviceAccount: 'wp',
    network: '',
    addresses: [address],
  }))
  const local = meshOf([...pods, near], [{ ...service, waypoint: wp }, waypointService])
  t.same([next(local), next(local), next(local)], ['10.0.0.8', '10.0.0.9', 'reject unknown-waypoint'])
})

t.test('an ejected endpoint is passed over while there is another, also one further away', async (t) => {
  const other: WorkloadDraft = { ...near, name: 'other', addresses: ['10.0.0.3'], node: 'n2' }
  const nodes = { mode: 2 as const, routingPreference: [4 as const], healthPolicy: 0 as const }
  const state = meshOf([{ ...near, node: 'n1' }, other], [{ ...service, loadBalancing: nodes }])
  const uid = (name: string) => parseWorkload(workloadWire({ ...near, name })).uid
  const via = (...ejected: string[]) => {
    const route = ask(state, '10.96.0.1:80', { ejected: new Set(ejected.map(uid)) })
    return 'via' in route ? route.via.address : route.kind
  }
  t.same(
    [via(), via('near'), via('other'), via('near', 'other')],
    ['10.0.0.2', '10.0.0.3', '10.0.0.2', '10.0.0.2'],
  )
})

t.test('a name that was resolved finishes its route', async (t) => {
  const finished = (drafts: WorkloadDraft[], services: ServiceDraft[], address: string) => {
    const route = ask(meshOf(drafts, services), '10.96.0.1:80')
    if (route.kind !== 'resolve') throw new Error(route.kind)
    return routeText(finishRoute(route.way, ip(address)))
  }
  const named = { ...near, addresses: [], hostname: 'db.example' }
  const plain = { ...named, tunnelProtocol: 0 as const }
  t.equal(finished([plain], [service], '192.0.2.9'), 'direct 192.0.2.9:8080 service-endpoint')
  const meshed = `${id('near')},${alt} service-endpoint`
  t.equal(finished([named], [service], 'fd00::9'), `hbone [fd00::9]:15008 [fd00::9]:8080 ${meshed}`)
  const balancer = { ...eastWest, addresses: [], hostname: 'lb.example' }
  t.equal(
    finished([far, balancer], [service, gatewayService], '192.0.2.7'),
    through('192.0.2.7:15008', 'remote-endpoint'),
  )
})

t.test('a thousand connections to a service of five thousand endpoints look through them once', async (t) => {
  const many = Array.from({ length: 5_000 }, (_, n) => ({
    ...near,
    name: `pod-${n}`,
    addresses: [`10.1.${n >> 8}.${n & 255}`],
  }))
  const state = meshOf(many, [service])
  let looked = 0
  const members = state.membersOf.bind(state)
  state.membersOf = (key) => {
    looked++
    return members(key)
  }
  const seen = new Set<string>()
  for (let n = 0; n < 1_000; n++) {
    const route = ask(state, '10.96.0.1:80', { random: () => n / 1_000 })
    if ('via' in route) seen.add(route.via.address)
  }
  t.equal(seen.size, 1_000)
  t.equal(looked, 1)
  state.apply({ removed: ['Kubernetes//Pod/demo/pod-0'] })
  t.not(textOf(ask(state, '10.96.0.1:80')), 'hbone 10.1.0.0:15008')
  t.equal(looked, 2, 'and once more after a change')
})
