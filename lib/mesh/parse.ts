import { type Cidr, type Ip, ipFromBytes } from '#base'
import { parseSpiffeId, spiffeId, type SpiffeId } from '#identity'
import type { PolicyName } from '#policy'
import { failsOpen, serviceKindOf, toldLabels, workload as wire } from '#wire'
import {
  type ApplicationTunnel,
  type Gateway,
  type LoadBalancer,
  type PortMap,
  type Scope,
  type Service,
  type ServiceKey,
  serviceKey,
  type Workload,
  type WorkloadUid,
} from './mesh.ts'

/** A resource that cannot be used; the message goes into the NACK. Caught where resources are applied. */
class Unusable extends Error {}
const unusable = (reason: string): never => {
  throw new Unusable(reason)
}

/** Bytes of an Address resource → workload or service. Throws for what cannot be used safely. */
export function parseAddressResource(
  bytes: Uint8Array,
): { kind: 'workload'; value: Workload } | { kind: 'service'; value: Service } {
  const { type } = wire.Address.decode(bytes)
  if (type === undefined) return unusable('neither workload nor service')
  return type.$case === 'workload'
    ? { kind: 'workload', value: parseWorkload(type.value) }
    : { kind: 'service', value: parseService(type.value) }
}

/** Enum values that this version does not know are refused where a wrong guess would weaken something. */
export function parseWorkload(w: wire.Workload): Workload {
  if (w.uid === '') unusable('workload without uid')
  const trustDomain = w.trustDomain || 'cluster.local'
  const serviceAccount = w.serviceAccount || 'default'
  return {
    uid: w.uid as WorkloadUid,
    name: w.name,
    namespace: w.namespace,
    trustDomain,
    serviceAccount,
    identity: identityOf({ trustDomain, namespace: w.namespace, serviceAccount }),
    addresses: w.addresses.map(parseIpBytes),
    network: w.network,
    protocol: protocolOf(w.tunnelProtocol),
    networkMode:
      valueOf(['Standard', 'HostNetwork'], w.networkMode) ??
      unusable(`unknown network mode ${w.networkMode}`),
    waypoint: w.waypoint && parseGateway(w.waypoint),
    failsOpen: failsOpen(w.extensions),
    networkGateway: w.networkGateway && parseGateway(w.networkGateway),
    node: w.node,
    canonicalName: w.canonicalName,
    canonicalRevision: w.canonicalRevision,
    workloadType: valueOf(['deployment', 'cronjob', 'pod', 'job'], w.workloadType) ?? 'pod', // only a label
    workloadName: w.workloadName,
    nativeTunnel: w.nativeTunnel,
    authorizationPolicies: w.authorizationPolicies as PolicyName[],
    status: w.status === wire.WorkloadStatus.HEALTHY ? 'Healthy' : 'Unhealthy',
    clusterId: w.clusterId || 'Kubernetes',
    hostname: w.hostname,
    services: new Map(Object.entries(w.services).map(([key, { ports }]) => [parseKey(key), portMap(ports)])),
    applicationTunnel: w.applicationTunnel && parseTunnel(w.applicationTunnel),
    locality: w.locality ?? { region: '', zone: '', subzone: '' },
    labels: toldLabels(w.extensions),
    capacity: w.capacity ?? 1,
  }
}

export function parseService(s: wire.Service): Service {
  if (s.hostname === '' || s.hostname.includes('/')) unusable('service without a usable hostname')
  const addresses = s.addresses.map((a) => ({ ...a, ip: parseIpBytes(a.address) }))
  const full = (a: { address: Uint8Array; length?: number | undefined }) =>
    a.length === undefined || a.length === a.address.length * 8
  return {
    key: serviceKey(s.namespace, s.hostname),
    kind: serviceKindOf(s),
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname,
    vips: addresses.filter(full).map(({ network, ip }) => ({ network, address: ip })),
    cidrVips: addresses
      .filter((a) => !full(a))
      .map(({ network, address, length = 0 }) => ({ network, cidr: parseBlock(address, length) })),
    ports: portMap(s.ports),
    subjectAltNames: s.subjectAltNames.map(parseSpiffeId).filter((id) => id !== undefined),
    waypoint: s.waypoint && parseGateway(s.waypoint),
    failsOpen: failsOpen(s.extensions),
    weightedWaypoints: s.weightedWaypoints.map(({ destination, weight }) => ({
      gateway: destination ? parseGateway(destination) : unusable('weighted waypoint without destination'),
      weight,
    })),
    loadBalancer: parseLoadBalancing(s.loadBalancing),
    // Of an unknown one: whatever its endpoints have.
    ipFamilies: valueOf(['Automatic', 'IPv4', 'IPv6', 'Dual'], s.ipFamilies) ?? 'Automatic',
    canonical: s.canonical,
    visibility: s.visibility === wire.Visibility.NAMESPACE ? 'Namespace' : 'Public',
  }
}

function identityOf(parts: Parameters<typeof spiffeId>[0]): SpiffeId {
  try {
    return spiffeId(parts)
  } catch {
    return unusable(`no identity can be made of ${JSON.stringify(parts)}`)
  }
}

const parseIpBytes = (bytes: Uint8Array): Ip =>
  ipFromBytes(bytes) ?? unusable(`an address of ${bytes.length} bytes`)

/** A block of IPv4 in IPv6 clothes is one of IPv4, as its addresses are. */
function parseBlock(bytes: Uint8Array, length: number): Cidr {
  if (length > bytes.length * 8) return unusable(`a block of ${bytes.length} bytes and length ${length}`)
  const mapped = bytes.length === 16 && length >= 96 && !parseIpBytes(bytes).includes(':')
  return mapped
    ? { bytes: Uint8Array.from(bytes.subarray(12)), length: length - 96 }
    : { bytes: Uint8Array.from(bytes), length }
}

const protocolOf = (protocol: number): Workload['protocol'] =>
  valueOf(['TCP', 'HBONE'], protocol) ?? unusable(`unknown tunnel protocol ${protocol}`)

function parseKey(key: string): ServiceKey {
  const [namespace, hostname, ...rest] = key.split('/')
  if (!namespace || !hostname || rest.length > 0) return unusable(`not a namespace/hostname: ${key}`)
  return serviceKey(namespace, hostname)
}

/** The member of an enum by its number; undefined for a number of a later version. */
const valueOf = <const T>(values: readonly T[], n: number): T | undefined => values[n]

const isPort = (port: number) => port >= 1 && port <= 65_535
function portMap(ports: readonly wire.Port[]): PortMap {
  const bad = ports.find((p) => !isPort(p.servicePort) || (p.targetPort !== 0 && !isPort(p.targetPort)))
  if (bad) unusable(`not a port: ${bad.servicePort} to ${bad.targetPort}`)
  return new Map(ports.map((p) => [p.servicePort, p.targetPort]))
}

function parseGateway({ destination, hboneMtlsPort }: wire.GatewayAddress): Gateway {
  if (!isPort(hboneMtlsPort)) unusable(`a gateway with port ${hboneMtlsPort}`)
  if (destination === undefined) return unusable('a gateway without destination')
  const port = hboneMtlsPort
  if (destination.$case === 'address') {
    const { network, address } = destination.value
    return { to: { kind: 'address', network, address: parseIpBytes(address) }, port }
  }
  const { namespace, hostname } = destination.value
  return { to: { kind: 'hostname', service: parseKey(`${namespace}/${hostname}`) }, port }
}

function parseTunnel({ protocol, port }: wire.ApplicationTunnel): ApplicationTunnel {
  if (port > 65_535) unusable(`an application tunnel to port ${port}`)
  return {
    protocol: valueOf(['NONE', 'PROXY'], protocol) ?? unusable(`unknown application tunnel ${protocol}`),
    port: port === 0 ? undefined : port,
  }
}

const scopes: readonly (Scope | undefined)[] = [
  undefined,
  'Region',
  'Zone',
  'Subzone',
  'Node',
  'Cluster',
  'Network',
]

function parseLoadBalancing(lb: wire.LoadBalancing | undefined): LoadBalancer {
  if (!lb) return { mode: 'Standard', preferences: [], healthPolicy: 'OnlyHealthy' }
  const mode =
    valueOf(['Standard', 'Strict', 'Failover', 'Passthrough'], lb.mode) ??
    unusable(`unknown load balancing mode ${lb.mode}`)
  return {
    mode,
    preferences: parsePreferences(lb.routingPreference, mode),
    healthPolicy: valueOf(['OnlyHealthy', 'AllowAll'], lb.healthPolicy) ?? 'OnlyHealthy',
  }
}

/** Where a scope only ranks, one that we do not know ends the list; where it excludes, it must be known. */
function parsePreferences(given: readonly number[], mode: LoadBalancer['mode']): readonly Scope[] {
  const known: Scope[] = []
  for (const n of given) {
    const scope = scopes[n]
    if (scope === undefined && mode === 'Failover' && n >= scopes.length) break
    known.push(scope ?? unusable(`unknown scope ${n}`))
  }
  return known
}
