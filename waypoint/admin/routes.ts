import { ip } from '#base'
import { type CertificateState, dumpCertificates, isPath } from '#identity'
import { dumpPolicy, dumpService, dumpWorkload, type MeshState } from '#mesh'
import {
  type AdminRoutes,
  type Answer,
  answerLogging,
  type LogControl,
  metricsRoute,
  type MetricSource,
  post,
  type Readiness,
} from '#telemetry'
import type { Config } from '../config.ts'
import type { Cluster } from '../upstream/index.ts'
import { clusterLines, clusterStatuses } from './envoy-clusters.ts'
import { envoyConfigs, type EnvoyParts } from './envoy-dump.ts'
import { answerReady, serverInfo } from './envoy-server.ts'
import { answerStats } from './stats.ts'
import type { Connections } from '../proxy/index.ts'

export type AdminParts = Readonly<{
  config: Config
  state: MeshState
  connections: Connections
  /** What waypoints alone are told. */
  routes: Readonly<{ names(): readonly string[]; plans(): EnvoyParts['plans'] }>
  told: Readonly<{ told: unknown }>
  clusters: Readonly<{ all(): Iterable<Cluster> }>
  registry: MetricSource
  readiness: Readiness
  policies: Readonly<{ names(): readonly string[] }>
  certificates: Readonly<{ dump(): readonly CertificateState[] }>
  logs: LogControl
  /** Starts the graceful end; resolves when it is over. */
  quit(): Promise<void>
}>

/** The admin paths of a waypoint: ztunnel's, and of Envoy's those that tools ask. istioctl reads the dump as either's. */
export const adminRoutes = (parts: AdminParts): AdminRoutes => ({
  '/config_dump': () => json(configDump(parts)),
  '/clusters': ({ query }) => {
    const [all, own] = [parts.clusters.all(), ip(parts.config.address)]
    return query.get('format') === 'json'
      ? json(clusterStatuses(all, own))
      : { status: 200, body: clusterLines(all, own) }
  },
  '/certs': () => json({ certificates: dumpCertificates(parts.certificates.dump()) }),
  '/ready': () => answerReady(parts.readiness),
  '/server_info': () => json(serverInfo(parts)),
  '/stats': ({ query }) => answerStats(parts.registry, query),
  '/stats/prometheus': () => metricsRoute(parts.registry)({}),
  '/logging': post(({ query }) => answerLogging(query, parts.logs, parts.config.log.filter)),
  '/quitquitquit': post(async () => {
    await parts.quit()
    return { status: 200, body: 'OK\n' }
  }),
})

/** Never a key, nor a token that stands in the environment itself. */
function configDump({ config, state, connections, certificates, routes, policies, told }: AdminParts) {
  return {
    configs: envoyConfigs({ config, plans: routes.plans(), certificates: certificates.dump() }),
    workloads: [...state.workloads()].map(dumpWorkload),
    services: [...state.services()].map((service) => dumpService(service, state)),
    policies: [...state.policies.byName.values()].map(dumpPolicy),
    certificates: dumpCertificates(certificates.dump()),
    connections: connections.dump(),
    waypointPolicies: policies.names(),
    routes: routes.names(),
    telemetry: told.told,
    config: { ...config, token: isPath(config.token) ? config.token : '[redacted]' },
    version: { version: config.version, node: process.versions.node },
  }
}

const json = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, null, 2)}\n`,
})
