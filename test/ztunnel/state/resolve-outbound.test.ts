import t from 'tap'
import { ip } from '#base'
import {
  MeshState,
  type OutboundQuestion,
  parseService,
  parseWorkload,
  resolveOutbound,
  type Route,
} from '../../../ztunnel/state/index.ts'
import {
  gateway,
  serviceWire,
  type ServiceDraft,
  type WorkloadDraft,
  workloadWire,
} from '../../fakes/mesh.ts'
import { workload as wire } from '#wire'
import { ask, meshOf, web, wp } from '../../helpers/outbound-kit.ts'

const member = (port = 8080) => ({ services: { [web]: { 80: port } } })

/** A route as one line. */
const text = (route: Route): string => {
  switch (route.kind) {
    case 'passthrough':
      return `passthrough ${route.to.address}:${route.to.port} ${route.reason}`
    case 'direct':
      return `direct ${route.to.address}:${route.to.port}`
    case 'reject':
      return `reject ${route.message}`
    case 'resolve': {
      const { hostname, prefer, way } = route
      return `resolve ${hostname} ${prefer} for ${way.tunnel} to port ${way.port}`
    }
    default: {
      const expect = route.expect.map((id) => id.split('/').at(-1)).join(',')
      return `${route.kind} ${route.via.address}:${route.via.port} for ${route.authority} expecting ${expect}`
    }
  }
}
const server: WorkloadDraft = { name: 'server', addresses: ['10.0.0.2', 'fd00::2'], ...member() }
const plain: WorkloadDraft = { name: 'plain', addresses: ['10.0.0.3'], tunnelProtocol: 0 }
const service: ServiceDraft = { name: 'web', vips: ['10.96.0.1', 'fd96::1'], ports: { 80: 8080 } }
const waypoint: WorkloadDraft = {
  name: 'wp',
  addresses: ['10.0.0.9', 'fd00::9'],
  services: { [wp]: { 15008: 15008 } },
}
const waypointService: ServiceDraft = { name: 'wp', vips: ['10.96.0.9'], ports: { 15008: 15008 } }

const cases: [string, WorkloadDraft[], ServiceDraft[], string, string][] = [
  ['a meshed pod', [server], [], '10.0.0.2:8080', 'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server'],
  [
    'a meshed pod, IPv6',
    [server],
    [],
    '[fd00::2]:8080',
    'hbone fd00::2:15008 for [fd00::2]:8080 expecting server',
  ],
  ['a pod outside the mesh', [plain], [], '10.0.0.3:8080', 'direct 10.0.0.3:8080'],
  ['nobody we know', [], [], '1.1.1.1:443', 'passthrough 1.1.1.1:443 not-in-mesh'],
  [
    "a node's own address belongs to no host-network pod",
    [{ name: 'host', addresses: ['10.1.0.1'], networkMode: 1 }],
    [],
    '10.1.0.1:80',
    'passthrough 10.1.0.1:80 not-in-mesh',
  ],
  [
    'a service',
    [server],
    [service],
    '10.96.0.1:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  [
    'a service prefers the family that was dialled',
    [server],
    [service],
    '[fd96::1]:80',
    'hbone fd00::2:15008 for [fd00::2]:8080 expecting server',
  ],
  [
    'a service of one family gives that one whatever was dialled',
    [server],
    [{ ...service, ipFamilies: 1 }],
    '[fd96::1]:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  [
    'a service port that does not exist',
    [server],
    [service],
    '10.96.0.1:81',
    'reject no healthy upstream: web.demo.svc.cluster.local port 81',
  ],
  [
    'a service without endpoints',
    [],
    [service],
    '10.96.0.1:80',
    'reject no healthy upstream: web.demo.svc.cluster.local port 80',
  ],
  [
    'a service whose only endpoint is unhealthy',
    [{ ...server, status: 1 }],
    [service],
    '10.96.0.1:80',
    'reject no healthy upstream: web.demo.svc.cluster.local port 80',
  ],
  [
    'a service that publishes what is not ready',
    [{ ...server, status: 1 }],
    [{ ...service, loadBalancing: { mode: 0, routingPreference: [], healthPolicy: 1 } }],
    '10.96.0.1:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  [
    'a named port, which the endpoint resolves',
    [{ ...server, ...member(9090) }],
    [{ ...service, ports: { 80: 0 } }],
    '10.96.0.1:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:9090 expecting server',
  ],
  [
    'a named port that the endpoint does not have',
    [{ ...server, services: { [web]: {} } }],
    [{ ...service, ports: { 80: 0 } }],
    '10.96.0.1:80',
    'reject no healthy upstream: web.demo.svc.cluster.local port 80',
  ],
  [
    'a service with names of its own for its endpoints',
    [server],
    [{ ...service, subjectAltNames: ['spiffe://td/ns/x/sa/alt', 'not a name'] }],
    '10.96.0.1:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting alt,server',
  ],
  [
    'a PASSTHROUGH service',
    [server],
    [{ ...service, loadBalancing: { mode: 3, routingPreference: [], healthPolicy: 0 } }],
    '10.96.0.1:80',
    'passthrough 10.96.0.1:80 service-passthrough',
  ],
  [
    'an address in a block of a service',
    [server],
    [{ ...service, vips: ['10.97.0.0/16'] }],
    '10.97.3.4:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  [
    'a service with a waypoint: the authority is what was dialled',
    [server, waypoint],
    [{ ...service, waypoint: wp }, waypointService],
    '10.96.0.1:80',
    'waypoint 10.0.0.9:15008 for 10.96.0.1:80 expecting wp',
  ],
  [
    'a waypoint by its address',
    [server, waypoint],
    [{ ...service, waypoint: '10.96.0.9' }, waypointService],
    '10.96.0.1:80',
    'waypoint 10.0.0.9:15008 for 10.96.0.1:80 expecting wp',
  ],
  [
    'a waypoint that does not exist is never bypassed',
    [server],
    [{ ...service, waypoint: wp }],
    '10.96.0.1:80',
    `reject unknown waypoint: ${wp}`,
  ],
  [
    'a waypoint without a healthy pod is never bypassed',
    [server, { ...waypoint, status: 1 }],
    [{ ...service, waypoint: wp }, waypointService],
    '10.96.0.1:80',
    `reject waypoint unavailable: nobody of ${wp} is ready`,
  ],
  [
    'a pod with a waypoint',
    [{ ...server, waypoint: wp }, waypoint],
    [waypointService],
    '10.0.0.2:8080',
    'waypoint 10.0.0.9:15008 for 10.0.0.2:8080 expecting wp',
  ],
  [
    'a service without waypoint does not take the one of its pod',
    [{ ...server, waypoint: wp }, waypoint],
    [service, waypointService],
    '10.96.0.1:80',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  [
    'an endpoint in another network is no candidate',
    [{ ...server, network: 'far' }],
    [service],
    '10.96.0.1:80',
    'reject no healthy upstream: web.demo.svc.cluster.local port 80',
  ],
  [
    'of several workloads with one address the meshed pod',
    [
      { ...plain, uid: 'x/WorkloadEntry/demo/e', addresses: ['10.0.0.2'] },
      server,
      { ...plain, name: 'old', addresses: ['10.0.0.2'] },
    ],
    [],
    '10.0.0.2:8080',
    'hbone 10.0.0.2:15008 for 10.0.0.2:8080 expecting server',
  ],
  ['our own port on loopback', [], [], '127.0.0.1:15001', 'reject attempted self call'],
  ['our own port on the own address', [], [], '10.0.0.1:15006', 'reject attempted self call'],
  ['our own port on loopback, IPv6', [], [], '[::1]:15008', 'reject attempted self call'],
]
for (const [name, workloads, services, to, want] of cases) {
  t.test(name, async (t) => {
    t.equal(text(ask(meshOf(workloads, services), to)), want)
  })
}

t.test('endpoints are chosen by weight, and never with weight 0', async (t) => {
  const endpoint = (name: string, n: number, capacity: number): WorkloadDraft => ({
    ...member(),
    name,
    capacity,
    addresses: [`10.0.1.${n}`],
  })
  const state = meshOf([endpoint('a', 1, 1), endpoint('b', 2, 3), endpoint('never', 3, 0)], [service])
  const seen: Record<string, number> = {}
  for (let i = 0; i < 400; i++) {
    const route = ask(state, '10.96.0.1:80', { random: () => i / 400 })
    const name = route.kind === 'hbone' ? route.workload.name : route.kind
    seen[name] = (seen[name] ?? 0) + 1
  }
  t.same(seen, { a: 100, b: 300 })
})

t.test('an endpoint that failed is not chosen again; when all have, none is', async (t) => {
  const state = meshOf([server, { ...server, name: 'other', addresses: ['10.0.0.4'] }], [service])
  const tried = new Set<string>()
  for (const want of ['hbone', 'hbone', 'reject']) {
    const route = ask(state, '10.96.0.1:80', { tried: tried as OutboundQuestion['tried'] & Set<string> })
    t.equal(route.kind, want)
    if (route.kind === 'hbone') tried.add(route.workload.uid)
  }
  t.equal(tried.size, 2)
})

t.test('STRICT takes only what is near, FAILOVER what is nearest', async (t) => {
  const at = (name: string, n: number, zone: string, node: string): WorkloadDraft => ({
    ...member(),
    name,
    node,
    addresses: [`10.0.1.${n}`],
    locality: { region: 'r', zone, subzone: '' },
  })
  const far = at('far', 1, 'z2', 'n2')
  const near = at('near', 2, '', 'n1')
  const { NODE, ZONE, REGION } = wire.LoadBalancing_Scope
  const lb = (mode: number, routingPreference: wire.LoadBalancing_Scope[]) => ({
    ...service,
    loadBalancing: { mode: mode as wire.LoadBalancing_Mode, routingPreference, healthPolicy: 0 as const },
  })
  const chosen = (workloads: WorkloadDraft[], draft: ServiceDraft) => {
    const route = ask(meshOf(workloads, [draft]), '10.96.0.1:80', { random: () => 0.1 })
    return route.kind === 'hbone' ? route.workload.name : route.kind
  }
  t.equal(chosen([far, near], lb(1, [NODE])), 'near')
  t.equal(chosen([far], lb(1, [NODE])), 'reject')
  t.equal(chosen([far, near], lb(2, [NODE, ZONE])), 'near')
  t.equal(chosen([far], lb(2, [NODE, ZONE, REGION])), 'far')
})

t.test('a waypoint that is the source itself goes on to the endpoint', async (t) => {
  const state = new MeshState('n1')
  const drafts: WorkloadDraft[] = [server, { ...waypoint, name: 'client', serviceAccount: 'wp', node: 'n1' }]
  state.apply({
    workloads: drafts.map((draft) => parseWorkload(workloadWire(draft))),
    services: [{ ...service, waypoint: wp }, waypointService].map((draft) =>
      parseService(serviceWire(draft)),
    ),
  })
  const source = state.localWorkload({ namespace: 'demo', name: 'client', serviceAccount: 'wp' })
  if (!source) throw new Error('no source')
  const asked = { source, sourceIp: ip('10.0.0.9'), network: '', random: () => 0 }
  const to = { address: ip('10.96.0.1'), port: 80 }
  t.equal(resolveOutbound(state, asked, to).kind, 'hbone')
  t.equal(
    resolveOutbound(state, { ...asked, sourceIp: ip('10.0.0.77') }, to).kind,
    'waypoint',
    'only from its own address',
  )
})

t.test('a waypoint of several pods is not sent on to another of them', async (t) => {
  const state = new MeshState('n1')
  const drafts: WorkloadDraft[] = [
    server,
    { ...waypoint, name: 'wp-other', serviceAccount: 'wp', addresses: ['10.0.0.8'] },
    { ...waypoint, name: 'client', serviceAccount: 'wp', node: 'n1' },
  ]
  state.apply({
    workloads: drafts.map((draft) => parseWorkload(workloadWire(draft))),
    services: [{ ...service, waypoint: wp }, waypointService].map((draft) =>
      parseService(serviceWire(draft)),
    ),
  })
  const source = state.localWorkload({ namespace: 'demo', name: 'client', serviceAccount: 'wp' })
  if (!source) throw new Error('no source')
  for (const random of [0, 0.99]) {
    const asked = { source, sourceIp: ip('10.0.0.9'), network: '', random: () => random }
    t.equal(resolveOutbound(state, asked, { address: ip('10.96.0.1'), port: 80 }).kind, 'hbone')
  }
})

t.test('ports that a service does not have are refused without a look at its endpoints', async (t) => {
  const state = meshOf([server], [service])
  let looked = 0
  const members = state.membersOf.bind(state)
  state.membersOf = (key) => {
    looked++
    return members(key)
  }
  for (let port = 1000; port < 1100; port++) t.match(ask(state, `10.96.0.1:${port}`), { kind: 'reject' })
  t.equal(looked, 0)
})

t.test('weighted waypoints share the connections', async (t) => {
  const wp2 = 'demo/wp2.demo.svc.cluster.local'
  const second: WorkloadDraft = {
    name: 'wp2',
    addresses: ['10.0.0.8'],
    services: { [wp2]: { 15008: 15008 } },
  }
  const weightedWaypoints = [
    { destination: gateway(wp), weight: 1 },
    { destination: gateway(wp2), weight: 1 },
  ]
  const services = [
    { ...service, weightedWaypoints },
    waypointService,
    { ...waypointService, name: 'wp2', vips: [] },
  ]
  const state = meshOf([server, waypoint, second], services)
  const via = (random: number) => {
    const route = ask(state, '10.96.0.1:80', { random: () => random })
    return route.kind === 'waypoint' ? route.via.address : route.kind
  }
  t.same([via(0.2), via(0.7)], ['10.0.0.9', '10.0.0.8'])
})
