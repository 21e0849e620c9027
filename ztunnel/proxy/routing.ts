import type { Code } from '#base'
import { Counter, type Registry } from '#telemetry'
import type { Route, Workload } from '../state/index.ts'
import { type AskHost, Hosts } from './resolve-host.ts'

/** What outbound connections share besides the mesh. */
export type Routing = Readonly<{
  hosts: Hosts
  /** Refuse what is not in the mesh's registry. */
  registryOnly: boolean
  /** A connection needed the address of a hostname. */
  countLookup(source: Workload, hostname: string): void
  /** An endpoint could not be reached and another one is tried; `code` says what was wrong with it. */
  countPassedOn(code: Code | 'other'): void
  /** Where nobody answers for a waypoint a connection is refused, or goes on without it. */
  countUnavailable(route: Route): void
}>

type Options = Readonly<{
  registry: Registry
  registryOnly: boolean
  /** Hostnames may have IPv6 addresses. */
  ipv6: boolean
  /** Asks for hostnames instead of our own resolver. */
  ask?: AskHost | undefined
}>

const sourceLabels = [
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
]

/** What the outbound connections of one thread share; its metrics go into `registry`. */
export function createRouting({ registry, registryOnly, ipv6, ask }: Options): Routing {
  const lookups = new Counter({
    name: 'istio_on_demand_dns_total',
    help: 'The total number of requests that used on-demand DNS (unstable)',
    labelNames: [...sourceLabels, 'hostname'],
    registers: [registry],
  })
  const passedOn = new Counter({
    name: 'lateen_endpoints_passed_on_total',
    help: 'Endpoints that could not be reached, another one of the service being tried (unstable)',
    labelNames: ['reason'],
    registers: [registry],
  })
  const unavailable = new Counter({
    name: 'lateen_waypoint_unavailable_total',
    help: 'Connections for whose waypoint nobody answered: refused, or gone on without it where its owner wants that (unstable)',
    labelNames: ['outcome'],
    registers: [registry],
  })
  return {
    hosts: new Hosts({ ipv6, ...(ask === undefined ? {} : { ask }) }),
    registryOnly,
    countLookup: (source, hostname) => lookups.inc({ ...labelsOf(source), hostname }),
    countPassedOn: (reason) => passedOn.inc({ reason }),
    countUnavailable: ({ reason }) => {
      if (reason === 'waypoint-unavailable' || reason === 'unknown-waypoint')
        unavailable.inc({ outcome: 'refused' })
      else if (reason === 'past-waypoint') unavailable.inc({ outcome: 'passed' })
    },
  }
}

const labelsOf = (w: Workload) => ({
  source_workload: w.workloadName || 'unknown',
  source_canonical_service: w.canonicalName || 'unknown',
  source_canonical_revision: w.canonicalRevision || 'unknown',
  source_workload_namespace: w.namespace || 'unknown',
  source_principal: w.identity,
  source_app: w.canonicalName || 'unknown',
  source_version: w.canonicalRevision || 'unknown',
  source_cluster: w.clusterId || 'unknown',
})
