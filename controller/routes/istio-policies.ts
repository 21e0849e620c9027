import type { Collection, Custom } from '#kube'
import type { DestinationPolicy, LocalityPolicy } from '#routes'
import type { workload } from '#wire'
import { given } from './istio-fields.ts'
import { type MeshDefaults, meshDefaultsOf } from './mesh-defaults.ts'
import { specOf } from './istio-object.ts'
import { destinationRuleOf, type IstioTables } from './istio-tables.ts'
import { type Groups, groupsAt } from './istio-traffic-policy.ts'
import type { RoutedService } from './routed-service.ts'
import type { PolicySource } from './sources.ts'

type PolicyTables = IstioTables &
  Readonly<{
    meshServices: Collection<workload.Service>
    serviceEntries: Collection<Custom>
    meshDefaults: Collection<MeshDefaults>
  }>

/** How DestinationRules say that destinations are called, and the mesh's settings where they do not. */
export const istioPolicies =
  (tables: PolicyTables): PolicySource =>
  (destination, plain, client, fetch) => {
    const mesh = meshDefaultsOf(fetch, tables.meshDefaults)
    const usual = withMeshLimits(plain, mesh)
    const service = fetch.one(tables.services, destination.service)
    const rule = service && destinationRuleOf(service, client, fetch, tables)
    if (service === undefined || (rule === undefined && !saysAnything(mesh))) return usual
    const subset = destination.subset === undefined ? undefined : rule?.subsets.get(destination.subset)
    const groups = { ...mesh.groups, ...groupsAt(rule?.policy, subset?.policy, destination.port) }
    const hasPreference = fetch.one(tables.meshServices, service.name)?.loadBalancing !== undefined
    return {
      ...usual,
      ...(subset === undefined ? {} : { labels: subset.labels }),
      ...(rule === undefined ? {} : { origin: { kind: 'DestinationRule', name: rule.name } }),
      ...applied(groups, usual, () => namesOf(service, fetch.one(tables.serviceEntries, service.key))),
      ...(groups.connectionPool?.http === 'declared' ? { http: plain.http } : {}),
      locality: localityOf(groups, mesh.locality, hasPreference),
    }
  }

/** The same for all where the mesh says nothing: there are as many of them as destinations. */
const withMeshLimits = (plain: DestinationPolicy, { limits, upgrades }: MeshDefaults): DestinationPolicy =>
  Object.keys(limits).length === 0 && !upgrades
    ? plain
    : {
        ...plain,
        connections: { ...plain.connections, ...limits },
        http: upgrades && plain.http === 'http1' ? 'http2' : plain.http,
      }

const saysAnything = ({ groups, locality }: MeshDefaults): boolean =>
  Object.keys(groups).length > 0 || locality.policy !== undefined

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
  names: () => readonly string[],
): Partial<DestinationPolicy> {
  const { loadBalancer, connectionPool, outliers, tls, tunnel, proxyProtocol, retryBudget } = groups
  return {
    connections: { ...usual.connections, ...connectionPool?.limits },
    ...given({
      loadBalancer: loadBalancer?.balancer,
      warmup: loadBalancer?.warmup,
      http: connectionPool?.http === 'declared' ? undefined : connectionPool?.http,
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

/** A DestinationRule that says anything of localities stands in place of the mesh. Nobody fails over who does not find out that somebody has failed. */
function localityOf(
  { loadBalancer = {}, outliers }: Groups,
  mesh: MeshDefaults['locality'],
  hasPreference: boolean,
): LocalityPolicy {
  const { locality, localityEnabled } = loadBalancer
  const isSaid = locality !== undefined || localityEnabled !== undefined
  const enabled = isSaid ? localityEnabled !== false : mesh.enabled
  const policy = isSaid ? locality : mesh.policy
  if (!enabled) return { kind: 'service' }
  if (policy?.kind === 'distribute') return policy
  if (outliers === undefined) return { kind: 'service' }
  if (policy !== undefined) return policy
  return hasPreference && localityEnabled === undefined
    ? { kind: 'service' }
    : { kind: 'failover', regions: [] }
}
