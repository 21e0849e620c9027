import { ipFromBytes, isRecord } from '#base'
import type { Condition, Custom, EndpointSlice, KubeNode, KubeObject, Namespace, Pod, Service } from '#kube'
import { security, serviceEntryExtension, workload } from '#wire'
import type { Settings } from '../../../controller/collections/index.ts'
import { liveSettingsFrom } from '../../../controller/mesh-config.ts'
import { meshOf, sentence } from '../collections/world.ts'

type Fields = Record<string, unknown>
export type Case = Readonly<{
  title: string
  shows?: 'workloads' | 'services' | 'all'
  settings?: Partial<Settings>
  /** MeshConfig. */
  mesh?: Fields
  given: readonly (Fields & { kind: string })[]
  want?: Readonly<Record<string, Fields | null>>
  /** By `Kind namespace/name`: `type status reason: message`, or the beginning of it. Objects not named here are not looked at. */
  conditions?: Readonly<Record<string, readonly string[]>>
  /** Every policy that ztunnel is told, as a sentence. */
  policies?: Readonly<Record<string, string>>
}>
export type Usual = Readonly<{ given: Record<string, Fields>; want: Record<string, Fields> }>

/** `over` laid over `base`: maps are merged, null takes away, everything else replaces. */
export function overlay(base: unknown, over: unknown): Fields {
  const merged: Fields = isRecord(base) ? { ...base } : {}
  for (const [key, value] of Object.entries(isRecord(over) ? over : {})) {
    if (value === null) delete merged[key]
    else merged[key] = isRecord(value) ? overlay(merged[key], value) : value
  }
  return merged
}

/** The mesh of a case's inputs. */
export function golden({ given, settings = {}, mesh = {} }: Case, usual: Usual) {
  const of = <T extends KubeObject>(kind: string) =>
    given.filter((o) => o.kind === kind).map((o) => overlay(usual.given[kind], o) as unknown as T)
  return meshOf({
    pods: of<Pod>('Pod'),
    services: of<Service>('Service'),
    slices: of<EndpointSlice>('EndpointSlice'),
    namespaces: of<Namespace>('Namespace'),
    nodes: of<KubeNode>('Node'),
    policies: of<Custom>('AuthorizationPolicy'),
    peers: of<Custom>('PeerAuthentication'),
    serviceEntries: of<Custom>('ServiceEntry'),
    workloadEntries: of<Custom>('WorkloadEntry'),
    gateways: of<Custom>('Gateway'),
    gatewayClasses: of<Custom>('GatewayClass'),
    live: liveSettingsFrom(mesh),
    settings,
  })
}

/** Every Address by its name, without the fields that say nothing. */
export function rendered(mesh: ReturnType<typeof golden>, shows: 'workloads' | 'services' | 'all') {
  const rows: Record<string, Fields> = {}
  for (const { name, aliases, any } of mesh.addresses.list()) {
    const { type } = workload.Address.decode(any.value)
    if (type?.$case === 'workload' && shows !== 'services')
      rows[name] = said({ ...workloadText(type.value), aliases })
    if (type?.$case === 'service' && shows !== 'workloads')
      rows[name] = said({ ...serviceText(type.value), aliases })
  }
  return rows
}

/** What the status of an object is made to say, by `Kind namespace/name`. */
export function told(mesh: ReturnType<typeof golden>, object: string): readonly string[] {
  const [kind = '', key = ''] = object.split(' ')
  const service = mesh.waypointReferences.get(key)
  const conditions: Readonly<Record<string, readonly Condition[] | undefined>> = {
    Service: service && [service.condition],
    ServiceEntry: mesh.entryConditions.get(key),
    WorkloadEntry: mesh.machineConditions.get(key),
    AuthorizationPolicy: mesh.policies.policyConditions.get(key),
    PeerAuthentication: mesh.policies.peerConditions.get(key),
  }
  return (conditions[kind] ?? []).map(
    ({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`,
  )
}

const scopes = ['mesh', 'namespace', 'selected']
/** Every Authorization by its name, as a sentence. */
export const policiesIn = ({ policies: { authorizations } }: ReturnType<typeof golden>) =>
  Object.fromEntries(
    authorizations.keys().map((key) => {
      const row = authorizations.get(key)
      const action = row?.action === security.Action.DENY ? 'DENY' : 'ALLOW'
      return [key, `${action} ${scopes[row?.scope ?? 0]}: ${sentence({ rules: row?.rules ?? [] })}`]
    }),
  )

const said = (fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) =>
        value !== undefined &&
        value !== '' &&
        value !== false &&
        !(Array.isArray(value) && value.length === 0) &&
        !(isRecord(value) && Object.keys(value).length === 0),
    ),
  )

const word = (words: Readonly<Record<string, number>>, value: number) =>
  Object.keys(words).find((name) => words[name] === value)

const gateway = (g: workload.GatewayAddress | undefined) =>
  g &&
  `${g.destination?.$case === 'hostname' ? `${g.destination.value.namespace}/${g.destination.value.hostname}` : g.destination ? networkAddress(g.destination.value) : ''}:${g.hboneMtlsPort}`
const networkAddress = ({ network, address, length }: workload.NetworkAddress) =>
  `${network}/${ipFromBytes(address)}${length === undefined ? '' : `/${length}`}`
const portText = ({ servicePort, targetPort }: workload.Port) => `${servicePort}>${targetPort}`

const workloadText = (w: workload.Workload): Fields => ({
  ...w,
  uid: undefined, // is its name
  addresses: w.addresses.map((bytes) => ipFromBytes(bytes)),
  tunnelProtocol: word(workload.TunnelProtocol, w.tunnelProtocol),
  workloadType: word(workload.WorkloadType, w.workloadType),
  status: word(workload.WorkloadStatus, w.status),
  networkMode: word(workload.NetworkMode, w.networkMode),
  locality: w.locality && `${w.locality.region}/${w.locality.zone}/${w.locality.subzone}`,
  waypoint: gateway(w.waypoint),
  networkGateway: gateway(w.networkGateway),
  extensions: w.extensions.map(({ name }) => name),
  applicationTunnel:
    w.applicationTunnel &&
    `${word(workload.ApplicationTunnel_Protocol, w.applicationTunnel.protocol)}/${w.applicationTunnel.port}`,
  services: Object.fromEntries(
    Object.entries(w.services).map(([name, { ports }]) => [name, ports.map(portText).join(' ')]),
  ),
})

const serviceText = (s: workload.Service): Fields => ({
  ...s,
  addresses: s.addresses.map(networkAddress),
  ports: s.ports.map((p) => `${portText(p)} ${word(workload.AppProtocol, p.appProtocol)}`),
  ipFamilies: word(workload.IPFamilies, s.ipFamilies),
  visibility: word(workload.Visibility, s.visibility),
  waypoint: gateway(s.waypoint),
  entry: s.extensions.some(({ name }) => name === serviceEntryExtension.name),
  extensions: s.extensions.map(({ name }) => name).filter((name) => name !== serviceEntryExtension.name),
  weightedWaypoints: s.weightedWaypoints.map((w) => `${gateway(w.destination)} ${w.weight}`),
  loadBalancing:
    s.loadBalancing &&
    [
      word(workload.LoadBalancing_Mode, s.loadBalancing.mode),
      word(workload.LoadBalancing_HealthPolicy, s.loadBalancing.healthPolicy),
      ...s.loadBalancing.routingPreference.map((scope) => word(workload.LoadBalancing_Scope, scope)),
    ].join(' '),
})
