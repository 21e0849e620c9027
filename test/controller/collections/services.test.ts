import t from 'tap'
import type { Service } from '#kube'
import { workload } from '#wire'
import { host, ips, meshOf, namespace, type Objects, service } from './world.ts'

const of = (s: Service, o: Objects = {}) => meshOf({ services: [s], ...o }).services.get(host)
t.test('a Service', async (t) => {
  const s = of(service({ clusterIPs: ['10.96.1.1', 'fd00::1'], ipFamilies: ['IPv4', 'IPv6'] }))
  t.match(s, {
    name: 'order',
    namespace: 'shop',
    hostname: 'order.shop.svc.cluster.local',
    canonical: true,
    ipFamilies: workload.IPFamilies.DUAL,
    loadBalancing: undefined,
  })
  t.strictSame(ips(s?.addresses.map(({ address }) => address) ?? []), ['10.96.1.1', 'fd00::1'])
  t.match(s?.ports, [{ servicePort: 80, targetPort: 8080, appProtocol: workload.AppProtocol.HTTP11 }])
  t.strictSame(
    of(service({ clusterIP: 'None', clusterIPs: ['None'] }))?.addresses,
    [],
    'headless: no address',
  )
  t.equal(of(service({ type: 'ExternalName' })), undefined)
  t.match(of(service({ ports: [{ port: 80, targetPort: 'web' }] }))?.ports, [{ targetPort: 0 }])
  t.equal(of(service({ ipFamilies: ['IPv6'] }))?.ipFamilies, workload.IPFamilies.IPV6_ONLY)
})

const { HTTP11, HTTP2, GRPC, TLS, TCP, UNKNOWN } = workload.AppProtocol
for (const [port, want] of [
  [{ name: 'http' }, HTTP11],
  [{ name: 'http-web' }, HTTP11],
  [{ name: 'http2-x' }, HTTP2],
  [{ name: 'grpc' }, GRPC],
  [{ name: 'https' }, TLS],
  [{ name: 'tcp-x' }, TCP],
  [{ name: 'redis' }, UNKNOWN],
  [{ name: 'constructor' }, UNKNOWN],
  [{}, UNKNOWN],
  [{ name: 'tcp', appProtocol: 'http2' }, HTTP2],
  [{ name: 'http', appProtocol: 'kubernetes.io/h2c' }, HTTP2],
] as const)
  t.test(`protocol of ${JSON.stringify(port)}`, async (t) => {
    t.equal(of(service({ ports: [{ port: 1, ...port }] }))?.ports[0]?.appProtocol, want)
  })

const { NODE, NETWORK, REGION, ZONE, SUBZONE } = workload.LoadBalancing_Scope
const annotated = { annotations: { 'networking.istio.io/traffic-distribution': 'PreferSameNode' } }
const balancing: readonly [
  string,
  Service,
  Objects,
  readonly [number, readonly number[], number] | undefined,
][] = [
  ['nothing said', service(), {}, undefined],
  ['an unknown wish', service({ trafficDistribution: 'constructor' }), {}, undefined],
  [
    'internalTrafficPolicy Local',
    service({ internalTrafficPolicy: 'Local', trafficDistribution: 'PreferClose' }),
    {},
    [1, [NODE], 0],
  ],
  ['PreferClose', service({ trafficDistribution: 'PreferClose' }), {}, [2, [NETWORK, REGION, ZONE], 0]],
  [
    'PreferSameNode',
    service({ trafficDistribution: 'PreferSameNode' }),
    {},
    [2, [NETWORK, REGION, ZONE, SUBZONE, NODE], 0],
  ],
  ['annotation of the Service', service({}, annotated), {}, [2, [NETWORK, REGION, ZONE, SUBZONE, NODE], 0]],
  [
    'annotation of its namespace',
    service(),
    { namespaces: [namespace('shop', annotated)] },
    [2, [NETWORK, REGION, ZONE, SUBZONE, NODE], 0],
  ],
  ['an unknown wish', service({ trafficDistribution: 'PreferFar' }), {}, undefined],
  ['endpoints before they are ready', service({ publishNotReadyAddresses: true }), {}, [0, [], 1]],
]
for (const [title, s, objects, want] of balancing)
  t.test(`load balancing: ${title}`, async (t) => {
    const row = of(s, objects)
    t.ok(row, 'the Service is in the mesh whatever was wished')
    const lb = row?.loadBalancing
    t.strictSame(lb && [lb.mode, lb.routingPreference, lb.healthPolicy], want)
  })
