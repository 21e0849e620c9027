import type { Brand, Cidr, Ip } from '#base'
import type { SpiffeId } from '#identity'
import type { PolicyName } from '#policy'

/** Primary key of a workload, as the control plane made it. */
export type WorkloadUid = Brand<string, 'WorkloadUid'>
/** `namespace/hostname` of a service. */
export type ServiceKey = Brand<string, 'ServiceKey'>
/** service port → port of the endpoint; 0 where the name of a port has to be looked up per endpoint. */
export type PortMap = ReadonlyMap<number, number>

/** Where a waypoint or a network's gateway is. */
export type Gateway = Readonly<{
  to:
    | Readonly<{ kind: 'address'; network: string; address: Ip }>
    | Readonly<{ kind: 'hostname'; service: ServiceKey }>
  port: number
}>

export type Locality = Readonly<{ region: string; zone: string; subzone: string }>
/** `port` overrides the target port; PROXY means that the application wants a PROXY header. */
export type ApplicationTunnel = Readonly<{ protocol: 'NONE' | 'PROXY'; port: number | undefined }>

export type Workload = Readonly<{
  uid: WorkloadUid
  name: string
  namespace: string
  trustDomain: string
  serviceAccount: string
  /** Made of the three above. */
  identity: SpiffeId
  addresses: readonly Ip[]
  network: string
  protocol: 'TCP' | 'HBONE'
  networkMode: 'Standard' | 'HostNetwork'
  waypoint: Gateway | undefined
  /** Connections go on without the waypoint where that has nobody who takes them. */
  failsOpen: boolean
  networkGateway: Gateway | undefined
  node: string
  canonicalName: string
  canonicalRevision: string
  workloadType: 'deployment' | 'cronjob' | 'pod' | 'job'
  workloadName: string
  nativeTunnel: boolean
  authorizationPolicies: readonly PolicyName[]
  status: 'Healthy' | 'Unhealthy'
  clusterId: string
  hostname: string
  services: ReadonlyMap<ServiceKey, PortMap>
  applicationTunnel: ApplicationTunnel | undefined
  locality: Locality
  /** Labels of its pod, beyond what the fields tell; see `labelOf` of lib/wire. */
  labels: ReadonlyMap<string, string>
  /** Weight among the endpoints of a service; 0 is never chosen. */
  capacity: number
}>

export type Scope = 'Region' | 'Zone' | 'Subzone' | 'Node' | 'Cluster' | 'Network'

export type LoadBalancer = Readonly<{
  mode: 'Standard' | 'Strict' | 'Failover' | 'Passthrough'
  preferences: readonly Scope[]
  healthPolicy: 'OnlyHealthy' | 'AllowAll'
}>

export type Service = Readonly<{
  key: ServiceKey
  /** What it comes from: both may have one name. */
  kind: 'Service' | 'ServiceEntry'
  name: string
  namespace: string
  hostname: string
  vips: readonly Readonly<{ network: string; address: Ip }>[]
  cidrVips: readonly Readonly<{ network: string; cidr: Cidr }>[]
  ports: PortMap
  subjectAltNames: readonly SpiffeId[]
  waypoint: Gateway | undefined
  /** Connections go on without the waypoints where these have nobody who takes them. */
  failsOpen: boolean
  weightedWaypoints: readonly Readonly<{ gateway: Gateway; weight: number }>[]
  loadBalancer: LoadBalancer
  ipFamilies: 'Automatic' | 'IPv4' | 'IPv6' | 'Dual'
  canonical: boolean
  visibility: 'Public' | 'Namespace'
}>

/** What telemetry knows of one end of a connection: a workload of ours, or what a peer says about itself. */
export type Party = Readonly<{
  /** The pod's own name; '' where only its workload is known. */
  name: string
  workloadName: string
  canonicalName: string
  canonicalRevision: string
  namespace: string
  clusterId: string
  locality: Readonly<{ region: string; zone: string }>
}>

/** The pod of an enrolled network namespace, as the node agent names it. */
export type PodName = Readonly<{ name: string; namespace: string; serviceAccount: string }>

/** The key of a service from its parts. */
export const serviceKey = (namespace: string, hostname: string): ServiceKey =>
  `${namespace}/${hostname}` as ServiceKey

/** A gateway as one string, `network/ip` or `namespace/hostname`. */
export const gatewayName = ({ to }: Gateway): string =>
  to.kind === 'address' ? `${to.network}/${to.address}` : to.service
