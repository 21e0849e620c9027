import { maxTimerMs, MeshError } from '#base'
import { Certificates, identityMetrics, renewOnNewRoots, type SpiffeId } from '#identity'
import { raiseFileLimit } from '#linux'
import {
  type LogControl,
  type Logger,
  logMetrics,
  type MetricSource,
  metricsRoute,
  processMetrics,
  Readiness,
  readinessRoute,
  Registry,
  serveAdmin,
  serveHttp,
  startLogging,
  sumMetrics,
} from '#telemetry'
import { subscribe } from '#xds'
import { type AdminParts, adminRoutes, Profiler } from './admin/index.ts'
import type { Config } from './config.ts'
import { type Spawn, spawnThread, workerMetrics, Workers } from './control/index.ts'
import { caClient, xdsOptions } from './control-plane.ts'
import { certificatesTask, firstCertificates, followIdentities, onlyLocal } from './identity.ts'
import { followAgent, ownNetns, podMetrics, Pods } from './inpod/index.ts'
import { newBeat, watchLoop } from './loop-delay.ts'
import { OwnPod } from './own-pod.ts'
import { policyMetrics } from './policy-metrics.ts'
import { shareAdmission } from './proxy/index.ts'
import { MeshState, type PodName } from './state/index.ts'

/** What a test may put in the place of the real thing. */
type Parts = Readonly<{
  logs?: LogControl
  /** Signs instead of the CA at `config.ca`. */
  sign?: ConstructorParameters<typeof Certificates>[0]['sign']
  /** How data workers come to life. */
  spawn?: Spawn
  /** Between two tries to start a pod's proxy. */
  podRetryMs?: number
}>

/** Every metric of the process, those of its data workers included. */
type Metrics = Pick<Registry, 'metrics'> & MetricSource

/** A running ztunnel. Disposing it ends every connection at once. */
export type Ztunnel = AsyncDisposable &
  Readonly<{
    state: MeshState
    registry: Metrics
    /** The metrics of this thread alone. */
    ownRegistry: Registry
    readiness: Readiness
    ports: Readonly<{ admin: number; stats: number; readiness: number }>
    /** Resolves when somebody has asked us to quit. */
    quit: Promise<void>
    /** Stops accepting and lets connections end, for as long as the configuration allows. */
    drain(): Promise<void>
  }>

const stateTask = 'state manager'
const shuttingDown = () => new MeshError('draining', { message: 'shutting down' })

/** Starts everything; what was opened is closed again when a later part fails. */
export async function startZtunnel(config: Config, parts: Parts = {}): Promise<Ztunnel> {
  await using stack = new AsyncDisposableStack()
  const logs = parts.logs ?? startLogging(config.log)
  const log = logs.root('ztunnel')
  const own = new Registry()
  const readiness = new Readiness([stateTask, certificatesTask])
  const fileLimit = raiseFileLimit()
  processMetrics(own, 'ztunnel', config.version, fileLimit)
  logMetrics(own, logs)
  stack.use(watchLoop(own, newBeat()))
  const stop = new AbortController()
  stack.defer(() => stop.abort(shuttingDown()))
  const state = new MeshState(config.nodeName)
  policyMetrics(own, state)
  const sign = parts.sign ?? stack.use(caClient(config))
  const certificates: Certificates = stack.use(
    new Certificates({
      sign,
      log: log.child('identity'),
      metrics: identityMetrics(own),
      renewed: (one) => workers.renewed(one),
    }),
  )
  const workers: Workers = stack.use(
    new Workers({
      count: config.workers,
      spawn: parts.spawn ?? spawnThread(logs),
      start: { config, fileLimit, admission: shareAdmission(config.workers) },
      certificate: onlyLocal(state, (id) => certificates.get(id, stop.signal)),
      readiness,
      metrics: workerMetrics(own),
      log: log.child('workers'),
    }),
  )
  await workers.start()
  renewOnNewRoots({ config, certificates, log: log.child('identity'), signal: stop.signal })
  const { place } = config
  // A sidecar has one identity, which is asked for when it is needed.
  if (place.kind === 'node') stack.use(followIdentities(state, identitiesOf(certificates, workers)))
  const inpod = log.child('inpod')
  const ownPod = stack.use(
    new OwnPod({ pod: place.kind === 'node' ? place.own : undefined, workers, readiness, log: inpod }),
  )
  const pods = stack.use(
    new Pods({
      start: (pod, netns) => workers.startPod(pod, netns, place.kind === 'node' ? 'captured' : 'sidecar'),
      log: inpod,
      readiness,
      metrics: podMetrics(own),
      signal: stop.signal,
      retryMs: parts.podRetryMs,
      releaseMs: config.releaseMs,
    }),
  )
  const registry = allMetrics(own, workers)
  const ending = endingOf(workers, pods, ownPod, config.drainMs)
  const connections = () => workers.connections()
  const profiler = stack.use(new Profiler())
  const admin = { config, state, pods, connections, certificates, logs, profiler, quit: ending.quit }
  const ports = await openServers(stack, registry, readiness, admin)
  const known = { config, state, pods, ownPod, workers, certificates, readiness, log }
  startFeeds(stack, { ...known, ...ending, registry: own, stop })
  const owned = stack.move()
  const seen = { state, registry, ownRegistry: own, readiness, ports }
  const { asked: quit, drain } = ending
  return { ...seen, quit, drain, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** A certificate that is forgotten is forgotten everywhere. */
const identitiesOf = (certificates: Certificates, workers: Workers) => ({
  prefetch: (id: SpiffeId) => certificates.prefetch(id),
  forget: (id: SpiffeId) => {
    certificates.forget(id)
    workers.forgotten(id)
  },
})

function allMetrics(own: Registry, workers: Workers): Metrics {
  const sum = async () => sumMetrics([await own.getMetricsAsJSON(), ...(await workers.metrics())])
  return {
    metrics: async () => (await sum()).metrics(),
    getMetricsAsJSON: async () => (await sum()).getMetricsAsJSON(),
  }
}

/** The graceful end: whoever asks for it is answered when it is over. */
function endingOf(workers: Workers, pods: Pods, ownPod: OwnPod, drainMs: number) {
  const asked = Promise.withResolvers<void>()
  const drained = Promise.withResolvers<void>()
  const leaving = new AbortController()
  return {
    asked: asked.promise,
    quit: () => {
      asked.resolve()
      return drained.promise
    },
    leaving: leaving.signal,
    drain: async () => {
      leaving.abort()
      workers.drain()
      await within(Promise.all([pods.drain(), ownPod.drain()]), drainMs)
      drained.resolve()
    },
  }
}

/** The one workload of a sidecar, as if a node agent had named it; it is tried again until it can be served. */
async function serveWorkload(workload: PodName, pods: Pods): Promise<void> {
  const uid = `${workload.namespace}/${workload.name}`
  await pods.add({ ...workload, uid }, ownNetns()).catch(() => undefined) // logged, and tried again
  await pods.endSnapshot()
}

type Feeds = Readonly<{
  config: Config
  state: MeshState
  pods: Pods
  ownPod: OwnPod
  workers: Workers
  certificates: Certificates
  registry: Registry
  readiness: Readiness
  log: Logger
  leaving: AbortSignal
  stop: AbortController
}>

/** The control plane, and when the mesh is known the node agent: before that every connection would be a stranger. */
function startFeeds(stack: AsyncDisposableStack, o: Feeds): void {
  const { config, state, pods, ownPod, workers, certificates, registry, readiness, log, leaving, stop } = o
  const { signal } = stop
  const options = xdsOptions(config, state, registry, (batch) => workers.publish(batch))
  const subscription = subscribe({ ...options, signal, log: log.child('xds') })
  let following: Promise<void> | undefined
  void subscription.synced.then(() => {
    readiness.done(stateTask)
    ownPod.serve(AbortSignal.any([signal, leaving]))
    const get = (id: SpiffeId) => certificates.get(id, signal)
    void firstCertificates({ state, nodeName: config.nodeName, get, signal }).then(() =>
      readiness.done(certificatesTask),
    )
    const options = { path: config.agentSocket, pods, log: log.child('inpod'), leaving, signal }
    const { place } = config
    following = place.kind === 'node' ? followAgent(options) : serveWorkload(place.workload, pods)
  })
  // First of all at the end: nothing more is heard, so that what is closed next stays closed.
  stack.defer(async () => {
    stop.abort(shuttingDown())
    await subscription.done
    await following
  })
}

async function openServers(
  stack: AsyncDisposableStack,
  registry: Metrics,
  readiness: Readiness,
  parts: AdminParts,
): Promise<Ztunnel['ports']> {
  const { ports } = parts.config
  const metrics = metricsRoute(registry)
  const admin = stack.use(await serveAdmin(ports.admin, adminRoutes(parts)))
  const stats = stack.use(
    await serveHttp({ port: ports.stats }, { '/metrics': metrics, '/stats/prometheus': metrics }),
  )
  const ready = stack.use(
    await serveHttp({ port: ports.readiness }, { 'GET /healthz/ready': readinessRoute(readiness) }),
  )
  return { admin: admin.port, stats: stats.port, readiness: ready.port }
}

/** Resolves with `task`, at the latest after `ms`. */
async function within(task: Promise<unknown>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, Math.min(ms, maxTimerMs))
  await Promise.race([task, promise])
  clearTimeout(timer)
}
