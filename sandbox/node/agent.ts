import { messageOf } from '#base'
import { type Collection, type KubeClient, kinds, type Pod, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { NodeConfig, SandboxConfig } from '../config.ts'
import { startNodeServices } from '../node-services/index.ts'
import { eventTeller } from './events.ts'
import { ensureNodeInit } from './node-init.ts'
import { parsePod } from './pod/pod.ts'
import { loadPods } from './pod-store.ts'
import { PodWorker } from './pod-worker.ts'
import { heartbeat, registerNode } from './register.ts'
import { removeOrphans } from './runtime/pod-sandbox.ts'
import { serveKubelet } from './server/kubelet.ts'
import { clusterContents } from './volumes/contents.ts'
import type { WorkerContext } from './worker-context.ts'

type NodeAgentOptions = Readonly<{
  config: SandboxConfig
  node: NodeConfig
  client: KubeClient
  signal: AbortSignal
  log: Logger
}>

/**
 * Runs a node: its Services and DNS, its pods, its logs and exec endpoint. Must run in the node's network namespace.
 * On dispose the containers stay; the next agent takes them over.
 */
export async function startNodeAgent(options: NodeAgentOptions): Promise<AsyncDisposable> {
  const { config, node, client, log } = options
  await using stack = new AsyncDisposableStack()
  const closing = stack.adopt(new AbortController(), (controller) =>
    controller.abort(new Error('node agent stops')),
  )
  const signal = AbortSignal.any([options.signal, closing.signal])
  const init = await ensureNodeInit(config, node)
  const context: WorkerContext = {
    config,
    node,
    client,
    contents: clusterContents({ client, signal, log }),
    tell: eventTeller(client, node.name, signal, log),
    log: log.child('pods'),
    nodeInit: () => init,
    signal,
  }
  const workers = new Map<string, PodWorker>()
  const find = (namespace: string, name: string) =>
    [...workers.values()].findLast(
      ({ pod: { metadata } }) => metadata.namespace === namespace && metadata.name === name,
    )
  stack.use(await serveKubelet({ socketPath: node.kubeletSocket, find, log, signal }))
  await adopt(context, workers)
  // DNS and Service addresses stand before the first pod starts: some programs look their own name up and hang.
  stack.use(await startNodeServices({ config, node, client, signal, log: log.child('services') }))
  await registerNode({ client, node, signal, log })
  void heartbeat({ client, node, signal, log })
  const pods = reflect(client, kinds.Pod, { signal, log, fieldSelector: `spec.nodeName=${node.name}` })
  await pods.synced
  stack.use(follow(pods, context, workers))
  log.info('node agent runs', { node: node.name, pods: workers.size })
  return stack.move()
}

/** What an earlier agent left running goes on; whether it is still wanted shows when the pods are known. */
async function adopt(context: WorkerContext, workers: Map<string, PodWorker>): Promise<void> {
  const { config, node, log } = context
  const pods = await loadPods(`${config.runDir}/nodes/${node.name}/pods`)
  for (const saved of pods) keep(workers, saved.pod.metadata.uid, await PodWorker.adopt(context, saved))
  const known = pods.map(({ sandbox }) => sandbox?.containerId).filter((id) => id !== undefined)
  await removeOrphans(node, new Set(known), log)
}

function keep(workers: Map<string, PodWorker>, uid: string, worker: PodWorker): void {
  workers.set(uid, worker)
  void worker.gone.then(() => {
    if (workers.get(uid) === worker) workers.delete(uid)
  })
}

/** A worker per pod by uid: a pod of the same name is another pod. */
function follow(pods: Collection<Pod>, context: WorkerContext, workers: Map<string, PodWorker>): Disposable {
  const present = new Set(pods.list().map(({ metadata }) => metadata.uid))
  for (const [uid, worker] of workers) if (!present.has(uid)) worker.remove()
  return pods.subscribe((changes) => {
    for (const { old, row } of changes) {
      const uid = row?.metadata.uid
      if (old?.metadata.uid !== undefined && old.metadata.uid !== uid) workers.get(old.metadata.uid)?.remove()
      if (row) take(row, context, workers)
    }
  })
}

function take(row: Pod, context: WorkerContext, workers: Map<string, PodWorker>): void {
  const pod = parsePod(row)
  if ('reject' in pod) {
    context.log.error('unreadable pod', { pod: row.metadata.name, reason: pod.reject })
    return
  }
  const { uid } = pod.metadata
  let worker = workers.get(uid)
  if (!worker) {
    worker = new PodWorker(context, pod)
    keep(workers, uid, worker)
  }
  try {
    worker.update(pod)
  } catch (error) {
    context.log.error('pod update failed', { pod: pod.metadata.name, error: messageOf(error) })
  }
}
