import type { Collection, Fetch, Index } from '#kube'
import type { Destination, InvalidDestination } from '#routes'
import type { WrittenDestination } from './istio-destinations.ts'
import type { DestinationRule, Subset } from './istio-destination-rule.ts'
import { byAge, coveringHosts, isVisibleIn } from './istio-object.ts'
import type { ReadPolicy } from './istio-traffic-policy.ts'
import type { VirtualService } from './istio-virtual-service.ts'
import type { RoutedService } from './routed-service.ts'

export type IstioTables = Readonly<{
  services: Collection<RoutedService>
  byHostname: Index<RoutedService>
  virtualServices: Collection<VirtualService>
  virtualServicesByHost: Index<VirtualService>
  destinationRules: Collection<DestinationRule>
  /** By `namespace/host`. */
  destinationRulesByHost: Index<DestinationRule>
  rootNamespace: string
}>

/** Of `namespace/name`. */
export const namespaceIn = (waypoint: string): string => waypoint.slice(0, waypoint.indexOf('/'))

/** Does a service's waypoint look at it: is it beside one of them, for the mesh, and shown to the waypoint? */
export function isLookedAt(one: VirtualService, { namespace, waypoints }: RoutedService): boolean {
  const clients = waypoints.map(namespaceIn)
  return (
    one.forMesh &&
    (one.namespace === namespace || clients.includes(one.namespace)) &&
    clients.some((client) => isVisibleIn(one, client))
  )
}

/** Those of the most specific host that has any, the oldest first. */
export function virtualServicesOf(
  service: RoutedService,
  fetch: Fetch,
  { virtualServicesByHost }: Pick<IstioTables, 'virtualServicesByHost'>,
): readonly VirtualService[] {
  if (service.waypoints.length === 0) return []
  for (const host of coveringHosts(service.hostname)) {
    const found = fetch.by(virtualServicesByHost, host).filter((one) => isLookedAt(one, service))
    if (found.length > 0) return [...new Set(found)].sort(byAge)
  }
  return []
}

/** What the DestinationRules of one host, seen from one waypoint, come to. */
export type MergedRule = Readonly<{
  /** `namespace/name` of the one whose policy counts. */
  name: string
  /** Of all of them. */
  keys: readonly string[]
  policy: ReadPolicy | undefined
  subsets: ReadonlyMap<string, Subset>
}>

/** Of the waypoint's namespace, else of the service's, else of the root: the most specific host, the oldest first. */
export function destinationRuleOf(
  service: Pick<RoutedService, 'namespace' | 'hostname'>,
  client: RoutedService,
  fetch: Fetch,
  { destinationRulesByHost, rootNamespace }: IstioTables,
): MergedRule | undefined {
  const [waypoint = `${client.namespace}/`] = client.waypoints
  const from = namespaceIn(waypoint)
  for (const namespace of new Set([from, service.namespace, rootNamespace]))
    for (const host of coveringHosts(service.hostname)) {
      const found = fetch
        .by(destinationRulesByHost, `${namespace}/${host}`)
        .filter((one) => isVisibleIn(one, from) && isSelected(one, waypoint))
        .sort((a, b) => Number(b.selector !== undefined) - Number(a.selector !== undefined) || byAge(a, b))
      if (found.length > 0) return merged(found)
    }
  return undefined
}

/** Of a waypoint's labels this one is known for certain. */
export const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name'
const isSelected = ({ selector }: DestinationRule, waypoint: string): boolean =>
  selector === undefined ||
  Object.entries(selector).every(
    ([key, value]) => key === gatewayNameLabel && value === waypoint.slice(waypoint.indexOf('/') + 1),
  )

function merged(rules: readonly DestinationRule[]): MergedRule {
  const subsets = new Map<string, Subset>()
  for (const rule of rules)
    for (const subset of rule.subsets) if (!subsets.has(subset.name)) subsets.set(subset.name, subset)
  const first = rules.find(({ policy }) => policy !== undefined) ?? rules[0]
  return { name: first?.key ?? '', keys: rules.map(({ key }) => key), policy: first?.policy, subsets }
}

/** What is not there has no cluster: 503, NC. */
export function resolveDestination(
  { host, subset, port, path, namespace }: WrittenDestination,
  asked: number,
  client: RoutedService,
  fetch: Fetch,
  tables: IstioTables,
): Destination | InvalidDestination {
  const no = (why: string) =>
    ({ kind: 'invalid', status: 503, flag: 'NC', reason: `${path}: ${why}` }) as const
  const all = fetch.by(tables.byHostname, host)
  const service =
    all.find((one) => one.namespace === namespace) ?? all.find((one) => one.isCanonical && !one.isPrivate)
  if (service === undefined) return no(`there is no ${host}`)
  const found = portOf(service, port, asked)
  if (found === undefined) return no(`${host} has no port ${port ?? ''}`)
  const to = { kind: 'service', service: service.name, port: found } as const
  if (subset === undefined) return to
  return destinationRuleOf(service, client, fetch, tables)?.subsets.has(subset)
    ? { ...to, subset }
    : no(`no DestinationRule defines subset ${subset} of ${host}`)
}

/** Where no port is said: the only one, or the one that was asked for, or the first. */
function portOf({ ports }: RoutedService, said: number | undefined, asked: number): number | undefined {
  const there = (number: number) => ports.find(({ port }) => port === number)?.port
  if (said !== undefined) return there(said)
  return ports.length === 1 ? ports[0]?.port : (there(asked) ?? ports[0]?.port)
}
