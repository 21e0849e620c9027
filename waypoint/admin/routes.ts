import { type CertificateState, dumpCertificates, isPath } from '#identity'
import { dumpPolicy, dumpService, dumpWorkload, type MeshState } from '#mesh'
import { type AdminRoutes, type Answer, answerLogging, type LogControl, post } from '#telemetry'
import type { Config } from '../config.ts'
import type { Connections } from '../proxy/index.ts'

export type AdminParts = Readonly<{
  config: Config
  state: MeshState
  connections: Connections
  /** Names of what waypoints alone are told. */
  routes: Readonly<{ names(): readonly string[] }>
  policies: Readonly<{ names(): readonly string[] }>
  certificates: Readonly<{ dump(): readonly CertificateState[] }>
  logs: LogControl
  /** Starts the graceful end; resolves when it is over. */
  quit(): Promise<void>
}>

/** The admin paths of a waypoint; istioctl reads the dump as it reads ztunnel's. */
export const adminRoutes = (parts: AdminParts): AdminRoutes => ({
  '/config_dump': () => json(configDump(parts)),
  '/logging': post(({ query }) => answerLogging(query, parts.logs, parts.config.log.filter)),
  '/quitquitquit': post(async () => {
    await parts.quit()
    return { status: 200, body: 'OK\n' }
  }),
})

/** Never a key, nor a token that stands in the environment itself. */
const configDump = ({ config, state, connections, certificates, routes, policies }: AdminParts) => ({
  workloads: [...state.workloads()].map(dumpWorkload),
  services: [...state.services()].map((service) => dumpService(service, state)),
  policies: [...state.policies.byName.values()].map(dumpPolicy),
  certificates: dumpCertificates(certificates.dump()),
  connections: connections.dump(),
  waypointPolicies: policies.names(),
  routes: routes.names(),
  config: { ...config, token: isPath(config.token) ? config.token : '[redacted]' },
  version: { version: config.version, node: process.versions.node },
})

const json = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, null, 2)}\n`,
})
