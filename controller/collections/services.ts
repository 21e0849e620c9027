import { type Ip, isRecord, parseIp } from '#base'
import type { Fetch, Service, ServicePort } from '#kube'
import { workload } from '#wire'
import { bytesOfIp, type Inputs, listIn, nameOf, namespaceOf } from './inputs.ts'
import { annotations, labels, type Settings } from './settings.ts'

const {
  AppProtocol,
  IPFamilies,
  LoadBalancing_HealthPolicy,
  LoadBalancing_Mode,
  LoadBalancing_Scope,
  Visibility,
} = workload

const hostnameOf = (service: { metadata: Service['metadata'] }, { domain }: Settings): string =>
  `${nameOf(service)}.${namespaceOf(service)}.svc.${domain}`

/** The xDS name of a Service, which is also its key in a workload's `services`. */
export const serviceNameOf = (service: { metadata: Service['metadata'] }, settings: Settings): string =>
  `${namespaceOf(service)}/${hostnameOf(service, settings)}`

/** The network of everything in this cluster: a label of the root namespace, mostly unset. */
export const networkOf = (fetch: Fetch, { namespaces }: Inputs, { rootNamespace }: Settings): string =>
  fetch.one(namespaces, rootNamespace)?.metadata.labels?.[labels.network] ?? ''

/** Only TCP crosses the mesh. */
export const tcpPorts = (service: Service): readonly ServicePort[] =>
  listIn(service.spec?.ports).filter(({ protocol = 'TCP' }) => protocol === 'TCP')

/** A Service as ztunnel sees it; ExternalName Services are mere DNS and have none. */
export function meshService(
  service: Service,
  fetch: Fetch,
  inputs: Inputs,
  settings: Settings,
): workload.Service | undefined {
  const { spec = {} } = service
  if (spec.type === 'ExternalName') return undefined
  const network = networkOf(fetch, inputs, settings)
  return {
    name: nameOf(service),
    namespace: namespaceOf(service),
    hostname: hostnameOf(service, settings),
    addresses: clusterIpsOf(service).map((ip) => ({ network, address: bytesOfIp(ip) })),
    ports: tcpPorts(service).map((port) => ({
      servicePort: port.port,
      targetPort: typeof port.targetPort === 'string' ? 0 : (port.targetPort ?? port.port),
      appProtocol: appProtocolOf(port),
    })),
    subjectAltNames: [],
    waypoint: undefined,
    loadBalancing: loadBalancingOf(service, fetch, inputs),
    ipFamilies: ipFamiliesOf(spec.ipFamilies ?? []),
    extensions: [],
    canonical: true,
    ingressUseWaypoint: false,
    weightedWaypoints: [],
    visibility: Visibility.PUBLIC,
  }
}

/** All of `clusterIPs`; none for a headless Service, whose `None` is no address. */
export function clusterIpsOf({ spec }: Service): readonly Ip[] {
  const { clusterIP, clusterIPs } = isRecord(spec) ? spec : {}
  const texts: unknown = clusterIPs ?? [clusterIP]
  return (Array.isArray(texts) ? texts : [])
    .map((text: unknown) => (typeof text === 'string' ? parseIp(text) : undefined))
    .filter((ip) => ip !== undefined)
}

// Maps, because users choose the words and `constructor` is a member of every object.
const protocols: ReadonlyMap<string, workload.AppProtocol> = new Map([
  ['http', AppProtocol.HTTP11],
  ['kubernetes.io/ws', AppProtocol.HTTP11],
  ['http2', AppProtocol.HTTP2],
  ['kubernetes.io/h2c', AppProtocol.HTTP2],
  ['grpc', AppProtocol.GRPC],
  ['grpc-web', AppProtocol.HTTP11],
  ['https', AppProtocol.TLS],
  ['tls', AppProtocol.TLS],
  ['tcp', AppProtocol.TCP],
])

/** What `appProtocol` says, else the first word of the port's name: `http-web` is HTTP. */
export function appProtocolOf({
  appProtocol,
  name = '',
}: Pick<ServicePort, 'appProtocol' | 'name'>): workload.AppProtocol {
  // The one name of two words.
  const said = appProtocol?.toLowerCase() ?? (/^grpc-web($|-)/.exec(name) ? 'grpc-web' : name.split('-')[0])
  return protocols.get(said ?? '') ?? AppProtocol.UNKNOWN
}

function ipFamiliesOf(families: readonly string[]): workload.IPFamilies {
  const [v4, v6] = [families.includes('IPv4'), families.includes('IPv6')]
  if (v4 && v6) return IPFamilies.DUAL
  if (v4) return IPFamilies.IPV4_ONLY
  return v6 ? IPFamilies.IPV6_ONLY : IPFamilies.AUTOMATIC
}

const { NETWORK, REGION, ZONE, SUBZONE, NODE } = LoadBalancing_Scope
const preferences: ReadonlyMap<string, readonly workload.LoadBalancing_Scope[]> = new Map([
  ['PreferClose', [NETWORK, REGION, ZONE]],
  ['PreferSameZone', [NETWORK, REGION, ZONE]],
  ['PreferSameNode', [NETWORK, REGION, ZONE, SUBZONE, NODE]],
])

function loadBalancingOf(
  service: Service,
  fetch: Fetch,
  { namespaces }: Inputs,
): workload.LoadBalancing | undefined {
  const { spec = {}, metadata } = service
  const healthPolicy =
    spec.publishNotReadyAddresses === true
      ? LoadBalancing_HealthPolicy.ALLOW_ALL
      : LoadBalancing_HealthPolicy.ONLY_HEALTHY
  if (spec.internalTrafficPolicy === 'Local')
    return { routingPreference: [NODE], mode: LoadBalancing_Mode.STRICT, healthPolicy }
  const own = spec.trafficDistribution ?? metadata.annotations?.[annotations.trafficDistribution]
  const preference = preferenceOf(own, namespaceOf(service), fetch, namespaces)
  if (preference)
    return { routingPreference: [...preference], mode: LoadBalancing_Mode.FAILOVER, healthPolicy }
  if (healthPolicy === LoadBalancing_HealthPolicy.ONLY_HEALTHY) return undefined
  return { routingPreference: [], mode: LoadBalancing_Mode.UNSPECIFIED_MODE, healthPolicy }
}

/** Whom to prefer: as the service itself wishes, or else its namespace. */
export function preferenceOf(
  own: string | undefined,
  namespace: string,
  fetch: Fetch,
  namespaces: Inputs['namespaces'],
): readonly workload.LoadBalancing_Scope[] | undefined {
  const wish =
    own ?? fetch.one(namespaces, namespace)?.metadata.annotations?.[annotations.trafficDistribution]
  return wish === undefined ? undefined : preferences.get(wish)
}
