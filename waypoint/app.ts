import { ip, MeshError, sleep, timerMs } from '#base'
import { HbonePool, type InboundTunnel } from '#hbone'
import { Certificates, identityMetrics, renewOnNewRoots, type Trust, watchCrl } from '#identity'
import { raiseFileLimit } from '#linux'
import { MeshState } from '#mesh'
import {
  type LogControl,
  type Logger,
  logMetrics,
  metricsRoute,
  processMetrics,
  Readiness,
  readinessRoute,
  Registry,
  serveAdmin,
  serveHttp,
  startLogging,
} from '#telemetry'
import { subscribe } from '#xds'
import { type AdminParts, adminRoutes } from './admin/index.ts'
import { type Capacity, capacityFor } from './capacity.ts'
import type { Config } from './config.ts'
import { caClient, xdsOptions } from './control-plane.ts'
import {
  Attachments,
  Connections,
  handleTunnel,
  type HboneListener,
  type ListenAt,
  listenHbone,
  type ProxyContext,
  tunnelLoad,
} from './proxy/index.ts'
import { fixedLog, requestMetrics, tcpMetrics, ToldTelemetry } from './telemetry/index.ts'
import { HttpPool } from '#http'
import { processLoad } from './phase/admit.ts'
import { copyLoad } from './phase/mirror.ts'
import { Permits } from './permits.ts'
import { WaypointPolicies } from './policy.ts'
import { Routes } from './route/index.ts'
import { Clusters, type NewSocket, ordinarySocket } from './upstream/index.ts'
import { StreamIdle } from './stream-idle.ts'
import { WorkloadPolicies } from './workload-policy.ts'

/** What a test may put in the place of the real thing. */
type Parts = Readonly<{
  logs?: LogControl
  /** Signs instead of the CA at `config.ca`. */
  sign?: ConstructorParameters<typeof Certificates>[0]['sign']
  random?: () => number
  /** Sockets of another network namespace than the process's. */
  sockets?: Sockets
}>

/** How a test gets into another network namespace. */
export type Sockets = Readonly<{
  /** What the listener of a port is made of. */
  listen(port: number): ListenAt
  newSocket: NewSocket
}>

const ordinary: Sockets = { listen: (port) => ({ port }), newSocket: ordinarySocket }

/** A running waypoint. Disposing it ends every connection at once. */
export type Waypoint = AsyncDisposable &
  Readonly<{
    state: MeshState
    registry: Registry
    readiness: Readiness
    ports: Readonly<{ hbone: number; admin: number; stats: number; readiness: number }>
    /** Resolves when somebody has asked us to quit. */
    quit: Promise<void>
    /** Sends peers elsewhere and lets what is open end, for as long as the configuration allows. */
    drain(): Promise<void>
  }>

const stateTask = 'state manager'
const certificateTask = 'certificate'
const leavingTask = 'leaving'
const shuttingDown = () => new MeshError('draining', { message: 'shutting down' })

/** Starts everything; what was opened is closed again when a later part fails. */
export async function startWaypoint(config: Config, parts: Parts = {}): Promise<Waypoint> {
  await using stack = new AsyncDisposableStack()
  const logs = parts.logs ?? startLogging(config.log)
  const log = logs.root('waypoint')
  const registry = new Registry()
  const readiness = new Readiness([stateTask, certificateTask])
  const fileLimit = raiseFileLimit()
  processMetrics(registry, 'waypoint', config.version, fileLimit)
  const capacity = holdTo(capacityFor(fileLimit))
  logMetrics(registry, logs)
  const stop = new AbortController()
  const leaving = new AbortController()
  const closing = new AbortController()
  const state = new MeshState(config.nodeName)
  const metrics = identityMetrics(registry)
  const identityLog = log.child('identity')
  const renewals = new Set<() => void>()
  const certificates = stack.use(
    new Certificates({
      sign: parts.sign ?? stack.use(caClient(config)),
      log: identityLog,
      metrics,
      renewed: () => {
        readiness.done(certificateTask)
        for (const listener of renewals) listener()
      },
    }),
  )
  renewOnNewRoots({ config, certificates, log: identityLog, signal: stop.signal })
  const trust = trustOf(config, certificates, metrics, identityLog, stop.signal)
  const { sockets = ordinary } = parts
  const known = knownOf(config, state, logs)
  const ends = { stop, leaving, closing }
  const told = Promise.withResolvers<void>()
  const own = { config, parts, sockets, logs, registry, certificates, renewals, trust, capacity, ...ends }
  const ctx = contextOf({ ...known, ...own, everythingTold: told.promise })
  const at = sockets.listen(config.ports.hbone)
  const listener = stack.use(await listenHbone(at, capacity.connections, ctx, handler(ctx)))
  certificates.prefetch(config.identity)
  const ending = endingOf({ listener, readiness, leaving, closing, config })
  const { connections, clusters } = ctx
  const shown = { ...known, config, connections, clusters, certificates, logs, registry, readiness }
  const ports = await openServers(stack, { ...shown, quit: ending.quit })
  const { signal } = stop
  const options = { ...xdsOptions(config, known, registry), signal, log: log.child('xds') }
  const subscription = subscribe(options)
  void subscription.synced.then(() => {
    readiness.done(stateTask)
    told.resolve()
  })
  stack.defer(async () => {
    stop.abort(shuttingDown())
    await subscription.done
  })
  const owned = stack.move()
  return {
    state,
    registry,
    readiness,
    ports: { ...ports, hbone: listener.port },
    quit: ending.asked,
    drain: ending.drain,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The process's own bounds; a test may have set lower ones. */
function holdTo(capacity: Capacity): Capacity {
  processLoad.limit = Math.min(processLoad.limit, capacity.requests)
  tunnelLoad.limit = Math.min(tunnelLoad.limit, capacity.tunnels)
  copyLoad.limit = Math.min(copyLoad.limit, capacity.copies)
  return capacity
}

/** What is held of what the control plane tells. */
const knownOf = (config: Config, state: MeshState, logs: LogControl) => ({
  state,
  routes: new Routes(),
  policies: new WaypointPolicies(config.gateway),
  told: new ToldTelemetry(logs.lines('access')),
})

/** What requests are counted and logged by. */
const telemetryOf = ({ config, logs, told, registry }: ContextParts) => ({
  metrics: requestMetrics(registry),
  accessLog: config.accessLog === undefined ? told.log : fixedLog(config.accessLog, logs.lines('access')),
  variants: told.variants,
})

const handler = (ctx: ProxyContext) => (tunnel: InboundTunnel) => void handleTunnel(tunnel, ctx)

const trustOf = (
  { identity, crlPath, keyExchange }: Config,
  certificates: Certificates,
  metrics: ReturnType<typeof identityMetrics>,
  log: Logger,
  signal: AbortSignal,
): Trust => ({
  current: () => certificates.current(identity),
  revocations: crlPath === undefined ? undefined : watchCrl({ path: crlPath, log, metrics, signal }),
  keyExchange,
  metrics,
})

type ContextParts = Readonly<{
  config: Config
  parts: Parts
  sockets: Sockets
  logs: LogControl
  registry: Registry
  state: MeshState
  routes: Routes
  policies: WaypointPolicies
  told: ToldTelemetry
  certificates: Certificates
  /** Told of each new certificate of ours. */
  renewals: Set<() => void>
  trust: Trust
  capacity: Capacity
  everythingTold: Promise<void>
  stop: AbortController
  leaving: AbortController
  closing: AbortController
}>

function contextOf(o: ContextParts): ProxyContext {
  const { config, logs, state, certificates, trust, stop, leaving, closing, capacity } = o
  const { pod, identity, network } = config
  const address = ip(config.address)
  const local = () => state.localWorkload(pod)
  const certificate = (signal: AbortSignal) => certificates.get(identity, signal)
  const pool = new HbonePool({ limits: { maxUnused: capacity.unused }, trust, signal: stop.signal })
  const random = o.parts.random ?? Math.random
  const now = () => performance.now()
  const permits = new Permits(state, o.policies, new WorkloadPolicies(state, { identity, address }))
  const self = () => ({ local: local(), namespace: pod.namespace, address, network })
  const requests = new HttpPool({ maxIdle: capacity.idle })
  // What was opened by the old certificate ends with what is under way in it, long before it would be cut off.
  o.renewals.add(() => {
    requests.drainAll()
    pool.drain()
  })
  const left = (place: string) => requests.drain(place)
  const clusters = new Clusters(state, { local, network, random, now, left })
  const leavingBy = leavingOf(o, pool)
  const log = logs.root('waypoint').child('proxy')
  const attachments = new Attachments(state, self)
  const streamIdle = new StreamIdle(permits, config.streamIdleMs)
  const end = () => {
    requests.close()
    for (const one of [permits, attachments, streamIdle]) one[Symbol.dispose]()
  }
  stop.signal.addEventListener('abort', end, { once: true })
  return {
    identity,
    address,
    namespace: pod.namespace,
    network,
    state,
    local,
    certificate,
    told: o.everythingTold,
    trust,
    clusters,
    leaving: leavingBy,
    connections: new Connections(),
    tcp: tcpMetrics(o.registry),
    routes: o.routes,
    http: {
      pool: requests,
      clusters,
      permits,
      leaving: leavingBy,
      ...telemetryOf(o),
      identity,
      log,
      random,
    },
    attachments,
    policies: o.policies,
    permits,
    access: logs.root('access'),
    log,
    detectionMs: config.detectionMs,
    signal: stop.signal,
    draining: leaving.signal,
    closing: closing.signal,
  }
}

/** What every way out needs. */
const leavingOf = (
  { config, parts, sockets, state, certificates, trust, stop }: ContextParts,
  pool: HbonePool,
) => ({
  identity: config.identity,
  address: ip(config.address),
  network: config.network,
  pool,
  local: () => state.localWorkload(config.pod),
  certificate: () => certificates.get(config.identity, stop.signal),
  newSocket: sockets.newSocket,
  state,
  trust,
  random: parts.random ?? Math.random,
  ownPorts: new Set(Object.values(config.ports).filter((port) => port > 0)),
})

type EndingParts = Readonly<{
  listener: HboneListener
  readiness: Readiness
  leaving: AbortController
  closing: AbortController
  config: Config
}>

/** The graceful end: whoever asks for it is answered when it is over. */
function endingOf({ listener, readiness, leaving, closing, config }: EndingParts) {
  const { drainMs, lingerMs } = config
  const asked = Promise.withResolvers<void>()
  const drained = Promise.withResolvers<void>()
  return {
    asked: asked.promise,
    quit: () => {
      asked.resolve()
      return drained.promise
    },
    drain: async () => {
      readiness.pending(leavingTask)
      leaving.abort(shuttingDown())
      listener.leave()
      const limit = AbortSignal.timeout(timerMs(drainMs))
      await lastToCome(listener, { lingerMs, mostMs: drainMs / 2, signal: limit })
      listener.close()
      closing.abort(shuttingDown())
      await Promise.race([listener.idle(), new Promise((done) => limit.addEventListener('abort', done))])
      drained.resolve()
    },
  }
}

/**
 * Peers that have not heard yet that we leave still find us, and are sent on once they have: until nobody has come for
 * a while, however long the news takes.
 */
async function lastToCome(
  listener: HboneListener,
  { lingerMs, mostMs, signal }: Readonly<{ lingerMs: number; mostMs: number; signal: AbortSignal }>,
): Promise<void> {
  const until = performance.now() + mostMs
  for (let wait = lingerMs; wait > 0 && !signal.aborted; ) {
    await sleep(Math.min(wait, until - performance.now()), signal).catch(() => undefined)
    wait = Math.min(Math.ceil(lingerMs - listener.quietMs), until - performance.now())
  }
}

async function openServers(
  stack: AsyncDisposableStack,
  parts: AdminParts,
): Promise<Omit<Waypoint['ports'], 'hbone'>> {
  const { config, registry, readiness } = parts
  const { ports } = config
  const metrics = metricsRoute(registry)
  // Envoy's own, where scrapers of proxies look.
  stack.use(await serveHttp({ port: ports.envoyStats }, { '/stats/prometheus': metrics }))
  const admin = stack.use(await serveAdmin(ports.admin, adminRoutes(parts)))
  const stats = stack.use(
    await serveHttp({ port: ports.stats }, { '/metrics': metrics, '/stats/prometheus': metrics }),
  )
  const ready = stack.use(
    await serveHttp({ port: ports.readiness }, { 'GET /healthz/ready': readinessRoute(readiness) }),
  )
  return { admin: admin.port, stats: stats.port, readiness: ready.port }
}
