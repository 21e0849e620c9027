import type { Collection, Fetch, Index } from '#kube'
import type { Destination, InvalidDestination } from '#routes'
import {
  type BackendRef,
  isHostname,
  isService,
  isServiceEntry,
  type RouteObject,
} from './gateway-api-object.ts'
import { type Grants, isGranted } from './grants.ts'
import type { RoutedService } from './routed-service.ts'

type BackendReason = 'InvalidKind' | 'RefNotPermitted' | 'BackendNotFound' | 'UnsupportedProtocol'
/** Where a reference leads, or why nowhere. */
type ResolvedBackend =
  | Readonly<{ kind: 'resolved'; to: Destination }>
  | Readonly<{ kind: 'unresolved'; to: InvalidDestination; reason: BackendReason; message: string }>

export type BackendTables = Readonly<{
  services: Collection<RoutedService>
  /** By `kind/namespace/name` of the object. */
  byObject: Index<RoutedService>
  byHostname: Index<RoutedService>
  grants: Grants
}>

export const objectKey = ({ kind, key }: Pick<RoutedService, 'kind' | 'key'>): string => `${kind}/${key}`

/**
 * The share of an unresolved backend is answered with 500, or reset. `of`: the services whose routes these are; who calls
 * one may be led to itself without anybody's leave.
 */
export function resolveBackend(
  ref: BackendRef,
  route: Pick<RouteObject, 'kind' | 'namespace'>,
  of: readonly RoutedService[],
  fetch: Fetch,
  tables: BackendTables,
): ResolvedBackend {
  const { group, kind, name, namespace, port: number, path } = ref
  const no = (reason: BackendReason, why: string): ResolvedBackend => {
    const message = `${path}: ${why}`
    return { kind: 'unresolved', to: { kind: 'invalid', status: 500, reason: message }, reason, message }
  }
  const shown = `${kind} ${isHostname(group, kind) ? name : `${namespace}/${name}`}`
  if (!isService(group, kind) && !isServiceEntry(group, kind) && !isHostname(group, kind))
    return no('InvalidKind', `${group === '' ? kind : `${group}/${kind}`} cannot be a backend`)
  const from = { group: 'gateway.networking.k8s.io', kind: route.kind, namespace: route.namespace }
  // A host name has no namespace; whoever sees it may call it.
  const isItself = of.some((one) => objectKey(one) === `${kind}/${namespace}/${name}`)
  if (
    !isItself &&
    !isHostname(group, kind) &&
    !isGranted(tables.grants, from, { ...ref, group: isService(group, kind) ? '' : group }, fetch)
  )
    return no(
      'RefNotPermitted',
      `no ReferenceGrant of ${namespace} lets ${route.kind}s of ${route.namespace} refer to ${shown}`,
    )
  const service = lookUp(ref, route.namespace, fetch, tables)
  if (service === undefined) return no('BackendNotFound', `there is no ${shown}`)
  if (number === undefined) return no('BackendNotFound', `which port of ${shown}?`)
  const port = service.ports.find((one) => one.port === number)
  if (port === undefined) return no('BackendNotFound', `${shown} has no port ${number}`)
  if (port.unsupported !== undefined)
    return no('UnsupportedProtocol', `nothing here speaks ${port.unsupported} to port ${number} of ${shown}`)
  return { kind: 'resolved', to: { kind: 'service', service: service.name, port: number } }
}

function lookUp(
  { group, kind, name, namespace }: BackendRef,
  routeNamespace: string,
  fetch: Fetch,
  { byObject, byHostname }: BackendTables,
): RoutedService | undefined {
  if (!isHostname(group, kind)) return fetch.by(byObject, `${kind}/${namespace}/${name}`)[0]
  const all = fetch.by(byHostname, name)
  return (
    all.find((service) => service.namespace === routeNamespace) ??
    all.find((service) => service.isCanonical && !service.isPrivate)
  )
}
