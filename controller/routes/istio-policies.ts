import type { Collection, Custom } from '#kube'
import type { DestinationPolicy, LocalityPolicy } from '#routes'
import type { workload } from '#wire'
import { given } from './istio-fields.ts'
import { specOf } from './istio-object.ts'
import { destinationRuleOf, type IstioTables } from './istio-tables.ts'
import { type Groups, groupsAt } from './istio-traffic-policy.ts'
import type { RoutedService } from './routed-service.ts'
import type { PolicySource } from './sources.ts'

export type PolicyTables = IstioTables &
  Readonly<{
    meshServices: Collection<workload.Service>
    serviceEntries: Collection<Custom>
  }>

/** How DestinationRules say that destinations are called. */
export const istioPolicies =
  (tables: PolicyTables): PolicySource =>
  (destination, usual, client, fetch) => {
    const service = fetch.one(tables.services, destination.service)
    const rule = service && destinationRuleOf(service, client, fetch, tables)
    if (service === undefined || rule === undefined) return usual
    const subset = destination.subset === undefined ? undefined : rule.subsets.get(destination.subset)
    const groups = groupsAt(rule.policy, subset?.policy, destination.port)
    const hasPreference = fetch.one(tables.meshServices, service.name)?.loadBalancing !== undefined
    return {
      ...usual,
      ...(subset === undefined ? {} : { labels: subset.labels }),
      origin: { kind: 'DestinationRule', name: rule.name },
      ...applied(groups, usual, hasPreference, () =>
        namesOf(service, fetch.one(tables.serviceEntries, service.key)),
      ),
    }
  }

/** Names that a ServiceEntry says its servers have. */
function namesOf({ kind }: RoutedService, entry: Custom | undefined): readonly string[] {
  const names: unknown = kind === 'ServiceEntry' && entry ? specOf(entry)['subjectAltNames'] : []
  return Array.isArray(names)
    ? names.filter((name): name is string => typeof name === 'string' && name !== '')
    : []
}

function applied(
  groups: Groups,
  usual: DestinationPolicy,
  hasPreference: boolean,
  names: () => readonly string[],
): Partial<DestinationPolicy> {
  const { loadBalancer, connectionPool, outliers, tls, tunnel, proxyProtocol, retryBudget } = groups
  return {
    locality: localityOf(groups, usual, hasPreference),
    connections: { ...usual.connections, ...connectionPool?.limits },
    ...given({
      loadBalancer: loadBalancer?.balancer,
      warmup: loadBalancer?.warmup,
      http: connectionPool?.http,
      outliers: outliers?.policy,
      panicPercent: outliers?.panicPercent,
      retryBudget,
      tunnel,
      proxyProtocol,
      tls:
        tls === undefined || tls.mode === 'mesh'
          ? undefined
          : { ...tls, subjectAltNames: tls.subjectAltNames.length > 0 ? tls.subjectAltNames : names() },
    }),
  }
}

/** Nobody fails over who does not find out that somebody has failed; the mesh's own setting is on (Istio's default). */
function localityOf(
  { loadBalancer, outliers }: Groups,
  usual: DestinationPolicy,
  hasPreference: boolean,
): LocalityPolicy {
  const { locality, localityEnabled } = loadBalancer ?? {}
  if (localityEnabled === false) return usual.locality
  if (locality?.kind === 'distribute') return locality
  if (outliers === undefined) return usual.locality
  if (locality !== undefined) return locality
  return hasPreference && localityEnabled === undefined ? usual.locality : { kind: 'failover', regions: [] }
}
