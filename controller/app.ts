import { ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { messageOf, retry } from '#base'
import { type Collection, type KubeClient, kinds, type Pod } from '#kube'
import {
  type Logger,
  metricsRoute,
  Readiness,
  readinessRoute,
  Registry,
  type Route,
  serveHttp,
} from '#telemetry'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { addressTypeUrl, authorizationTypeUrl, ca } from '#wire'
import { tokenAuthenticator } from './auth/index.ts'
import {
  type CaMetrics,
  callersFirst,
  caMetrics,
  certificateService,
  followAuthority,
  type LiveAuthority,
  openAuthority,
  showExpiry,
} from './ca/index.ts'
import { type Mesh, nodeKey, type Settings } from './collections/index.ts'
import { validate } from './collections/validate.ts'
import type { Config } from './config.ts'
import { followMesh } from './follow-mesh.ts'
import type { FollowedRoutes } from './follow-routes.ts'
import { closeServer, listen, newGrpcServer, type RenewableCredentials } from './grpc.ts'
import { debugRoutes, debugStream } from './debug/index.ts'
import { fleetMetrics } from './fleet-metrics.ts'
import { inboundMetrics } from './inbound-metrics.ts'
import { debugging } from './debugging.ts'
import { meshConfigFrom } from './mesh-config.ts'
import { quietAboutPeers } from './quiet-log.ts'
import { podsRechecked } from './recheck-pods.ts'
import { servingCredentials } from './serving-certificate.ts'
import { merged, validateSpec } from './validation/index.ts'
import { certificateAllowance, impersonationWorld } from './world.ts'
import { serveWebhook } from './webhook/index.ts'
import { adsService, type Rejection, serveDeltas, xdsMetrics } from './xds/index.ts'
import { version } from './version.ts'
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
  const { trustDomain } = settings
  const ca = { namespace: config.namespace, trustDomain, root: config.ca.root, signal, log: log.child('ca') }
  for (const sentence of config.ca.unheeded) ca.log.warn('a setting is not heeded', { setting: sentence })
  const first = await untilReachable('ca', log, signal, () => openAuthority(client, ca))
  const ofCa = caMetrics(registry)
  const authority = followAuthority(client, first, {
    ...ca,
    counted: (outcome) => ofCa.reloads.inc({ outcome }),
  })
  showExpiry(registry, authority.current)
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
    caMetrics: ofCa,
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

/** The API server may still be starting: asked again until it answers or says no for good. */
const untilReachable = <T>(
  what: string,
  log: Logger,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> =>
  retry(attempt, {
    signal,
    attempts: Infinity,
    capMs: 5_000,
    onRetry: (error, waitMs) =>
      log.warn('waiting for the API server', { what, error: messageOf(error), waitMs: Math.round(waitMs) }),
  })

const gatewayOptions = (
  { revision, waypointImage: image, caAddress, domain, gatewayClasses: classes, copiesWords }: Config,
  { clusterId, trustDomain, rootNamespace }: Settings,
) => ({
  rootNamespace,
  classes,
  render: { revision, image, caAddress, clusterId, trustDomain, domain, copiesWords },
})

async function settingsOf(
  config: Config,
  client: KubeClient,
  signal: AbortSignal,
  log: Logger,
): Promise<Settings> {
  const { namespace, clusterId, domain, dryRunPolicies, allowWaypoints, revision } = config
  const map = await untilReachable('mesh config', log, signal, () =>
    client.find({ kind: kinds.ConfigMap, namespace, name: 'istio' }, signal),
  )
  const mesh = meshConfigFrom(map, namespace, log)
  const trustDomain = config.trustDomain ?? mesh.trustDomain
  const fixed = { clusterId, domain, dryRunPolicies, allowWaypoints, revision }
  return { ...fixed, trustDomain, rootNamespace: mesh.rootNamespace }
}

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
    judge: ({ group, kind, object }) =>
      merged(validate(group, kind, object, settings), validateSpec(group, kind, object.spec)),
    registry,
    log: log.child('webhook'),
  })

type GrpcOptions = Readonly<{
  config: Config
  client: KubeClient
  settings: Settings
  authority: LiveAuthority
  credentials: RenewableCredentials
  caMetrics: CaMetrics
  mesh: Mesh
  routes: FollowedRoutes
  pods: Collection<Pod>
  registry: Registry
  log: Logger
  signal: AbortSignal
}>

type Served = AsyncDisposable &
  Readonly<{
    ports: Readonly<{ xds: number; plaintextXds?: number }>
    debugRoutes: Routes
    rejectedPolicies: Collection<Rejection>
  }>
type Routes = Record<string, Route>

async function serveGrpc(o: GrpcOptions): Promise<Served> {
  const { config, settings, authority, mesh, registry, log, signal } = o
  const authenticate = tokenAuthenticator({ client: o.client, audiences: config.audiences, signal })
  const mayAsk = certificateAllowance(config.trustedAccounts)
  const certificates = { authenticate, mayAsk, log: quietAboutPeers(log.child('ca')), metrics: o.caMetrics }
  const server = newGrpcServer([callersFirst(certificates)])
  const deltas = serveDeltas({
    types: {
      [addressTypeUrl]: mesh.addresses,
      [authorizationTypeUrl]: mesh.authorizations,
      [serviceRoutesTypeUrl]: o.routes.resources,
      [targetedPolicyTypeUrl]: mesh.targetedPolicies,
    },
    // A workload that names a policy which is not there yet, or no more, is a workload that refuses everybody.
    referredTo: [authorizationTypeUrl, targetedPolicyTypeUrl],
    authenticate,
    isProxy: ({ namespace, serviceAccount }) =>
      config.trustedAccounts.includes(`${namespace}/${serviceAccount}`),
    nodeKey,
    debounceMs: config.debounceMs,
    debounceMaxMs: config.debounceMaxMs,
    version,
    log: quietAboutPeers(log.child('xds')),
    metrics: xdsMetrics(registry),
  })
  const recheck = podsRechecked({ client: o.client, pods: o.pods, signal })
  const world = impersonationWorld(o.pods, settings.trustDomain, config.trustedAccounts, recheck)
  fleetMetrics(registry, mesh.services.size)
  const { clients } = deltas
  const debug = debugging({
    config,
    settings,
    mesh,
    routes: o.routes,
    authenticate,
    clients,
    log: log.child('debug'),
  })
  const handlers = {
    deltaAggregatedResources: deltas.deltaAggregatedResources,
    streamAggregatedResources: debugStream(debug),
  }
  server.addService(adsService, handlers)
  server.addService(
    ca.IstioCertificateServiceService,
    certificateService({
      ...certificates,
      authority: authority.current,
      world,
      lifetimes: config.ca.workload,
    }),
  )
  const xds = await listen(server, config.ports.xds, o.credentials)
  const plaintext = await servePlaintext(config.ports.plaintextXds, handlers)
  return {
    ports: { xds, ...(plaintext ? { plaintextXds: plaintext.port } : {}) },
    debugRoutes: debugRoutes(debug),
    rejectedPolicies: deltas.rejections(authorizationTypeUrl),
    [Symbol.asyncDispose]: async () => {
      deltas[Symbol.dispose]()
      await Promise.all([closeServer(server), plaintext?.[Symbol.asyncDispose]()])
    },
  }
}

/** xDS without TLS, where somebody asks for it: the same tokens are wanted, and no certificates are signed there. */
async function servePlaintext(port: number | undefined, handlers: UntypedServiceImplementation) {
  if (port === undefined) return undefined
  const server = newGrpcServer()
  server.addService(adsService, handlers)
  const bound = await listen(server, port, ServerCredentials.createInsecure())
  return { port: bound, [Symbol.asyncDispose]: () => closeServer(server) }
}

/** Under the name that it has here, and the one that it has in all other components. */
const readyRoutes = (readiness: Readiness): Routes => {
  const ready = readinessRoute(readiness)
  return { 'GET /ready': ready, 'GET /healthz/ready': ready }
}

const monitoringRoutes = (registry: Registry): Routes => ({
  'GET /metrics': metricsRoute(registry),
  'GET /version': () => ({ status: 200, body: `${version}-lateen-Clean\n` }),
})
