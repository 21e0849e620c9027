import type { Protocol } from '#routes'
import type { OwnedRule } from './istio-delegates.ts'
import type { DestinationRule } from './istio-destination-rule.ts'
import type { MergedRule } from './istio-tables.ts'
import type { VirtualService } from './istio-virtual-service.ts'
import type { RoutedService } from './routed-service.ts'

/** A wildcard can cover many services; their owners need no more than a few of them to see what is meant. */
const maxNamed = 3
export const few = (names: readonly string[]): string =>
  names.length <= maxNamed
    ? names.join(', ')
    : `${names.slice(0, maxNamed).join(', ')} and ${names.length - maxNamed} more`

const carriesRequests = (protocol: Protocol) => protocol === 'http' || protocol === 'auto'
const carriesConnections = (protocol: Protocol) => protocol !== 'http'

/** Of the mesh; what is for gateways alone says nothing here. */
const portsOf = (matches: readonly Readonly<{ port: number | undefined; forMesh: boolean }>[]) =>
  matches.filter(({ forMesh }) => forMesh).map(({ port }) => port)

/** Rules that nothing ever comes to, because of how the ports that they are about are declared. Pure. */
export function unheardRules(
  { l4 }: Pick<VirtualService, 'l4'>,
  http: readonly OwnedRule[],
  services: readonly RoutedService[],
): readonly string[] {
  const unheard = (
    path: string,
    ports: readonly (number | undefined)[],
    isHeard: (of: Protocol) => boolean,
  ) => {
    const all = services.flatMap((service) =>
      service.ports
        .filter(({ port }) => ports.some((asked) => asked === undefined || asked === port))
        .map(({ port, protocol }) => ({ name: `${service.hostname}:${port}`, protocol })),
    )
    if (services.length > 0 && all.length === 0 && ports.length > 0)
      return [
        `${path}: never asked, ${few(services.map(({ hostname }) => hostname))} has no port ${[...new Set(ports)].join(' or ')}`,
      ]
    if (all.some(({ protocol }) => isHeard(protocol)) || all.length === 0) return []
    const said = [...new Set(all.map(({ protocol }) => protocol))].join(' or ')
    return [`${path}: never asked, ${few(all.map(({ name }) => name))} is declared as ${said}`]
  }
  return [
    ...http.flatMap(({ rule: { index, matches } }) =>
      unheard(`spec.http[${index}]`, portsOf(matches), carriesRequests),
    ),
    ...l4.flatMap(({ list, index, matches }) =>
      unheard(`spec.${list}[${index}]`, portsOf(matches), carriesConnections),
    ),
  ]
}

/** Settings of ports that no service of the host has. Pure. */
export function missingPorts(rule: DestinationRule, services: readonly RoutedService[]): readonly string[] {
  const there = new Set(services.flatMap(({ ports }) => ports.map(({ port }) => port)))
  const parts = [
    { path: 'spec.trafficPolicy', policy: rule.policy },
    ...rule.subsets.map(({ name, policy }) => ({ path: `subset ${name}`, policy })),
  ]
  return parts.flatMap(({ path, policy }) =>
    [...(policy?.ports.keys() ?? [])]
      .filter((port) => !there.has(port))
      .map((port) => `${path}.portLevelSettings: ${rule.host} has no port ${port}`),
  )
}

/** What waypoints follow of a host instead, by service. `found`: what they follow. Pure. */
export function standingInstead(
  rule: DestinationRule,
  services: readonly RoutedService[],
  found: (service: RoutedService) => MergedRule | undefined,
): Readonly<{ followed: number; remarks: readonly string[] }> {
  const instead = new Map<string, string[]>()
  let followed = 0
  for (const service of services) {
    if (service.waypoints.length === 0) continue
    const merged = found(service)
    if (merged?.keys.includes(rule.key)) followed++
    else if (merged) instead.set(merged.name, [...(instead.get(merged.name) ?? []), service.hostname])
  }
  const remarks = [...instead].map(([key, names]) => `for ${few(names)} ${key} counts in its place`)
  return { followed, remarks }
}
