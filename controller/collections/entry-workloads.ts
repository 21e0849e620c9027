import type { Custom, Fetch, Pod } from '#kube'
import { workload } from '#wire'
import { allHeldClaims, type Claim, slotOf } from './entries.ts'
import { bytesOfIp, nameOf, namespaceOf } from './inputs.ts'
import { entryPorts, type PortLists, servicesOfMachine } from './memberships.ts'
import { canonicalNameOf, canonicalRevisionOf } from './names.ts'
import { implicitDns, isForWaypoint, isWildcard, type ServiceEntry } from './service-entry.ts'
import { networkOf } from './services.ts'
import { labels } from './settings.ts'
import { type EntryEndpoint, isUnhealthy, type Machine } from './workload-entry.ts'
import { blank, tunnelOf, wireTrustDomain, type WorkloadContext } from './workloads.ts'

const { NetworkMode, WorkloadStatus, WorkloadType } = workload

/** The endpoints that a ServiceEntry lists itself, each beside the pod that it stands for; without any, DNS resolves its hosts. */
export function inlineWorkloads(
  entry: ServiceEntry,
  fetch: Fetch,
  context: WorkloadContext,
): readonly Readonly<{ row: workload.Workload; pod: Pod }>[] {
  const held = allHeldClaims(entry, fetch, context)
  if (held.length === 0) return []
  const uid = `${context.settings.clusterId}/networking.istio.io/ServiceEntry/${entry.key}`
  const row = (endpoint: EntryEndpoint, claims: readonly Claim[]) => {
    const pod: Pod = { metadata: { namespace: entry.namespace, name: entry.name, labels: endpoint.labels } }
    const lists = claims.map((claim) => [slotOf(claim), { ports: entryPorts(entry, endpoint.ports) }])
    const own = { uid: `${uid}/${endpoint.address}`, workloadName: entry.name, healthy: true }
    const services = Object.fromEntries(lists)
    return { pod, row: machineWorkload(pod, endpoint, { ...own, services }, fetch, context) }
  }
  if (entry.endpoints.length > 0 || entry.selector !== undefined)
    return entry.endpoints.map((endpoint) => row(endpoint, held))
  // What is below a wildcard is the waypoint's to find out, for each name that is asked for.
  const resolved = implicitDns.has(entry.resolution) || isForWaypoint(entry) ? held : []
  return resolved.flatMap((claim) => (isWildcard(claim.host) ? [] : [row(named(claim.host), [claim])]))
}

const named = (host: string): EntryEndpoint => ({
  address: host,
  ip: undefined,
  ports: new Map(),
  labels: {},
  network: '',
  locality: undefined,
  weight: undefined,
  serviceAccount: '',
})

/** A machine outside the cluster. */
export function entryWorkload(
  object: Custom,
  { endpoint, pod }: Machine,
  fetch: Fetch,
  context: WorkloadContext,
): workload.Workload {
  const own = {
    uid: `${context.settings.clusterId}/networking.istio.io/WorkloadEntry/${namespaceOf(object)}/${nameOf(object)}`,
    workloadName: nameOfGroup(pod),
    healthy: !isUnhealthy(object),
    services: servicesOfMachine(pod, endpoint.ports, fetch, context),
  }
  return machineWorkload(pod, endpoint, own, fetch, context)
}

/** What users call it: a label, the WorkloadGroup that it was registered for, or its own name. */
const nameOfGroup = ({ metadata }: Pod): string =>
  metadata.labels?.[labels.workloadName] ||
  metadata.annotations?.['istio.io/autoRegistrationGroup'] ||
  (metadata.name ?? '')

type Own = Readonly<{ uid: string; workloadName: string; healthy: boolean; services: PortLists }>

const machineWorkload = (
  machine: Pod,
  { ip, address, network, serviceAccount, locality, weight }: EntryEndpoint,
  { uid, workloadName, healthy, services }: Own,
  fetch: Fetch,
  context: WorkloadContext,
): workload.Workload => ({
  ...blank,
  uid,
  name: nameOf(machine),
  namespace: namespaceOf(machine),
  addresses: ip === undefined ? [] : [bytesOfIp(ip)],
  hostname: ip === undefined ? address : '',
  network: network || networkOf(fetch, context.inputs, context.settings),
  ...tunnelOf(machine),
  trustDomain: wireTrustDomain(context.settings),
  serviceAccount,
  node: '',
  canonicalName: canonicalNameOf(machine, workloadName),
  canonicalRevision: canonicalRevisionOf(machine),
  workloadType: WorkloadType.POD,
  workloadName,
  authorizationPolicies: [...context.policiesOf(machine, fetch)],
  status: healthy ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
  clusterId: context.settings.clusterId,
  services,
  locality,
  networkMode: NetworkMode.STANDARD,
  capacity: weight,
})
