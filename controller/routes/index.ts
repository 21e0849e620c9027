import { type Collection, type Condition, type Custom, derive, join, type Traceable } from '#kube'
import type { ServiceRoutes } from '#routes'
import type { Inputs, MeshResource, Settings } from '../collections/index.ts'
import { namespaceOf } from '../collections/inputs.ts'
import { serviceRoutes } from './compile.ts'
import { attachments, byObject } from './gateway-api-attach.ts'
import { readHttpRoute } from './gateway-api-http.ts'
import { readL4Route } from './gateway-api-l4.ts'
import type { RouteKind } from './gateway-api-object.ts'
import { gatewayApiRules, type GatewayApiTables } from './gateway-api-rules.ts'
import { routeStatuses, type RouteStatus } from './gateway-api-status.ts'
import { referenceGrants } from './grants.ts'
import { istioFrom, type IstioInputs } from './istio.ts'
import { readDestinationRule } from './istio-destination-rule.ts'
import { readVirtualService } from './istio-virtual-service.ts'
import type { MeshDefaults } from './mesh-defaults.ts'
import { routeResources } from './resource.ts'
import { type MeshTables, type RoutedService, routedServices } from './routed-service.ts'

export { routeStatusWriter } from './route-status-writer.ts'
/** The conditions that VirtualServices and DestinationRules have from us. */
export { istioConditionTypes } from './istio-status.ts'
export type { RouteStatus } from './gateway-api-status.ts'
/** Objects of Istio's as they are read, for those who look at them before they count. */
export { isVisibleIn } from './istio-object.ts'
export { readDestinationRule, readVirtualService }
export type { VirtualService } from './istio-virtual-service.ts'
/** What the mesh's settings say where routes and DestinationRules do not. */
export { type MeshDefaults, meshDefaultsKey, readMeshDefaults } from './mesh-defaults.ts'
export { noAddress, type RoutedService } from './routed-service.ts'
export type { RouteKind } from './gateway-api-object.ts'

/** What of a VirtualService or a DestinationRule will not be followed as it is written, whatever else there is. */
export function routeFindings(
  group: string,
  kind: string,
  object: Custom,
  domain: string,
): Readonly<{ errors: readonly string[]; warnings: readonly string[] }> | undefined {
  if (group !== 'networking.istio.io') return undefined
  if (kind === 'VirtualService') {
    const { http, l4, remarks } = readVirtualService(object, domain)
    const closed = [...http, ...l4].flatMap(({ problems }) => problems)
    const why = closed.map((problem) => `${problem} (what the rule matches is answered with 500, or reset)`)
    return { errors: [], warnings: [...why, ...remarks, ...http.flatMap((rule) => rule.remarks)] }
  }
  if (kind !== 'DestinationRule') return undefined
  const { problems, remarks } = readDestinationRule(object, domain)
  return { errors: [], warnings: [...problems, ...remarks] }
}

/** The Kubernetes objects that routes are made of. */
export type RouteInputs = Readonly<{
  httpRoutes: Collection<Custom>
  grpcRoutes: Collection<Custom>
  tlsRoutes: Collection<Custom>
  tcpRoutes: Collection<Custom>
  referenceGrants: Collection<Custom>
  meshDefaults: Collection<MeshDefaults>
}> &
  IstioInputs

/** Everything that is derived from routes. */
export type Routes = Readonly<{
  services: Collection<RoutedService>
  routes: Collection<ServiceRoutes>
  /** As xDS resources. */
  resources: Collection<MeshResource>
  /** By `namespace/name`. */
  statuses: Readonly<Record<RouteKind, Collection<RouteStatus>>>
  conditions: Readonly<Record<'VirtualService' | 'DestinationRule', Collection<readonly Condition[]>>>
  /** For those who look into a running controller. */
  collections: readonly Traceable[]
}>

/** Routes and what they refer to → what waypoints obey, and what their owners are told. Pure rows; nothing writes. */
export function routesFrom(
  objects: RouteInputs,
  inputs: Inputs,
  mesh: MeshTables,
  settings: Settings,
): Routes {
  const services = routedServices(inputs, mesh, settings)
  const tables = gatewayApiTables(objects, services, mesh)
  const own = gatewayApiRules(services, tables)
  const istio = istioFrom(objects, inputs, mesh, settings, { services, gatewayApi: own })
  const rules = [own, istio.rules]
  const routes = serviceRoutes({
    services,
    rules,
    policies: [istio.policies],
    meshDefaults: objects.meshDefaults,
  })
  const { gateways, gatewayClasses: classes } = inputs
  const status = { ...tables, own, others: [istio.rules], gateways, classes }
  const statuses = {
    HTTPRoute: routeStatuses('HTTPRouteStatuses', tables.http.HTTPRoute, status),
    GRPCRoute: routeStatuses('GRPCRouteStatuses', tables.http.GRPCRoute, status),
    TLSRoute: routeStatuses('TLSRouteStatuses', tables.l4.TLSRoute, status),
    TCPRoute: routeStatuses('TCPRouteStatuses', tables.l4.TCPRoute, status),
  }
  return {
    services,
    routes,
    resources: routeResources(routes, services),
    statuses,
    conditions: istio.statuses,
    collections: [
      services,
      ...Object.values(tables.http),
      ...Object.values(tables.l4),
      ...istio.collections,
      ...rules,
      routes,
      ...Object.values(statuses),
    ],
  }
}

function gatewayApiTables(
  objects: RouteInputs,
  services: Collection<RoutedService>,
  { hiddenNamespaces }: MeshTables,
): GatewayApiTables {
  /** Of namespaces that we look at. */
  const read = <R>(name: string, from: Collection<Custom>, as: (object: Custom) => R): Collection<R> =>
    derive(name, from, (object, fetch) =>
      fetch.one(hiddenNamespaces, namespaceOf(object)) === undefined ? as(object) : undefined,
    )
  const http = {
    HTTPRoute: read('HTTPRoutes', objects.httpRoutes, (object) => readHttpRoute('HTTPRoute', object)),
    GRPCRoute: read('GRPCRoutes', objects.grpcRoutes, (object) => readHttpRoute('GRPCRoute', object)),
  }
  const l4 = {
    TLSRoute: read('TLSRoutes', objects.tlsRoutes, (object) => readL4Route('TLSRoute', object)),
    TCPRoute: read('TCPRoutes', objects.tcpRoutes, (object) => readL4Route('TCPRoute', object)),
  }
  const objectIndex = { byObject: byObject(services) }
  const attached = join('RouteAttachments', [
    attachments('HTTPRoute', http.HTTPRoute, objectIndex),
    attachments('GRPCRoute', http.GRPCRoute, objectIndex),
    attachments('TLSRoute', l4.TLSRoute, objectIndex),
    attachments('TCPRoute', l4.TCPRoute, objectIndex),
  ])
  return {
    services,
    ...objectIndex,
    byHostname: services.indexBy(({ hostname }) => [hostname]),
    grants: referenceGrants(objects.referenceGrants),
    http,
    l4,
    attached: attached.indexBy(({ service }) => [service]),
  }
}
