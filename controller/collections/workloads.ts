import { parseIp } from '#base'
import type { Collection, EndpointSlice, Fetch, KubeNode, KubeObject, Pod } from '#kube'
import { workload } from '#wire'
import type { Entries } from './entries.ts'
import { bytesOfIp, type Indexes, type Inputs, listIn, nameOf, namespaceOf, serviceKeyOf } from './inputs.ts'
import { servicesOf, slicePorts } from './memberships.ts'
import { canonicalNameOf, canonicalRevisionOf, workloadNameOf } from './names.ts'
import { networkOf, serviceNameOf } from './services.ts'
import { annotations, labels, type Settings } from './settings.ts'

const { NetworkMode, TunnelProtocol, WorkloadStatus, WorkloadType } = workload

/** What a workload's row is made from besides the pod. */
export type WorkloadContext = Readonly<{
  inputs: Inputs
  indexes: Indexes
  settings: Settings
  entries: Entries
  /** Namespaces that we do not look at. */
  hidden: Collection<true>
  /** Of the nodes; apart from these, so that a node's heartbeats concern no workload. */
  localities: Collection<workload.Locality>
  /** Keys of the policies that name this pod by its labels. */
  policiesOf: (pod: Pod, fetch: Fetch) => readonly string[]
}>

/** A pod as ztunnel sees it. No row: finished, or without an address. */
export function podWorkload(pod: Pod, fetch: Fetch, context: WorkloadContext): workload.Workload | undefined {
  const { inputs, settings } = context
  const addresses = addressesOf(pod)
  if (isTerminal(pod) || addresses.length === 0) return undefined
  if (fetch.one(context.hidden, namespaceOf(pod)) !== undefined) return undefined
  const node = pod.spec?.nodeName ?? ''
  return {
    ...blank,
    uid: podUid(pod, settings),
    name: nameOf(pod),
    namespace: namespaceOf(pod),
    addresses,
    network: networkOf(fetch, inputs, settings),
    ...tunnelOf(pod),
    trustDomain: wireTrustDomain(settings),
    serviceAccount: pod.spec?.serviceAccountName ?? 'default',
    node,
    canonicalName: canonicalNameOf(pod),
    canonicalRevision: canonicalRevisionOf(pod),
    workloadType: WorkloadType.POD,
    workloadName: workloadNameOf(pod),
    authorizationPolicies: [...context.policiesOf(pod, fetch)],
    status: isHealthy(pod) ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    clusterId: settings.clusterId,
    services: servicesOf(pod, fetch, context),
    locality: fetch.one(context.localities, node),
    networkMode: pod.spec?.hostNetwork === true ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
  }
}

/** Istio's form: the group of Pods is empty, hence two slashes. */
const podUid = (pod: Pod, { clusterId }: Settings): string =>
  `${clusterId}//Pod/${namespaceOf(pod)}/${nameOf(pod)}`

/** Nothing runs in it any more, so its address may already be somebody else's. */
export const isTerminal = ({ status }: Pod): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'Failed'

export const blank = {
  waypoint: undefined,
  networkGateway: undefined,
  hostname: '',
  applicationTunnel: undefined,
  extensions: [],
  capacity: undefined,
} as const satisfies Partial<workload.Workload>

/** ztunnel reads an empty trust domain as `cluster.local`, and Istio sends it so. */
export const wireTrustDomain = ({ trustDomain }: Settings) =>
  trustDomain === 'cluster.local' ? '' : trustDomain

function addressesOf({ status = {} }: Pod): Buffer[] {
  const texts = status.podIPs?.map(({ ip }) => ip) ?? (status.podIP === undefined ? [] : [status.podIP])
  return texts
    .map(parseIp)
    .filter((ip) => ip !== undefined)
    .map((ip) => bytesOfIp(ip))
}

/** HBONE only where the CNI agent says that the pod is captured, or where the pod itself speaks it. */
export function tunnelOf({
  metadata,
}: KubeObject): Pick<workload.Workload, 'tunnelProtocol' | 'nativeTunnel'> {
  if (metadata.annotations?.[annotations.redirection] === 'enabled')
    return { tunnelProtocol: TunnelProtocol.HBONE, nativeTunnel: false }
  const own = (metadata.labels?.[labels.tunnel] ?? '').split(',').includes('http')
  return { tunnelProtocol: own ? TunnelProtocol.HBONE : TunnelProtocol.NONE, nativeTunnel: own }
}

const isHealthy = ({ metadata, status }: Pod): boolean =>
  metadata.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True')

/** Where a node is; undefined when nobody has said. */
export function localityOf(node: KubeNode): workload.Locality | undefined {
  const of = (label: string) => node.metadata.labels?.[label] ?? ''
  const locality = {
    region: of('topology.kubernetes.io/region'),
    zone: of('topology.kubernetes.io/zone'),
    subzone: of('topology.istio.io/subzone'),
  }
  return locality.region || locality.zone || locality.subzone ? locality : undefined
}

/** Endpoints that no pod stands behind, such as those of the `kubernetes` Service. They are never meshed. */
export function endpointWorkloads(
  slice: EndpointSlice,
  fetch: Fetch,
  { inputs, settings, hidden }: Pick<WorkloadContext, 'inputs' | 'settings' | 'hidden'>,
): readonly workload.Workload[] {
  const key = serviceKeyOf(slice)
  const service = key === undefined ? undefined : fetch.one(inputs.services, key)
  if (!service || service.spec?.type === 'ExternalName' || slice.addressType === 'FQDN') return []
  if (fetch.one(hidden, namespaceOf(slice)) !== undefined) return []
  const ports = slicePorts(service, slice)
  const seen = new Map<string, workload.Workload>()
  for (const endpoint of listIn(slice.endpoints)) {
    if (endpoint.targetRef?.kind === 'Pod') continue
    for (const text of endpoint.addresses ?? []) {
      const ip = parseIp(text)
      if (ip === undefined) continue
      const uid = `${settings.clusterId}/discovery.k8s.io/EndpointSlice/${namespaceOf(slice)}/${nameOf(slice)}/${ip}`
      seen.set(uid, {
        ...blank,
        uid,
        name: nameOf(slice),
        namespace: namespaceOf(slice),
        addresses: [bytesOfIp(ip)],
        network: networkOf(fetch, inputs, settings),
        tunnelProtocol: TunnelProtocol.NONE,
        nativeTunnel: false,
        trustDomain: wireTrustDomain(settings),
        serviceAccount: '',
        node: '',
        canonicalName: nameOf(service),
        canonicalRevision: 'latest',
        workloadType: WorkloadType.POD,
        workloadName: nameOf(slice),
        authorizationPolicies: [],
        status: endpoint.conditions?.ready === false ? WorkloadStatus.UNHEALTHY : WorkloadStatus.HEALTHY,
        clusterId: settings.clusterId,
        services: { [serviceNameOf(service, settings)]: { ports } },
        locality: undefined,
        networkMode: NetworkMode.HOST_NETWORK,
      })
    }
  }
  return [...seen.values()]
}
