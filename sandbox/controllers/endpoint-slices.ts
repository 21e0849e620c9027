import { isDeepStrictEqual } from 'node:util'
import { isIpv6, parseIp } from '#base'
import { type Endpoint, type EndpointSlice, kinds, type Pod, type Service, type ServicePort } from '#kube'
import { type Action, refTo, remove } from './actions.ts'
import { contentHash, controllerRef, isFinished, isReady } from './pod-state.ts'
import { containsLabels } from './selectors.ts'

const managedBy = 'endpointslice.kubernetes.io/managed-by'
const ours = 'endpointslice-controller.k8s.io'
/** Kubernetes' default of endpoints in a slice. */
const maxEndpoints = 100

type Family = 'IPv4' | 'IPv6'
type SlicePort = Readonly<{ name: string; port?: number; protocol: string; appProtocol?: string }>
type Placed = Readonly<{ endpoint: Endpoint; ports: readonly SlicePort[] }>

/** Which zone a node is in. */
type ZoneOf = (node: string) => string | undefined

/** What makes a Service's EndpointSlices say which pods serve it; slices of others are left alone. */
export function endpointSlicePlan(
  service: Service,
  pods: readonly Pod[],
  slices: readonly EndpointSlice[],
  zoneOf: ZoneOf = () => undefined,
): readonly Action[] {
  const selector = service.spec?.selector
  if (service.metadata.deletionTimestamp !== undefined) return []
  const none = !selector || Object.keys(selector).length === 0 || service.spec?.type === 'ExternalName'
  const wanted = none ? [] : wantedSlices(service, pods, zoneOf)
  const existing = slices.filter(({ metadata }) => metadata.labels?.[managedBy] === ours)
  const names = new Set(wanted.map(({ metadata }) => metadata.name))
  return [
    ...wanted.flatMap((slice) => write(service, slice, existing)),
    ...existing
      .filter(({ metadata }) => !names.has(metadata.name) && metadata.deletionTimestamp === undefined)
      .map((slice) => remove(kinds.EndpointSlice, slice)),
  ]
}

function write(
  service: Service,
  slice: EndpointSlice,
  existing: readonly EndpointSlice[],
): readonly Action[] {
  const before = existing.find(({ metadata }) => metadata.name === slice.metadata.name)
  if (!before) return [{ kind: 'create', of: kinds.EndpointSlice, object: slice, owner: service }]
  const same =
    isDeepStrictEqual(before.endpoints ?? [], slice.endpoints) &&
    isDeepStrictEqual(before.ports ?? [], slice.ports) &&
    isDeepStrictEqual(before.metadata.labels, slice.metadata.labels)
  const { endpoints, ports, metadata } = slice
  const patch = { endpoints, ports, metadata: { labels: metadata.labels } }
  return same ? [] : [{ kind: 'patch', ref: refTo(kinds.EndpointSlice, slice), patch }]
}

function wantedSlices(service: Service, pods: readonly Pod[], zoneOf: ZoneOf): readonly EndpointSlice[] {
  const families = service.spec?.ipFamilies ?? ['IPv4']
  const members = pods
    .filter((pod) => !isFinished(pod) && containsLabels(service.spec?.selector, pod.metadata.labels))
    .toSorted((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))
  return families.flatMap((family) => {
    const placed = members
      .map((pod) => place(service, pod, family, zoneOf))
      .filter((row) => row !== undefined)
    // A Service without pods still has one empty slice: it says that somebody looked.
    if (placed.length === 0) return [sliceOf(service, family, [], [], 0)]
    const groups = Map.groupBy(placed, ({ ports }) => JSON.stringify(ports))
    return [...groups.values()].flatMap((group) =>
      Array.from({ length: Math.ceil(group.length / maxEndpoints) }, (_, i) => {
        const part = group.slice(i * maxEndpoints, (i + 1) * maxEndpoints)
        return sliceOf(
          service,
          family,
          part.map(({ endpoint }) => endpoint),
          group[0]?.ports ?? [],
          i,
        )
      }),
    )
  })
}

function place(service: Service, pod: Pod, family: Family, zoneOf: ZoneOf): Placed | undefined {
  const address = addressOf(pod, family)
  if (address === undefined) return undefined
  const { name = '', namespace = '', uid = '', deletionTimestamp } = pod.metadata
  const serving = isReady(pod)
  const terminating = deletionTimestamp !== undefined
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating)
  const { nodeName, hostname, subdomain } = pod.spec ?? {}
  const zone = nodeName === undefined ? undefined : zoneOf(nodeName)
  const endpoint: Endpoint = {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(hostname && subdomain === service.metadata.name && { hostname }),
    ...(nodeName && { nodeName }),
    ...(zone !== undefined && { zone }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  }
  return { endpoint, ports: (service.spec?.ports ?? []).flatMap((port) => resolvePort(port, pod)) }
}

function addressOf({ status }: Pod, family: Family): string | undefined {
  const ips = status?.podIPs?.map(({ ip }) => ip) ?? (status?.podIP ? [status.podIP] : [])
  return ips.find((text) => {
    const ip = parseIp(text)
    return ip !== undefined && isIpv6(ip) === (family === 'IPv6')
  })
}

/** A named target port is looked up in the pod; a pod that has none of that name does not serve the port. */
function resolvePort(port: ServicePort, pod: Pod): readonly SlicePort[] {
  const { name = '', protocol = 'TCP', targetPort = port.port, appProtocol } = port
  const number = typeof targetPort === 'number' ? targetPort : namedPort(pod, targetPort, protocol)
  if (number === undefined) return []
  return [{ name, port: number, protocol, ...(appProtocol !== undefined && { appProtocol }) }]
}

const namedPort = ({ spec }: Pod, name: string, protocol: string): number | undefined =>
  [...(spec?.containers ?? []), ...(spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always')]
    .flatMap(({ ports = [] }) => ports)
    .find((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)?.containerPort

/** The name says what the slice is for, so that the next look finds it again. */
function sliceOf(
  service: Service,
  family: Family,
  endpoints: readonly Endpoint[],
  ports: readonly SlicePort[],
  part: number,
): EndpointSlice {
  const { name = '', namespace = '', labels } = service.metadata
  return {
    metadata: {
      name: `${name}-${contentHash([family, ports, part], 5)}`,
      namespace,
      labels: {
        ...labels,
        'kubernetes.io/service-name': name,
        [managedBy]: ours,
        ...(service.spec?.clusterIP === 'None' && { 'service.kubernetes.io/headless': '' }),
      },
      ownerReferences: [controllerRef({ apiVersion: 'v1', kind: 'Service' }, service)],
    },
    addressType: family,
    endpoints,
    ports,
  }
}
