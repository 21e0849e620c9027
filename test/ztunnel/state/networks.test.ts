import t from 'tap'
import { gateway, type ServiceDraft, type WorkloadDraft } from '../../fakes/mesh.ts'
import {
  alt,
  ask,
  byAddress,
  eastWest,
  far,
  gatewayService,
  id,
  meshOf,
  near,
  networkFirst,
  service,
  textOf,
  through,
  waypoint,
  waypointService,
  wp,
} from '../../helpers/two-networks.ts'

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
    'reject waypoint-unavailable',
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
  [
    'a PASSTHROUGH service with a waypoint goes to the waypoint',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9'] }],
    [
      { ...service, waypoint: wp, loadBalancing: { mode: 3, routingPreference: [], healthPolicy: 0 } },
      waypointService,
    ],
    '10.96.0.1:80',
    `waypoint 10.0.0.9:15008 10.96.0.1:80 ${id('wp')} service-waypoint`,
  ],
  [
    "a pod's waypoint by address",
    [
      { ...near, waypoint: '10.0.0.9' },
      { ...waypoint, network: '', addresses: ['10.0.0.9'], services: {} },
    ],
    [],
    '10.0.0.2:80',
    `waypoint 10.0.0.9:15008 10.0.0.2:80 ${id('wp')} workload-waypoint`,
  ],
  [
    'a waypoint of weight 0 is not used, the single one is where no other has weight',
    [{ ...waypoint, network: '', addresses: ['10.0.0.9'] }],
    [
      {
        ...service,
        waypoint: wp,
        weightedWaypoints: [{ destination: gateway('demo/gone.demo.svc.cluster.local'), weight: 0 }],
      },
      waypointService,
    ],
    '10.96.0.1:80',
    `waypoint 10.0.0.9:15008 10.96.0.1:80 ${id('wp')} service-waypoint`,
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
