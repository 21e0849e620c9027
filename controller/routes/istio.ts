import { type Collection, type Condition, type Custom, derive, type Traceable } from '#kube'
import type { Inputs, Settings } from '../collections/index.ts'
import { namespaceOf } from '../collections/inputs.ts'
import { labels } from '../collections/settings.ts'
import { readDestinationRule } from './istio-destination-rule.ts'
import { coveringHosts, type IstioObject } from './istio-object.ts'
import { istioPolicies } from './istio-policies.ts'
import { istioRules } from './istio-rules.ts'
import { destinationRuleStatuses, virtualServiceStatuses } from './istio-status.ts'
import { namespaceIn } from './istio-tables.ts'
import { readVirtualService } from './istio-virtual-service.ts'
import { type MeshDefaults, meshDefaultsOf } from './mesh-defaults.ts'
import type { MeshTables, RoutedService } from './routed-service.ts'
import type { PolicySource, ServiceRules } from './sources.ts'

export type IstioInputs = Readonly<{
  virtualServices: Collection<Custom>
  destinationRules: Collection<Custom>
  meshDefaults: Collection<MeshDefaults>
}>

/** What VirtualServices and DestinationRules come to. */
type IstioRoutes = Readonly<{
  rules: Collection<ServiceRules>
  policies: PolicySource
  /** Conditions by `namespace/name`. */
  statuses: Readonly<Record<'VirtualService' | 'DestinationRule', Collection<readonly Condition[]>>>
  collections: readonly Traceable[]
}>

type Known = Readonly<{ services: Collection<RoutedService>; gatewayApi: Collection<ServiceRules> }>

export function istioFrom(
  objects: IstioInputs,
  inputs: Inputs,
  mesh: MeshTables,
  settings: Settings,
  { services, gatewayApi }: Known,
): IstioRoutes {
  const { domain, revision, rootNamespace } = settings
  /** Of namespaces that we look at, and not of another revision. */
  const read = <R extends IstioObject>(
    name: string,
    from: Collection<Custom>,
    as: (object: Custom) => R,
    usually: keyof MeshDefaults['exportTo'],
  ): Collection<R> =>
    derive(name, from, (object, fetch) => {
      if ((object.metadata.labels?.[labels.revision] || revision) !== revision) return undefined
      if (fetch.one(mesh.hiddenNamespaces, namespaceOf(object)) !== undefined) return undefined
      const one = as(object)
      const { exportTo } = meshDefaultsOf(fetch, objects.meshDefaults)
      const isSaid = one.exportTo.length > 0 || exportTo[usually].length === 0
      return isSaid ? one : { ...one, exportTo: exportTo[usually] }
    })
  const virtualServices = read(
    'VirtualServices',
    objects.virtualServices,
    (one) => readVirtualService(one, domain),
    'virtualService',
  )
  const destinationRules = read(
    'DestinationRules',
    objects.destinationRules,
    (one) => readDestinationRule(one, domain),
    'destinationRule',
  )
  const tables = {
    services,
    byHostname: services.indexBy(({ hostname }) => [hostname]),
    virtualServices,
    virtualServicesByHost: virtualServices.indexBy(({ hosts }) => hosts),
    destinationRules,
    destinationRulesByHost: destinationRules.indexBy(({ namespace, host }) => [`${namespace}/${host}`]),
    rootNamespace,
    meshServices: mesh.services,
    serviceEntries: inputs.serviceEntries,
    meshDefaults: objects.meshDefaults,
  }
  const rules = istioRules(tables)
  const told = {
    ...tables,
    own: rules,
    gatewayApi,
    servicesByCover: services.indexBy(({ hostname }) => [...new Set(coveringHosts(hostname))]),
    servicesByWaypointNamespace: services.indexBy(({ waypoints }) => [
      ...new Set(waypoints.map(namespaceIn)),
    ]),
  }
  const statuses = {
    VirtualService: virtualServiceStatuses(told),
    DestinationRule: destinationRuleStatuses(told),
  }
  return {
    rules,
    policies: istioPolicies(tables),
    statuses,
    collections: [virtualServices, destinationRules, ...Object.values(statuses)],
  }
}
