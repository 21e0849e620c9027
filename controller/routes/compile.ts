import { type Collection, derive, type Fetch } from '#kube'
import {
  type Destination,
  type DestinationPolicy,
  type InvalidDestination,
  modelVersion,
  policyKey,
  type PortRoutes,
  type ServiceRoutes,
} from '#routes'
import { toItself, usualHttp, usualL4, usualPolicy } from './defaults.ts'
import { type MeshDefaults, meshDefaultsOf, withMeshRetries } from './mesh-defaults.ts'
import type { RoutedService } from './routed-service.ts'
import { isOlder, type PolicySource, type PortRules, type ServiceRules } from './sources.ts'

/** What routes are compiled from; each front end is a table of its own, and none knows of another. */
type Sources = Readonly<{
  services: Collection<RoutedService>
  /** By service. Of two that have rules for one service, the older one's count. */
  rules: readonly Collection<ServiceRules>[]
  /** Each is given what the one before it made of the policy. */
  policies: readonly PolicySource[]
  meshDefaults: Collection<MeshDefaults>
}>

/** The routes of every service that a waypoint is there to act for, by `namespace/hostname`. */
export const serviceRoutes = (sources: Sources): Collection<ServiceRoutes> =>
  derive('ServiceRoutes', sources.services, (service, fetch) =>
    service.waypoints.length === 0 ? undefined : compile(service, fetch, sources),
  )

function compile(service: RoutedService, fetch: Fetch, sources: Sources): ServiceRoutes {
  const rules = winnerFor(service.name, fetch, sources.rules)
  const { retry, paths } = meshDefaultsOf(fetch, sources.meshDefaults)
  const ports = service.ports.map(({ port, protocol }): PortRoutes => {
    const own: Partial<PortRules> = rules?.ports.find((other) => other.port === port) ?? {}
    return {
      port,
      protocol,
      ...(paths === undefined ? {} : { paths }),
      http: withMeshRetries(own.http ?? [usualHttp(service, port)], retry),
      l4: own.l4 ?? [usualL4(service, port)],
    }
  })
  return {
    version: modelVersion,
    service: service.name,
    ports,
    policies: policiesOf(service, ports, fetch, sources),
  }
}

/** The front end whose oldest object is the oldest has the whole service. */
export function winnerFor(
  service: string,
  fetch: Fetch,
  rules: readonly Collection<ServiceRules>[],
): ServiceRules | undefined {
  const claims = rules.map((source) => fetch.one(source, service)).filter((claim) => claim !== undefined)
  return claims.reduce<ServiceRules | undefined>(
    (best, claim) => (best && isOlder(best.oldest, claim.oldest) ? best : claim),
    undefined,
  )
}

/** Of every destination that can be chosen, and of the service's own ports in any case; in order of their keys. */
function policiesOf(
  service: RoutedService,
  ports: readonly PortRoutes[],
  fetch: Fetch,
  { services, policies }: Sources,
): readonly DestinationPolicy[] {
  const destinations = new Map<string, Destination>()
  const calledByGrpc = new Set<string>()
  const note = (to: Destination | InvalidDestination, isGrpc = false) => {
    if (to.kind === 'invalid') return
    destinations.set(policyKey(to), to)
    if (isGrpc) calledByGrpc.add(policyKey(to))
  }
  for (const { port, http, l4 } of ports) {
    note(toItself(service, port))
    for (const { origin, action } of http) {
      if (action.kind !== 'forward') continue
      for (const { to } of [...action.destinations, ...action.mirrors]) note(to, origin.kind === 'GRPCRoute')
    }
    for (const { destinations: targets } of l4) for (const { to } of targets) note(to)
  }
  return [...destinations]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, to]) => {
      const declared = fetch.one(services, to.service)?.ports.find(({ port }) => port === to.port)
      // A GRPCRoute says what is spoken, whatever the port is called.
      const usual = usualPolicy(to, calledByGrpc.has(key) ? 'http2' : declared?.http)
      return policies.reduce((policy, source) => source(to, policy, service, fetch), usual)
    })
}
