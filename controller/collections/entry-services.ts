import type { Fetch } from '#kube'
import { serviceEntryExtension, workload } from '#wire'
import { type Claim, type EntryContext, holds, isCanonical } from './entries.ts'
import { bytesOfIp } from './inputs.ts'
import type { ServiceEntry } from './service-entry.ts'
import { networkOf, preferenceOf } from './services.ts'

const { IPFamilies, LoadBalancing_HealthPolicy, LoadBalancing_Mode, Visibility } = workload

/** One host of a ServiceEntry as ztunnel sees it; no row for a claim that does not hold. */
export function entryService(
  claim: Claim,
  fetch: Fetch,
  context: EntryContext,
): workload.Service | undefined {
  const { host, entry, visibility } = claim
  if (!holds(claim, fetch, context)) return undefined
  const network = networkOf(fetch, context.inputs, context.settings)
  return {
    name: entry.name,
    namespace: entry.namespace,
    hostname: host,
    addresses: addressesOf(entry, host).map((address) => ({ network, ...address })),
    ports: entry.ports.map(({ number, targetPort = number, appProtocol }) => ({
      servicePort: number,
      targetPort,
      appProtocol,
    })),
    subjectAltNames: [...entry.subjectAltNames],
    waypoint: undefined,
    loadBalancing: loadBalancingOf(entry, fetch, context),
    ipFamilies: IPFamilies.AUTOMATIC,
    extensions: [serviceEntryExtension],
    canonical: isCanonical(claim, fetch, context),
    ingressUseWaypoint: false,
    weightedWaypoints: [],
    visibility: visibility === 'namespace' ? Visibility.NAMESPACE : Visibility.PUBLIC,
  }
}

/** The user's own addresses; only without any the ones that were allocated to this host. */
function addressesOf(entry: ServiceEntry, host: string): readonly { address: Buffer; length?: number }[] {
  if (entry.addresses.length > 0)
    return entry.addresses.map(({ bytes, length }) => ({
      address: masked(bytes, length),
      ...(length === bytes.length * 8 ? {} : { length }),
    }))
  return entry.vips.filter((vip) => vip.host === host).map(({ address }) => ({ address: bytesOfIp(address) }))
}

/** The first address of a block, which names it. */
const masked = (bytes: Uint8Array, length: number): Buffer =>
  Buffer.from(bytes.map((byte, i) => byte & (0xff << Math.min(8, Math.max(0, 8 * (i + 1) - length)))))

function loadBalancingOf(
  entry: ServiceEntry,
  fetch: Fetch,
  { inputs }: EntryContext,
): workload.LoadBalancing | undefined {
  if (entry.resolution === 'NONE')
    return {
      routingPreference: [],
      mode: LoadBalancing_Mode.PASSTHROUGH,
      healthPolicy: LoadBalancing_HealthPolicy.ALLOW_ALL,
    }
  const preference = preferenceOf(entry.trafficDistribution, entry.namespace, fetch, inputs.namespaces)
  if (preference === undefined) return undefined
  return {
    routingPreference: [...preference],
    mode: LoadBalancing_Mode.FAILOVER,
    healthPolicy: LoadBalancing_HealthPolicy.ONLY_HEALTHY,
  }
}
