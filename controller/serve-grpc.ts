import { ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js'
import type { Collection, KubeClient, Pod } from '#kube'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { type Logger, type Registry, type Route, waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl, ca } from '#wire'
import { tokenAuthenticator } from './auth/index.ts'
import { type CaMetrics, callersFirst, certificateService, type LiveAuthority } from './ca/index.ts'
import { type Mesh, nodeKey, type Settings } from './collections/index.ts'
import type { Config } from './config.ts'
import { debugRoutes, debugStream } from './debug/index.ts'
import { debugging } from './debugging.ts'
import { fleetMetrics } from './fleet-metrics.ts'
import type { FollowedRoutes } from './follow-routes.ts'
import type { FollowedTelemetry } from './follow-telemetry.ts'
import { closeServer, listen, newGrpcServer, type RenewableCredentials } from './grpc.ts'
import { isProxy } from './proxies.ts'
import { quietAboutPeers } from './quiet-log.ts'
import { podsRechecked } from './recheck-pods.ts'
import { version } from './version.ts'
import { certificateAllowance, impersonationWorld } from './world.ts'
import { adsService, type Rejection, serveDeltas, xdsMetrics } from './xds/index.ts'

type GrpcOptions = Readonly<{
  config: Config
  client: KubeClient
  settings: Settings
  authority: LiveAuthority
  credentials: RenewableCredentials
  caMetrics: CaMetrics
  mesh: Mesh
  routes: FollowedRoutes
  telemetry: FollowedTelemetry
  pods: Collection<Pod>
  registry: Registry
  log: Logger
  signal: AbortSignal
}>

type Served = AsyncDisposable &
  Readonly<{
    ports: Readonly<{ xds: number; plaintextXds?: number }>
    debugRoutes: Record<string, Route>
    rejectedPolicies: Collection<Rejection>
    rejectedRoutes: Collection<Rejection>
  }>
/** xDS, certificates and what is shown of both, on 15012. */
export async function serveGrpc(o: GrpcOptions): Promise<Served> {
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
      [waypointTelemetryTypeUrl]: o.telemetry.resources,
    },
    // A workload that names a policy which is not there yet, or no more, is a workload that refuses everybody.
    referredTo: [authorizationTypeUrl, targetedPolicyTypeUrl],
    authenticate,
    isProxy: isProxy(config, o.pods, mesh),
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
    rejectedRoutes: deltas.rejections(serviceRoutesTypeUrl),
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
