import type {
  Collection,
  Custom,
  EndpointSlice,
  Index,
  KubeNode,
  KubeObject,
  Namespace,
  Pod,
  Service,
} from '#kube'
import { type Ip, ipToBytes, isRecord } from '#base'
import { labels, type LiveSettings } from './settings.ts'

/** The Kubernetes objects that everything is derived from. */
export type Inputs = Readonly<{
  pods: Collection<Pod>
  services: Collection<Service>
  slices: Collection<EndpointSlice>
  namespaces: Collection<Namespace>
  nodes: Collection<KubeNode>
  authorizationPolicies: Collection<Custom>
  peerAuthentications: Collection<Custom>
  serviceEntries: Collection<Custom>
  workloadEntries: Collection<Custom>
  gateways: Collection<Custom>
  gatewayClasses: Collection<Custom>
  /** One row, `mesh`; none means the defaults. */
  meshConfig: Collection<LiveSettings>
}>

export type Indexes = Readonly<{
  servicesByNamespace: Index<Service>
  /** By `namespace/pod` of the endpoints. */
  slicesByPod: Index<EndpointSlice>
}>

/** Four or sixteen bytes with memory of their own: Node's pool would keep 8 KiB for them as long as a row has them. */
export function bytesOfIp(ip: Ip): Buffer {
  const bytes = ipToBytes(ip)
  const own = Buffer.alloc(bytes.length)
  own.set(bytes)
  return own
}

export const namespaceOf = ({ metadata }: KubeObject): string => metadata.namespace ?? ''
export const nameOf = ({ metadata }: KubeObject): string => metadata.name ?? ''

export const indexesOf = ({ services, slices }: Inputs): Indexes => ({
  servicesByNamespace: services.indexBy((service) => [namespaceOf(service)]),
  slicesByPod: slices.indexBy((slice) => [
    ...new Set(
      listIn(slice.endpoints)
        .filter(({ targetRef }) => targetRef?.kind === 'Pod')
        .map(({ targetRef }) => `${namespaceOf(slice)}/${targetRef?.name ?? ''}`),
    ),
  ]),
})

/** The Service that a slice belongs to, as a key; undefined for slices that belong to none. */
export const serviceKeyOf = (slice: EndpointSlice): string | undefined => {
  const name = slice.metadata.labels?.[labels.serviceName]
  return name === undefined ? undefined : `${namespaceOf(slice)}/${name}`
}

/** What others read of an object must not fail them when it is garbage. */
export const listIn = <T>(value: readonly T[] | null | undefined): readonly T[] =>
  Array.isArray(value) ? value.filter((item: T) => isRecord(item)) : []

/** Is each of `wanted` among `given`? An empty selector is not a selector: the caller decides what it means. */
export const isSubset = (
  wanted: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>> = {},
): boolean => Object.entries(wanted).every(([key, value]) => given[key] === value)
