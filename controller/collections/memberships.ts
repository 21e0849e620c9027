import { isRecord } from '#base'
import type { EndpointSlice, Fetch, Pod, Service } from '#kube'
import { workload } from '#wire'
import { type EntryContext, heldClaims, selectingEntries, slotOf } from './entries.ts'
import { type Indexes, isSubset, listIn, nameOf, namespaceOf, serviceKeyOf } from './inputs.ts'
import type { ServiceEntry } from './service-entry.ts'
import { serviceNameOf, tcpPorts } from './services.ts'

type MembershipContext = EntryContext & Readonly<{ indexes: Indexes }>

export type PortLists = workload.Workload['services']

/** The Services a pod belongs to: by their selector, or, for those without one, by an EndpointSlice with its UID. */
export function servicesOf(pod: Pod, fetch: Fetch, context: MembershipContext): PortLists {
  const { inputs, indexes, settings } = context
  const lists: PortLists = {}
  for (const service of fetch.by(indexes.servicesByNamespace, namespaceOf(pod))) {
    const selector = selectorOf(service)
    if (service.spec?.type === 'ExternalName' || !selector || !isSubset(selector, pod.metadata.labels))
      continue
    lists[serviceNameOf(service, settings)] = { ports: podPorts(service, pod) }
  }
  for (const slice of fetch.by(indexes.slicesByPod, `${namespaceOf(pod)}/${nameOf(pod)}`)) {
    const key = serviceKeyOf(slice)
    const service = key === undefined ? undefined : fetch.one(inputs.services, key)
    if (!service || service.spec?.type === 'ExternalName' || selectorOf(service)) continue
    const named = listIn(slice.endpoints).some(({ targetRef }) => targetRef?.uid === pod.metadata.uid)
    if (named) lists[serviceNameOf(service, settings)] = { ports: slicePorts(service, slice) }
  }
  return Object.assign(lists, entriesOf(pod, new Map(), fetch, context))
}

const selectorOf = ({ spec }: Service) =>
  isRecord(spec?.selector) && Object.keys(spec.selector).length > 0 ? spec.selector : undefined

/** A named target port is the container port of that name; one that no container has is left out. */
function podPorts(service: Service, pod: Pod): workload.Port[] {
  const containers = [
    ...(pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always'),
    ...(pod.spec?.containers ?? []),
  ]
  const named = (name: string) =>
    containers
      .flatMap(({ ports = [] }) => ports)
      .find((port) => port.name === name && (port.protocol ?? 'TCP') === 'TCP')?.containerPort
  return tcpPorts(service).flatMap(({ port, targetPort = port }) => {
    const target = typeof targetPort === 'number' ? targetPort : named(targetPort)
    return target === undefined ? [] : [portOf(port, target)]
  })
}

/** A slice's ports belong to the Service's ports of the same name. */
export function slicePorts(service: Service, { ports }: EndpointSlice): workload.Port[] {
  return listIn(ports).flatMap(({ name = '', port, protocol = 'TCP' }) => {
    const match = tcpPorts(service).find((p) => (p.name ?? '') === name)
    return protocol === 'TCP' && port !== undefined && match ? [portOf(match.port, port)] : []
  })
}

/** The protocol of a port is told once, in its Service. */
const portOf = (servicePort: number, targetPort: number): workload.Port => ({
  servicePort,
  targetPort,
  appProtocol: workload.AppProtocol.UNKNOWN,
})

/** A machine behind a WorkloadEntry: the Services whose selector fits, and the ServiceEntries likewise. */
export function servicesOfMachine(
  machine: Pod,
  ports: ReadonlyMap<string, number>,
  fetch: Fetch,
  context: MembershipContext,
): PortLists {
  const lists: PortLists = {}
  for (const service of fetch.by(context.indexes.servicesByNamespace, namespaceOf(machine))) {
    const selector = selectorOf(service)
    if (service.spec?.type === 'ExternalName' || !selector || !isSubset(selector, machine.metadata.labels))
      continue
    lists[serviceNameOf(service, context.settings)] = { ports: machinePorts(service, ports) }
  }
  return Object.assign(lists, entriesOf(machine, ports, fetch, context))
}

/** The machine's own port of the Service port's name comes first; a named target must be one that it names. */
const machinePorts = (service: Service, ports: ReadonlyMap<string, number>): workload.Port[] =>
  tcpPorts(service).flatMap(({ port, name = '', targetPort = port }) => {
    const target = ports.get(name) ?? (typeof targetPort === 'number' ? targetPort : ports.get(targetPort))
    return target === undefined ? [] : [portOf(port, target)]
  })

/** The hosts of the ServiceEntries whose workloadSelector fits. */
function entriesOf(
  { metadata }: Pod,
  ports: ReadonlyMap<string, number>,
  fetch: Fetch,
  context: MembershipContext,
): PortLists {
  const selected = selectingEntries(metadata.namespace ?? '', metadata.labels, fetch, context)
  return Object.fromEntries(
    selected.flatMap((entry) =>
      heldClaims(entry, fetch, context).map((claim) => [slotOf(claim), { ports: entryPorts(entry, ports) }]),
    ),
  )
}

/** The endpoint's own port of that name, else the entry's target port, else the port itself. */
export const entryPorts = (entry: ServiceEntry, ports: ReadonlyMap<string, number>): workload.Port[] =>
  entry.ports.map(({ number, name, targetPort = number }) => portOf(number, ports.get(name) ?? targetPort))
