import { messageOf, retry, sleep } from '#base'
import {
  type Cluster,
  KubeClient,
  keyOf,
  kinds,
  type Namespace,
  reflect,
  type WorkQueue,
  workQueue,
} from '#kube'
import { openNetns } from '#linux'
import { type Logger, metricsRoute, Readiness, readinessRoute, serveHttp } from '#telemetry'
import { detectBackend, HostRules } from '../rules/index.ts'
import type { Config } from './config.ts'
import { names } from './eligibility.ts'
import { Enrolment } from './enrolment.ts'
import { keepInstalled } from './installer.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { NetnsRegistry } from './netns-registry.ts'
import { type PluginHandler, servePlugin } from './plugin-server.ts'
import { kubeletUid } from './proc-scan.ts'
import { decide, reconcilePod, startPod, uncapturedPods, type World } from './reconcile.ts'
import { Timers } from './timers.ts'
import { LateAnnouncer, ZdsServer } from './zds-server.ts'

/** Pods worked on at the same time; each is a handful of short programs. */
const concurrency = 4

/**
 * The agent of one node. In order: what the API says, then what the kernel says, put right; only then ztunnel's snapshot,
 * the plugin's questions and the plugin itself. Nothing is undone at the end: captured pods stay captured while the next
 * agent starts.
 */
export async function startAgent(
  config: Config,
  cluster: Cluster,
  log: Logger,
): Promise<AsyncDisposable & { ready: Readiness }> {
  await using stack = new AsyncDisposableStack()
  const { signal } = stack.adopt(new AbortController(), (controller) => controller.abort())
  const metrics = createMetrics()
  const ready = new Readiness(['state', 'install'])
  stack.use(await serveHttp({ port: config.ports.health }, healthRoutes(ready)))
  const monitoring = { 'GET /metrics': metricsRoute(metrics.registry) }
  stack.use(await serveHttp({ port: config.ports.monitoring }, monitoring))

  const parts: Parts = { config, log, metrics, signal, stack }
  const { world, host, queue } = await openWorld(parts, cluster)
  await takeOver(world, host, signal)
  serve(parts, world)
  stack.use(
    await servePlugin({
      runDir: config.runDir,
      log: log.child('plugin'),
      metrics,
      signal,
      handler: plugin(world),
    }),
  )
  stack.use(followPods(world, queue))
  stack.use(followNamespaces(world, queue))
  ready.done('state')
  background(watchKernel(world, host, config.times.verifyMs, metrics, signal), signal, log)
  background(install(config, metrics, ready, log, signal), signal, log)
  const kept = stack.move()
  return { ready, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

type Parts = Readonly<{
  config: Config
  log: Logger
  metrics: Metrics
  signal: AbortSignal
  stack: AsyncDisposableStack
}>
type Opened = Readonly<{ world: World; host: HostRules; queue: WorkQueue }>

/** Everything that only reads, and the rules of the node. */
async function openWorld({ config, log, metrics, signal, stack }: Parts, cluster: Cluster): Promise<Opened> {
  const backend = await detectBackend(config.backend, signal)
  log.info('rules are programmed by', backend)
  const client = stack.use(new KubeClient(cluster))
  const options = { signal, log: log.child('watch') }
  const fieldSelector = `spec.nodeName=${config.nodeName}`
  const pods = reflect(client, kinds.Pod, { ...options, fieldSelector })
  const namespaces = reflect(client, kinds.Namespace, options)
  const host = new HostRules({
    backend,
    ipv6: config.ipv6,
    kubeletUid: await kubeletUid(config.hostProc),
    ...(config.hostNetns !== undefined && { netns: stack.use(openNetns(config.hostNetns)) }),
  })
  // Istio tries this as often: on a node that boots, others program the same tables at the same time.
  await retry(() => host.setUp(signal), {
    signal,
    attempts: 10,
    baseMs: 500,
    capMs: 2_000,
    retryable: () => true,
  })
  await Promise.all([pods.synced, namespaces.synced])

  const registry = new NetnsRegistry(config.runDir)
  const timers = stack.use(new Timers((key) => queue.add(key)))
  const again = (key: string, afterMs: number) => timers.set(key, afterMs)
  const ztunnel = new LateAnnouncer()
  const enrolment = stack.use(
    new Enrolment({ config, client, backend, host, registry, ztunnel, log, metrics, again, signal }),
  )
  const world: World = { client, pods, namespaces, registry, enrolment, ztunnel, log, defaults: config }
  const reconcile = (key: string) => reconcilePod(world, key)
  const queue = stack.use(workQueue({ name: 'pods', reconcile, signal, log, concurrency }))
  return { world, host, queue }
}

/** Lets ztunnels connect. */
function serve({ config, log, metrics, stack }: Parts, { enrolment, ztunnel }: World): void {
  const zds = new ZdsServer({
    path: config.zdsPath,
    snapshot: () => enrolment.snapshot(),
    onAnswer: (uid, refusal) => enrolment.answered(uid, refusal),
    onConnected: (count) => metrics.ztunnelConnected.set(count),
    log: log.child('zds'),
  })
  ztunnel.use(stack.use(zds))
}

const plugin = (world: World): PluginHandler => ({
  add: (request, deadline) => startPod(world, request, deadline),
  remove: async ({ uid, containerId }) => {
    if (world.registry.remove(uid, containerId)) await world.enrolment.forget(uid)
  },
})

const followPods = ({ pods }: World, queue: WorkQueue): Disposable =>
  pods.subscribe((changes) => changes.forEach(({ key }) => queue.add(key)))

/** A namespace's label decides about all of its pods. */
const followNamespaces = ({ pods, namespaces }: World, queue: WorkQueue): Disposable =>
  namespaces.subscribe((changes) => {
    const modeOf = (row: Namespace | undefined) => row?.metadata.labels?.[names.mode]
    const changed = new Set(
      changes.filter(({ old, row }) => modeOf(old) !== modeOf(row)).map(({ key }) => key),
    )
    for (const pod of pods.list()) if (changed.has(pod.metadata.namespace ?? '')) queue.add(keyOf(pod))
  })

const healthRoutes = (ready: Readiness) => ({
  'GET /healthz': () => ({ status: 200, body: 'ok\n' }),
  'GET /readyz': readinessRoute(ready),
})

function install(
  config: Config,
  metrics: Metrics,
  ready: Readiness,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  if (!config.install) {
    ready.done('install')
    return Promise.resolve()
  }
  const settings = {
    runDir: config.runDir,
    agentNamespace: config.agentNamespace,
    excludedNamespaces: config.excludedNamespaces,
    nativeNftables: config.backend.nativeNftables,
    logLevel: 'info',
  }
  const options = { ...config.install, settings, log: log.child('install'), metrics, signal }
  return keepInstalled(options, () => ready.done('install'))
}

/** Pods that an earlier agent captured: kernel first, before anybody is told anything. */
async function takeOver(world: World, host: HostRules, signal: AbortSignal): Promise<void> {
  const { pods, registry, enrolment, log } = world
  const uids = new Set(pods.list().map(({ metadata }) => metadata.uid))
  for (const uid of registry.uids()) if (!uids.has(uid)) registry.remove(uid)
  for (const pod of pods.list()) {
    if (pod.metadata.annotations?.[names.redirection] !== 'enabled') continue // `pending`: not captured yet
    const decision = decide(world, pod)
    if (decision.verdict !== 'enrol') continue // released by the queue, in its order
    try {
      await enrolment.adopt(pod, decision.wish)
    } catch (error) {
      signal.throwIfAborted()
      log.error('a captured pod could not be taken over', { pod: keyOf(pod), error: messageOf(error) })
    }
  }
  const adopted = enrolment.list()
  const members = adopted.flatMap(({ uid, addresses }) => addresses.map((address) => ({ address, uid })))
  // A pod whose address is not known yet may be in the set rightly: then nothing is taken out (as Istio).
  if (adopted.every(({ addresses }) => addresses.length > 0)) await host.sync(members, signal)
  log.info('took over', { pods: adopted.length })
}

/** Compares the kernel with the intent for as long as the agent lives. */
async function watchKernel(
  world: World,
  host: HostRules,
  everyMs: number,
  metrics: Metrics,
  signal: AbortSignal,
): Promise<void> {
  const repairNode = async () => {
    if (await host.setUp(signal)) await world.enrolment.exemptAllProbes()
  }
  for (;;) {
    const complain = (what: string) => (error: unknown) => {
      signal.throwIfAborted()
      world.log.error('verification failed', { what, error: messageOf(error) })
    }
    for (const { uid, key } of world.enrolment.list()) await world.enrolment.verify(uid).catch(complain(key))
    await repairNode().catch(complain('node'))
    const missing = uncapturedPods(world)
    metrics.uncaptured.set(missing.length)
    for (const pod of missing) world.log.warn('pod should be captured and is not', { pod: keyOf(pod) })
    await sleep(everyMs, signal)
  }
}

function background(task: Promise<void>, signal: AbortSignal, log: Logger): void {
  task.catch((error: unknown) => {
    if (!signal.aborted) log.error('a background task ended', { error: messageOf(error) })
  })
}
