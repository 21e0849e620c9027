import fc from 'fast-check'
import { workload as wire } from '#wire'
import { parseService, parseWorkload } from '../../ztunnel/state/index.ts'
import { gateway, type ServiceDraft, serviceWire, type WorkloadDraft, workloadWire } from '../fakes/mesh.ts'

export const far = 'far'
const keyOf = (name: string, namespace = 'demo') => `${namespace}/${name}.${namespace}.svc.cluster.local`
const maybe = <T>(some: fc.Arbitrary<T>, weight = 1) =>
  fc.oneof({ arbitrary: some, weight }, { arbitrary: fc.constant(undefined), weight: 2 })

const v4 = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5']
const v6 = ['fd00::1', 'fd00::2', 'fd00::3']

const waypointText = fc.constantFrom(keyOf('wp'), keyOf('wp'), '10.0.0.3', '10.96.0.9', keyOf('nobody'))
const networkGateway = fc.oneof(
  fc.constantFrom(gateway(keyOf('gw'), 15009), gateway(keyOf('gw'), 15009), gateway('10.0.0.4', 15009)),
  fc.constant({
    hboneMtlsPort: 15009,
    destination: {
      $case: 'address' as const,
      value: { network: far, address: Buffer.from([10, 0, 0, 5]) },
    },
  }),
)

const memberships = fc.record({
  [keyOf('web')]: maybe(fc.constantFrom({ 80: 8080 }, { 80: 0 }, {}), 6),
  [keyOf('web', 'other')]: maybe(fc.constantFrom({ 80: 8081 }, {})),
  [keyOf('wp')]: maybe(fc.constantFrom({ 15008: 15008 }, {}), 2),
  [keyOf('gw')]: maybe(fc.constantFrom({ 15009: 15008 }, {}), 3),
})
const defined = (map: Readonly<Record<string, Readonly<Record<number, number>> | undefined>>) =>
  Object.fromEntries(Object.entries(map).flatMap(([key, ports]) => (ports ? [[key, ports]] : [])))

/** A workload of few possible properties, so that they meet. Its uid says `n`. */
export const workloads = (n: number): fc.Arbitrary<WorkloadDraft> =>
  fc
    .record({
      name: fc.constant(`w${n}`),
      uid: fc.constantFrom(`c//Pod/demo/w${n}`, `c/networking.istio.io/WorkloadEntry/demo/w${n}`),
      namespace: fc.constantFrom('demo', 'demo', 'other'),
      addresses: fc.tuple(fc.subarray(v4, { maxLength: 1 }), fc.subarray(v6, { maxLength: 1 })),
      network: fc.constantFrom('', '', '', far),
      tunnelProtocol: fc.constantFrom(0, 1, 1) as fc.Arbitrary<wire.TunnelProtocol>,
      hostname: fc.constantFrom('', '', '', 'ext.example'),
      waypoint: maybe(waypointText),
      networkGateway: maybe(networkGateway, 6),
      services: memberships.map(defined),
      capacity: fc.constantFrom(0, 1, 1, 2),
      status: fc.constantFrom(0, 0, 0, 0, 0, 1) as fc.Arbitrary<wire.WorkloadStatus>,
      networkMode: fc.constantFrom(0, 0, 0, 1) as fc.Arbitrary<wire.NetworkMode>,
      locality: fc.record({
        region: fc.constantFrom('r', 'q'),
        zone: fc.constantFrom('a', 'b'),
        subzone: fc.constant(''),
      }),
      node: fc.constantFrom('n1', 'n2'),
      clusterId: fc.constantFrom('c1', 'c2'),
      applicationTunnel: maybe(
        fc.constantFrom<wire.ApplicationTunnel>({ protocol: 0, port: 15088 }, { protocol: 0, port: 0 }),
      ),
    })
    .map(({ addresses, waypoint, ...rest }) => ({
      ...rest,
      addresses: addresses.flat(),
      ...(waypoint === undefined ? {} : { waypoint }),
    }))

const { REGION, ZONE, NODE, CLUSTER, NETWORK } = wire.LoadBalancing_Scope
const loadBalancing = fc.record({
  mode: fc.constantFrom(0, 1, 2, 2, 2, 3) as fc.Arbitrary<wire.LoadBalancing_Mode>,
  routingPreference: fc.constantFrom<wire.LoadBalancing_Scope[]>(
    [],
    [NODE],
    [ZONE, NODE],
    [REGION, ZONE],
    [NETWORK, REGION, ZONE],
    [NETWORK],
    [CLUSTER, NETWORK],
  ),
  healthPolicy: fc.constantFrom(0, 0, 1) as fc.Arbitrary<wire.LoadBalancing_HealthPolicy>,
})

const weighted = fc.array(
  fc.record({ destination: waypointText.map((text) => gateway(text)), weight: fc.nat(2) }),
  { maxLength: 2 },
)

const altNames = [['spiffe://td/ns/x/sa/alt'], ['spiffe://td/ns/x/sa/alt']]
const unweighted: typeof weighted = fc.constant([])

/** A service of that name with VIPs out of `vips` and ports out of `ports`. */
const services = (
  name: string,
  namespace: string,
  vips: string[],
  ports: readonly Readonly<Record<number, number>>[],
): fc.Arbitrary<ServiceDraft> =>
  fc
    .record({
      vips: fc.subarray(vips, { minLength: 1 }),
      ports: fc.constantFrom(...ports),
      waypoint: name === 'web' ? maybe(maybe(waypointText)) : fc.constant(undefined),
      weightedWaypoints: name === 'web' ? fc.oneof(weighted, unweighted, unweighted) : unweighted,
      loadBalancing: maybe(loadBalancing, name === 'web' ? 4 : 1),
      ipFamilies: fc.constantFrom(0, 0, 1, 2, 3) as fc.Arbitrary<wire.IPFamilies>,
      canonical: fc.boolean(),
      visibility: fc.constantFrom(0, 0, 1) as fc.Arbitrary<wire.Visibility>,
      subjectAltNames: fc.constantFrom<string[]>([], ...altNames),
    })
    .map(({ waypoint, loadBalancing: lb, ...rest }) => ({
      name,
      namespace,
      ...rest,
      ...(waypoint === undefined ? {} : { waypoint }),
      ...(lb === undefined ? {} : { loadBalancing: lb }),
    }))

const webVips = [
  '10.96.0.1',
  'fd96::1',
  '10.0.0.2',
  '10.96.0.0/16',
  '10.96.0.0/24',
  '10.0.0.0/8',
  'fd00::/16',
]

export const client: WorkloadDraft = {
  name: 'client',
  node: 'n1',
  addresses: ['10.0.0.1', 'fd00::1'],
  clusterId: 'c1',
  locality: { region: 'r', zone: 'a', subzone: '' },
}

const web = services('web', 'demo', webVips, [{ 80: 8080 }, { 80: 0 }])
const otherWeb = services('web', 'other', webVips, [{ 80: 8080 }])
const wp = services('wp', 'demo', ['10.96.0.9'], [{ 15008: 15008 }, {}])
const gw = services('gw', 'demo', ['10.96.0.8'], [{ 15009: 15008 }])
/** Any of the services. */
export const serviceDrafts: fc.Arbitrary<ServiceDraft> = fc.oneof(web, otherWeb, wp, gw)

/** Drafts of a small mesh in which names, addresses and networks collide as often as they can. */
export const meshes = fc.record({
  workloads: fc
    .constantFrom(0, 1, 3, 4, 5, 5, 5)
    .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => workloads(n)))),
  services: fc
    .tuple(maybe(web, 8), maybe(otherWeb), maybe(wp, 6), maybe(gw, 6))
    .map((list) => list.filter((one) => one !== undefined)),
  /** The client may be a waypoint itself. */
  isWaypoint: fc.constantFrom(false, false, false, true),
})

export const rowsOf = (mesh: {
  workloads: readonly WorkloadDraft[]
  services: readonly ServiceDraft[]
  isWaypoint: boolean
}) => {
  const member = mesh.isWaypoint ? { services: { [keyOf('wp')]: { 15008: 15008 } } } : {}
  return {
    workloads: [{ ...client, ...member }, ...mesh.workloads].map((one) => parseWorkload(workloadWire(one))),
    services: mesh.services.map((one) => parseService(serviceWire(one))),
  }
}

/** VIPs of web, the likelier the oftener. */
const vipsDialled = ['10.96.0.1', '10.96.0.1', '10.96.0.1', 'fd96::1', 'fd96::1', '10.96.5.5', '10.96.5.5']

export const destinations = fc.record({
  address: fc.constantFrom(...vipsDialled, '10.96.0.9', '127.0.0.1', '1.1.1.1', ...v4, ...v6),
  port: fc.constantFrom(80, 80, 80, 80, 80, 81, 15008),
})
