import { readFileSync } from 'node:fs'
import { MeshError, messageOf } from '#base'
import { Certificates, createCaClient } from '#identity'
import { raiseFileLimit } from '#linux'
import {
  type LogControl,
  type Logger,
  logMetrics,
  metricsRoute,
  Readiness,
  readinessRoute,
  Registry,
  serveHttp,
  startLogging,
} from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { subscribe, xdsMetrics } from '#xds'
import { type AdminParts, adminRoutes, serveAdmin } from './admin/index.ts'
import type { Config } from './config.ts'
import { followIdentities } from './identity.ts'
import { followAgent, podMetrics, Pods, startPodProxy } from './inpod/index.ts'
import { processMetrics } from './process-metrics.ts'
import { Admission, admissionMetrics, Connections, type ProxyContext, proxyMetrics } from './proxy/index.ts'
import { addressHandler, authorizationHandler, MeshState } from './state/index.ts'

/** What a test may put in the place of the real thing. */
export type Parts = Readonly<{
  logs?: LogControl
  /** Signs instead of the CA at `config.ca`. */
  sign?: ConstructorParameters<typeof Certificates>[0]['sign']
  random?: () => number
  /** Between two tries to start a pod's proxy. */
  podRetryMs?: number
}>

/** A running ztunnel. Disposing it ends every connection at once. */
export type Ztunnel = AsyncDisposable &
  Readonly<{
    state: MeshState
    registry: Registry
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
  const registry = new Registry()
  const readiness = new Readiness([stateTask])
  const fileLimit = raiseFileLimit()
  processMetrics(registry, config.version, fileLimit)
  logMetrics(registry, logs)
  const stop = new AbortController()
  stack.defer(() => stop.abort(shuttingDown()))
  const state = new MeshState(config.nodeName)
  const sign = parts.sign ?? stack.use(caClient(config))
  const certificates = stack.use(new Certificates({ sign, log: log.child('identity') }))
  stack.use(followIdentities(state, certificates))
  const connections = new Connections()
  stack.use(recheckOnChange(state, connections))
  const metrics = proxyMetrics(registry)
  const admission = new Admission(fileLimit, metrics.shed)
  admissionMetrics(registry, admission)
  const context: ProxyContext = {
    state,
    certificates,
    connections,
    admission,
    metrics,
    access: logs.root('access'),
    network: config.network,
    mark: config.mark,
    keepSource: config.keepSource,
    random: parts.random ?? Math.random,
    limits: config.hbone,
  }
  const pods = stack.use(
    new Pods({
      start: (pod, netns) => startPodProxy({ context, pod, netns }),
      log: log.child('inpod'),
      readiness,
      metrics: podMetrics(registry),
      signal: stop.signal,
      retryMs: parts.podRetryMs,
      releaseMs: config.releaseMs,
    }),
  )
  const quit = Promise.withResolvers<void>()
  const drain = () => drainPods(pods, config.drainMs)
  const admin = { config, state, pods, connections, certificates, logs, quit: async () => quit.resolve() }
  const ports = await openServers(stack, registry, readiness, admin)
  startFeeds(stack, { config, state, pods, registry, readiness, log, stop })
  const owned = stack.move()
  return {
    state,
    registry,
    readiness,
    ports,
    quit: quit.promise,
    drain,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

type Feeds = Readonly<{
  config: Config
  state: MeshState
  pods: Pods
  registry: Registry
  readiness: Readiness
  log: Logger
  stop: AbortController
}>

/** The control plane, and when the mesh is known the node agent: before that every connection would be a stranger. */
function startFeeds(stack: AsyncDisposableStack, o: Feeds): void {
  const { config, state, pods, registry, readiness, log, stop } = o
  const { signal } = stop
  const options = xdsOptions(config, state, registry)
  const subscription = subscribe({ ...options, signal, log: log.child('xds') })
  let following: Promise<void> | undefined
  void subscription.synced.then(() => {
    readiness.done(stateTask)
    following = followAgent({ path: config.agentSocket, pods, log: log.child('inpod'), signal })
  })
  // First of all at the end: nothing more is heard, so that what is closed next stays closed.
  stack.defer(async () => {
    stop.abort(shuttingDown())
    await subscription.done
    await following
  })
}

/** What is open is judged again when policies or the records of this node's pods have changed. */
const recheckOnChange = (state: MeshState, connections: Connections) =>
  state.onChange(({ policies, added, removed }) => {
    if (policies || added.length > 0 || removed.length > 0) connections.recheck(state)
  })

const caClient = ({ ca, tokenPath, clusterId }: Config) =>
  createCaClient({
    address: ca.address,
    rootPem: () => readFileSync(ca.rootPath, 'utf8'),
    token: () => readToken(tokenPath),
    clusterId,
    ...(ca.serverName === undefined ? {} : { serverName: ca.serverName }),
  })

const xdsOptions = ({ xds, tokenPath, clusterId, node }: Config, state: MeshState, registry: Registry) => ({
  address: xds.address,
  rootPem: () => readFileSync(xds.rootPath, 'utf8'),
  token: () => readToken(tokenPath),
  clusterId,
  serverName: xds.serverName,
  node,
  types: { [addressTypeUrl]: addressHandler(state), [authorizationTypeUrl]: authorizationHandler(state) },
  metrics: xdsMetrics(registry),
})

/** Read for every use: the kubelet replaces the file before the token expires. */
function readToken(path: string): string {
  try {
    const token = readFileSync(path, 'utf8').trim()
    if (token !== '') return token
  } catch (cause) {
    throw new MeshError('unavailable', { message: `no token: ${messageOf(cause)}`, cause })
  }
  throw new MeshError('unavailable', { message: `no token: ${path} is empty` })
}

async function openServers(
  stack: AsyncDisposableStack,
  registry: Registry,
  readiness: Readiness,
  parts: AdminParts,
): Promise<Ztunnel['ports']> {
  const { ports } = parts.config
  const metrics = metricsRoute(registry)
  const admin = stack.use(await serveAdmin(ports.admin, adminRoutes(parts)))
  const stats = stack.use(
    await serveHttp({ port: ports.stats }, { 'GET /metrics': metrics, 'GET /stats/prometheus': metrics }),
  )
  const ready = stack.use(
    await serveHttp({ port: ports.readiness }, { 'GET /healthz/ready': readinessRoute(readiness) }),
  )
  return { admin: admin.port, stats: stats.port, readiness: ready.port }
}

async function drainPods(pods: Pods, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([pods.drain(), promise])
  clearTimeout(timer)
}
