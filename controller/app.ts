import type { KubeClient } from '#kube'
import {
  type Logger,
  metricsRoute,
  Readiness,
  readinessRoute,
  Registry,
  type Route,
  serveHttp,
} from '#telemetry'
import type { Settings } from './collections/index.ts'
import { validate } from './collections/validate.ts'
import type { Config } from './config.ts'
import { followMesh } from './follow-mesh.ts'
import type { RenewableCredentials } from './grpc.ts'
import { inboundMetrics } from './inbound-metrics.ts'
import { quietAboutPeers } from './quiet-log.ts'
import { rejectedRoutes } from './rejected-routes.ts'
import { routeFindings } from './routes/index.ts'
import { serveGrpc } from './serve-grpc.ts'
import { servingCredentials } from './serving-certificate.ts'
import { settingsOf } from './settings-of.ts'
import { startAuthority } from './start-authority.ts'
import { telemetryFindings } from './telemetry/index.ts'
import { merged, validateSpec } from './validation/index.ts'
import { version } from './version.ts'
import { serveWebhook } from './webhook/index.ts'
import { jobsOf, leadJobs } from './writers.ts'

export type App = AsyncDisposable &
  Readonly<{
    ports: Readonly<{
      xds: number
      plaintextXds?: number
      webhook: number
      monitoring: number
      readiness: number
    }>
  }>

/** Starts the controller; what fails half-way leaves nothing open. Closing is the reverse of opening. */
export async function startController(config: Config, client: KubeClient, log: Logger): Promise<App> {
  await using stack = new AsyncDisposableStack()
  const stop = new AbortController()
  const { signal } = stop
  stack.defer(() => stop.abort())
  const registry = new Registry()
  const readiness = new Readiness(['ca', 'objects', 'xds'])
  const http = stack.use(await serveHttp({ port: config.ports.readiness }, readyRoutes(readiness)))
  const routes = { ...monitoringRoutes(registry), ...readyRoutes(readiness) } // what can be shown later is added then
  const monitoring = stack.use(await serveHttp({ port: config.ports.monitoring }, routes))

  const settings = await settingsOf(config, client, signal, log)
  const { authority, caMetrics } = await startAuthority({ client, config, settings, registry, signal, log })
  readiness.done('ca')

  const followed = stack.use(await followMesh({ client, config, settings, signal, log }))
  stack.use(inboundMetrics(registry, followed.inputs))
  readiness.done('objects')

  const credentials = servingCredentials(authority, config, signal, log.child('ca'))
  const webhook = stack.use(await validationWebhook(config, credentials, settings, registry, log))
  const served = await serveGrpc({
    config,
    credentials,
    client,
    settings,
    authority,
    caMetrics,
    ...followed,
    pods: followed.inputs.pods,
    registry,
    log,
    signal,
  })
  stack.defer(() => served[Symbol.asyncDispose]())
  Object.assign(routes, served.debugRoutes)
  readiness.done('xds')

  const jobs = jobsOf({
    client,
    namespace: config.namespace,
    ...followed,
    authority,
    rejectedPolicies: served.rejectedPolicies,
    rejectedRoutes: rejectedRoutes(followed.routes.routes, served.rejectedRoutes),
    vipRanges: config.vipRanges,
    gateway: gatewayOptions(config, settings),
    signal,
    log: log.child('reconcile'),
  })
  const holder = { namespace: config.namespace, identity: config.podName, ...config.lease }
  const leading = leadJobs(client, jobs, { ...holder, signal, log: log.child('lease') })
  stack.defer(() => leading)
  stack.defer(() => stop.abort()) // before waiting for what listens to it
  log.info('ready', {
    version,
    ...served.ports,
    workloads: followed.mesh.workloads.size(),
    services: followed.mesh.services.size(),
  })
  const ports = { ...served.ports, webhook: webhook.port, monitoring: monitoring.port, readiness: http.port }
  const open = stack.move()
  return { ports, [Symbol.asyncDispose]: () => open.disposeAsync() }
}

const gatewayOptions = (
  { revision, waypointImage: image, caAddress, domain, gatewayClasses: classes, copiesWords }: Config,
  { clusterId, trustDomain, rootNamespace }: Settings,
) => ({
  rootNamespace,
  classes,
  render: { revision, image, caAddress, clusterId, trustDomain, domain, copiesWords },
})

const validationWebhook = (
  { ports }: Config,
  credentials: RenewableCredentials,
  settings: Settings,
  registry: Registry,
  log: Logger,
) =>
  serveWebhook({
    port: ports.webhook,
    credentials,
    judge: ({ group, kind, object }) => {
      const found = merged(validate(group, kind, object, settings), validateSpec(group, kind, object.spec))
      if (found !== undefined && found.errors.length > 0) return found
      return merged(
        merged(found, routeFindings(group, kind, object, settings.domain)),
        telemetryFindings(group, kind, object, settings.rootNamespace),
      )
    },
    registry,
    log: quietAboutPeers(log.child('webhook')),
  })

type Routes = Record<string, Route>

/** Under the name that it has here, and the one that it has in all other components. */
const readyRoutes = (readiness: Readiness): Routes => {
  const ready = readinessRoute(readiness)
  return { 'GET /ready': ready, 'GET /healthz/ready': ready }
}

const monitoringRoutes = (registry: Registry): Routes => ({
  'GET /metrics': metricsRoute(registry),
  'GET /version': () => ({ status: 200, body: `${version}-lateen-Clean\n` }),
})
