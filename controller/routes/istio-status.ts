import { type Collection, type Condition, derive, type Fetch, type Index } from '#kube'
import { winnerFor } from './compile.ts'
import { effectiveRules } from './istio-delegates.ts'
import type { DestinationRule } from './istio-destination-rule.ts'
import { byAge } from './istio-object.ts'
import { few, missingPorts, standingInstead, unheardRules } from './istio-remarks.ts'
import {
  destinationRuleOf,
  gatewayNameLabel,
  isLookedAt,
  type IstioTables,
  virtualServicesOf,
} from './istio-tables.ts'
import type { VirtualService } from './istio-virtual-service.ts'
import { noAddress, type RoutedService } from './routed-service.ts'
import type { ServiceRules } from './sources.ts'

/** Istio's objects have no conditions for this; hence our own names. */
export const istioConditionTypes = [
  'lateen.dev/Accepted',
  'lateen.dev/ResolvedRefs',
  'lateen.dev/PartiallyInvalid',
]
type Name = 'Accepted' | 'ResolvedRefs' | 'PartiallyInvalid'

/** What users may see of one condition. */
const maxMessage = 1_024
const condition = (type: Name, status: 'True' | 'False', reason: string, message: string): Condition => ({
  type: `lateen.dev/${type}`,
  status,
  reason,
  message: message.length > maxMessage ? `${message.slice(0, maxMessage - 1)}…` : message,
})

type StatusTables = IstioTables &
  Readonly<{
    /** Services by each pattern that covers them. */
    servicesByCover: Index<RoutedService>
    /** By the namespaces of their waypoints. */
    servicesByWaypointNamespace: Index<RoutedService>
    own: Collection<ServiceRules>
    gatewayApi: Collection<ServiceRules>
  }>

export const virtualServiceStatuses = (tables: StatusTables): Collection<readonly Condition[]> =>
  derive('VirtualServiceStatuses', tables.virtualServices, (one, fetch): readonly Condition[] => {
    const { bad, good, remarks } = problemsOf(one, fetch, tables)
    const services = servicesOf(one, fetch, tables)
    const followed = services.filter((service) =>
      virtualServicesOf(service, fetch, tables).some((o) => o.key === one.key),
    )
    const unheard = unheardRules(one, effectiveRules(one, fetch, tables), followed)
    return [
      acceptance(one, services, followed, fetch, tables) ??
        (good === 0 && bad.length > 0
          ? condition('Accepted', 'False', 'UnsupportedValue', `every rule is refused: ${bad.join('; ')}`)
          : condition('Accepted', 'True', 'Accepted', `${followedBy(followed)}${unserved(one)}`)),
      ...partial(good > 0 ? bad : [], [...remarks, ...unheard], one.refused),
      ...resolution(one, followed, fetch, tables),
    ]
  })

const followedBy = (services: readonly RoutedService[]) =>
  services.length === 0
    ? 'for those that delegate to it'
    : `followed by waypoint ${[...new Set(services.flatMap(({ waypoints }) => waypoints))].join(' and ')}`

const unserved = ({ gateways }: VirtualService) =>
  gateways.length === 0 ? '' : `; spec.gateways: nothing here serves ${few(gateways)}`

const servicesOf = (one: VirtualService, fetch: Fetch, { servicesByCover }: StatusTables) => [
  ...new Map(
    one.hosts.flatMap((host) =>
      fetch.by(servicesByCover, host).map((service) => [service.name, service] as const),
    ),
  ).values(),
]

function problemsOf(one: VirtualService, fetch: Fetch, tables: StatusTables) {
  const rules = effectiveRules(one, fetch, tables).map(({ rule }) => rule)
  const all = [...rules, ...one.l4]
  const bad = [...new Set(all.flatMap(({ problems }) => problems))]
  const remarks = [...one.remarks, ...new Set(rules.flatMap((rule) => rule.remarks))]
  return { bad, good: all.filter(({ problems }) => problems.length === 0).length, remarks }
}

/** Why nobody follows it, or not everybody does. */
function acceptance(
  one: VirtualService,
  services: readonly RoutedService[],
  followed: readonly RoutedService[],
  fetch: Fetch,
  tables: StatusTables,
): Condition | undefined {
  const no = (reason: string, message: string) => condition('Accepted', 'False', reason, message)
  if (one.hosts.length === 0 && one.remarks.length === 0) return undefined
  if (!one.forMesh)
    return no('NotForMesh', 'its gateways do not name mesh, and waypoints follow what is for the mesh')
  if (services.length === 0)
    return no('NoMatchingService', `there is no ${one.hosts.join(', ') || 'host in it'}`)
  const bound = services.filter(({ waypoints }) => waypoints.length > 0)
  if (bound.length === 0) return no('NoWaypoint', `no waypoint acts for ${services[0]?.hostname}`)
  const near = bound.filter((service) => isLookedAt(one, service))
  if (near.length === 0)
    return no(
      'NotVisible',
      'it is neither beside the service nor beside its waypoint, or exportTo hides it from there',
    )
  if (followed.length === 0)
    return no('Overridden', `another VirtualService names ${near[0]?.hostname} more exactly`)
  if (!followed.some(({ isAddressed }) => isAddressed))
    return no('NoAddress', `${followed[0]?.hostname} ${noAddress}`)
  for (const { name, hostname } of followed) {
    const winner = winnerFor(name, fetch, [tables.gatewayApi, tables.own])
    if (winner && winner.oldest.origin.kind !== 'VirtualService')
      return no(
        'Conflicted',
        `${winner.oldest.origin.kind} ${winner.oldest.origin.name} is older, and has ${hostname}`,
      )
  }
  return undefined
}

const notValid = 'not valid, and not always what it seems'

function partial(
  bad: readonly string[],
  remarks: readonly string[],
  refused: readonly string[],
): readonly Condition[] {
  const text = [
    ['what these rules match is answered with 500, or reset', bad] as const,
    ['done without', remarks] as const,
    [notValid, refused] as const,
  ].flatMap(([what, sentences]) => (sentences.length === 0 ? [] : [`${what}: ${sentences.join('; ')}`]))
  return text.length === 0 ? [] : [condition('PartiallyInvalid', 'True', 'UnsupportedValue', text.join('; '))]
}

/** Destinations of its rules that are not there. */
function resolution(
  { key }: VirtualService,
  followed: readonly RoutedService[],
  fetch: Fetch,
  { own }: StatusTables,
): readonly Condition[] {
  const missing = new Set<string>()
  for (const { name } of followed)
    for (const { http = [], l4 = [] } of fetch.one(own, name)?.ports ?? []) {
      for (const { origin, action } of http)
        if (origin.name === key && action.kind === 'forward')
          for (const { to } of [...action.destinations, ...action.mirrors])
            if (to.kind === 'invalid') missing.add(to.reason)
      for (const { origin, destinations } of l4)
        if (origin.name === key)
          for (const { to } of destinations) if (to.kind === 'invalid') missing.add(to.reason)
    }
  if (followed.length === 0) return []
  return missing.size === 0
    ? [condition('ResolvedRefs', 'True', 'ResolvedRefs', 'all destinations of what is followed are there')]
    : [condition('ResolvedRefs', 'False', 'BackendNotFound', [...missing].join('; '))]
}

export const destinationRuleStatuses = (tables: StatusTables): Collection<readonly Condition[]> =>
  derive('DestinationRuleStatuses', tables.destinationRules, (one, fetch): readonly Condition[] => {
    const services = fetch.by(tables.servicesByCover, one.host)
    const { followed, remarks } = standingInstead(one, services, (service) =>
      destinationRuleOf(service, service, fetch, tables),
    )
    const isCalledFrom =
      followed > 0 || fetch.by(tables.servicesByWaypointNamespace, one.namespace).length > 0
    const refusal = ruleRefusal(one, services, isCalledFrom, tables) ?? hiding(one, fetch, tables)
    const told = [...one.remarks, ...missingPorts(one, services), ...overridden(one, fetch, tables)]
    if (refusal) return [refusal, ...partialRule(one, told)]
    const isActedFor = services.some(({ waypoints }) => waypoints.length > 0)
    const where = isActedFor
      ? 'counts for waypoints that it is shown to'
      : `no waypoint acts for ${one.host}: it counts where a waypoint’s route leads there, and nowhere else`
    const accepted = condition('Accepted', 'True', 'Accepted', where)
    return [accepted, ...partialRule(one, [...told, ...remarks])]
  })

/** Why no waypoint ever follows it. */
function ruleRefusal(
  { host, namespace, selector }: DestinationRule,
  services: readonly RoutedService[],
  isCalledFrom: boolean,
  { rootNamespace }: StatusTables,
): Condition | undefined {
  const no = (reason: string, message: string) => condition('Accepted', 'False', reason, message)
  if (services.length === 0) return no('NoMatchingService', `there is no ${host}`)
  const foreign = Object.keys(selector ?? {}).filter((key) => key !== gatewayNameLabel)
  if (foreign.length > 0)
    return no(
      'NotForWaypoints',
      `spec.workloadSelector: of waypoints only ${gatewayNameLabel} can be asked, not ${foreign.join(', ')}`,
    )
  const isBeside = namespace === rootNamespace || services.some((service) => service.namespace === namespace)
  if (!isBeside && !isCalledFrom)
    return no(
      'NotForWaypoints',
      `waypoints look in their own namespace, in that of the service and in ${rootNamespace}, not in ${namespace}`,
    )
  return undefined
}

/** It is followed by waypoints of the namespaces that it is shown to. */
function hiding({ exportTo, namespace }: DestinationRule, fetch: Fetch, tables: StatusTables) {
  const hasWaypoint = (to: string) =>
    fetch.by(tables.servicesByWaypointNamespace, to === '.' ? namespace : to).length > 0
  return exportTo.length === 0 || exportTo.includes('*') || exportTo.some(hasWaypoint)
    ? undefined
    : condition('Accepted', 'False', 'NotVisible', 'exportTo: shows it to no namespace that has a waypoint')
}

function partialRule(
  { problems, refused }: DestinationRule,
  remarks: readonly string[],
): readonly Condition[] {
  const all = [...problems, ...remarks]
  const text = [
    ...(all.length === 0 ? [] : [`done without, or closed (TLS): ${all.join('; ')}`]),
    ...(refused.length === 0 ? [] : [`${notValid}: ${refused.join('; ')}`]),
  ]
  return text.length === 0 ? [] : [condition('PartiallyInvalid', 'True', 'UnsupportedValue', text.join('; '))]
}

/** Of two for one host the older one's policy counts, and the older one's subset of a name. */
function overridden(
  one: DestinationRule,
  fetch: Fetch,
  { destinationRulesByHost }: StatusTables,
): readonly string[] {
  const older = fetch
    .by(destinationRulesByHost, `${one.namespace}/${one.host}`)
    .filter((other) => other.key !== one.key && other.selector === undefined && byAge(other, one) < 0)
  const policy = one.policy && older.find((other) => other.policy !== undefined)
  const taken = one.subsets.flatMap(({ name }) => {
    const other = older.find(({ subsets }) => subsets.some((subset) => subset.name === name))
    return other ? [`subset ${name} is that of ${other.key}, which is older`] : []
  })
  return [...(policy ? [`spec.trafficPolicy: that of ${policy.key} counts, which is older`] : []), ...taken]
}
