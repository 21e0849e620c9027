import { isRecord } from '#base'
import type { Custom } from '#kube'
import { nameOf, namespaceOf } from '../collections/inputs.ts'
import {
  type Field,
  isGiven,
  itemsOf,
  numberOf,
  partsOf,
  portOf,
  problem,
  textOf,
} from './gateway-api-fields.ts'

/** The kinds of routes of the Gateway API that count for services. */
export type RouteKind = 'HTTPRoute' | 'GRPCRoute' | 'TLSRoute' | 'TCPRoute'

/** What a route refers to, with the defaults filled in. */
type Reference = Readonly<{ group: string; kind: string; namespace: string; name: string }>

/** A parent that is a service of the mesh; parents of other kinds are not ours here. */
export type ParentRef = Reference &
  Readonly<{
    sectionName?: string | undefined
    port?: number | undefined
    /** As it is written: the status repeats it. */
    written: Readonly<Record<string, unknown>>
  }>

export type BackendRef = Reference & Readonly<{ port?: number | undefined; weight: number; path: string }>

/** The parts that all kinds of routes have in common. */
export type RouteObject = Readonly<{
  kind: RouteKind
  /** `kind/namespace/name` */
  key: string
  namespace: string
  name: string
  created: string
  parents: readonly ParentRef[]
  /** What of it is not done, outside its rules. */
  remarks: readonly string[]
}>

const gatewayGroup = 'gateway.networking.k8s.io'
const specFields = ['parentRefs', 'rules', 'useDefaultGateways'] as const

export function readRouteObject(kind: RouteKind, object: Custom): RouteObject {
  const [namespace, name] = [namespaceOf(object), nameOf(object)]
  const remarks: string[] = []
  const spec: Field = { value: object.spec, path: 'spec', problems: remarks }
  const parts = partsOf(spec, kind === 'TCPRoute' ? specFields : [...specFields, 'hostnames'])
  if (parts && isGiven(parts.useDefaultGateways.value))
    problem(parts.useDefaultGateways, 'is not honoured, there are no default Gateways')
  return {
    kind,
    key: `${kind}/${namespace}/${name}`,
    namespace,
    name,
    created: object.metadata.creationTimestamp ?? '',
    parents: parts ? itemsOf(parts.parentRefs).flatMap((field) => parentRef(field, namespace)) : [],
    remarks,
  }
}

/** A name of an empty group is not the absence of one. */
function parentRef(field: Field, routeNamespace: string): readonly ParentRef[] {
  const { value } = field
  if (!isRecord(value)) return []
  const word = (key: string, otherwise: string) => (typeof value[key] === 'string' ? value[key] : otherwise)
  const [group, kind] = [word('group', gatewayGroup), word('kind', 'Gateway')]
  if (!isService(group, kind) && !isServiceEntry(group, kind)) return []
  const { sectionName, port } = value
  return [
    {
      group,
      kind,
      namespace: word('namespace', routeNamespace),
      name: word('name', ''),
      sectionName: typeof sectionName === 'string' && sectionName !== '' ? sectionName : undefined,
      port: typeof port === 'number' ? port : undefined,
      written: value,
    },
  ]
}

export const isService = (group: string, kind: string): boolean =>
  kind === 'Service' && (group === '' || group === 'core')
export const isServiceEntry = (group: string, kind: string): boolean =>
  kind === 'ServiceEntry' && group === 'networking.istio.io'
/** Istio's name for whatever service of the mesh has a host name. */
export const isHostname = (group: string, kind: string): boolean =>
  kind === 'Hostname' && group === 'networking.istio.io'

const maxWeight = 1_000_000
const backendFields = ['group', 'kind', 'namespace', 'name', 'port', 'weight'] as const

/** A backend and, where the kind of route has any, its filters. */
export function readBackend(
  field: Field,
  routeNamespace: string,
): Readonly<{ ref: BackendRef; filters: Field | undefined }> | undefined {
  const parts = partsOf(field, [...backendFields, 'filters'])
  if (parts === undefined) return undefined
  const ref: BackendRef = {
    group: textOf(parts.group) ?? '',
    kind: textOf(parts.kind) ?? 'Service',
    namespace: textOf(parts.namespace) ?? routeNamespace,
    name: textOf(parts.name) ?? '',
    port: portOf(parts.port),
    weight: numberOf(parts.weight, 0, maxWeight) ?? 1,
    path: field.path,
  }
  return { ref, filters: parts.filters.value === undefined ? undefined : parts.filters }
}
