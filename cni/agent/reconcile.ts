import { MeshError, messageOf, retry, sleep, within } from '#base'
import { type Collection, type KubeClient, keyOf, kinds, type Namespace, type Pod } from '#kube'
import type { Logger } from '#telemetry'
import { addressesOf } from './captured.ts'
import { decideEligibility, type Defaults, type Eligibility, names } from './eligibility.ts'
import type { Enrolment } from './enrolment.ts'
import type { NetnsRegistry } from './netns-registry.ts'
import type { AddRequest } from './plugin-server.ts'
import type { LateAnnouncer } from './zds-server.ts'

export type World = Readonly<{
  client: KubeClient
  pods: Collection<Pod>
  namespaces: Collection<Namespace>
  registry: NetnsRegistry
  enrolment: Enrolment
  ztunnel: LateAnnouncer
  defaults: Defaults
  log: Logger
}>

/** How long a starting pod waits for ztunnel before the runtime is told no and makes its sandbox anew. */
const startPatienceMs = 15_000

/** How long a pod without a label waits for an API server that does not answer. */
const askTimeoutMs = 2_000
const watchPollMs = 20

/** Makes the node match what the API says of one pod. */
export async function reconcilePod(world: World, key: string): Promise<void> {
  const { pods, enrolment, registry, log } = world
  const pod = pods.get(key)
  for (const { uid } of enrolment
    .list()
    .filter((each) => each.key === key && each.uid !== pod?.metadata.uid)) {
    await enrolment.forget(uid)
    registry.remove(uid)
  }
  const uid = pod?.metadata.uid
  if (!pod || uid === undefined) return
  const decision = decide(world, pod)
  const held = enrolment.get(uid) !== undefined
  switch (decision.verdict) {
    case 'gone':
      return enrolment.forget(uid)
    case 'leave':
      if (held || pod.metadata.annotations?.[names.redirection] !== undefined) await enrolment.release(pod)
      return
    case 'enrol':
      // A pod without an address has not been through the plugin yet, which will ask us; one that ends needs nothing new.
      if (!held && (addressesOf(pod).length === 0 || pod.metadata.deletionTimestamp !== undefined)) return
      return enrolment.enrol(pod, decision.wish, 'live').catch((error: unknown) => {
        // Its network went while it waited for its turn. Any other failure is tried again.
        if (enrolment.get(uid) !== undefined || !isEnding(pods.get(key), uid)) throw error
        log.debug('pod ended before it was captured', { pod: key, error: messageOf(error) })
      })
  }
}

const isEnding = (pod: Pod | undefined, uid: string): boolean =>
  pod?.metadata.uid !== uid ||
  pod.metadata.deletionTimestamp !== undefined ||
  pod.status?.phase === 'Succeeded' ||
  pod.status?.phase === 'Failed'

/** Decides, and says once per decision what in the pod could not be read. */
export function decide({ namespaces, defaults, log }: World, pod: Pod, namespace?: Namespace): Eligibility {
  const decision = decideEligibility(pod, namespace ?? namespaces.get(pod.metadata.namespace ?? ''), defaults)
  if (decision.verdict === 'enrol')
    for (const warning of decision.warnings) log.warn(warning, { pod: keyOf(pod) })
  return decision
}

/** Answers the plugin: returns when the pod may start, throws why it may not. */
export async function startPod(world: World, request: AddRequest, signal: AbortSignal): Promise<void> {
  const { enrolment, registry } = world
  const pod = await findPod(world, request, signal)
  const uid = pod.metadata.uid ?? ''
  registry.put({ uid, netns: request.netns, containerId: request.containerId })
  const decision = await decideStart(world, pod, request.namespace, signal)
  if (decision.verdict !== 'enrol') return
  const waitFor = request.addresses
  let last: unknown
  try {
    await retry(() => abortable(enrolment.enrol(pod, decision.wish, 'starting', waitFor), signal), {
      signal: within(startPatienceMs, signal),
      attempts: Number.POSITIVE_INFINITY,
      baseMs: 100,
      capMs: 1_000,
      onRetry: (error) => {
        last = error
      },
    })
  } catch (error) {
    throw new MeshError('unavailable', {
      message: `pod ${keyOf(pod)} is in the mesh and could not be captured: ${messageOf(last ?? error)}`,
      cause: error,
    })
  }
}

/**
 * Decides by the watched namespace; but a label that was set a moment ago may not have been heard of yet, and then the
 * pod would start uncaptured. So the API is asked before a pod is let go for want of a label, and where it knows more
 * than the watch, the watch is waited for: all that is done later follows it. While the API is away the watch decides.
 */
async function decideStart(world: World, pod: Pod, name: string, signal: AbortSignal): Promise<Eligibility> {
  const watched = decide(world, pod)
  if (watched.verdict !== 'leave' || watched.by !== 'no label') return watched
  const ref = { kind: kinds.Namespace, name }
  const asked = await world.client.find(ref, within(askTimeoutMs, signal)).catch(() => undefined)
  signal.throwIfAborted()
  if (decide(world, pod, asked).verdict !== 'enrol') return watched
  const patience = within(startPatienceMs, signal)
  for (;;) {
    const decision = decide(world, pod)
    if (decision.verdict === 'enrol') return decision
    await sleep(watchPollMs, patience)
  }
}

/** The watch is usually a little behind the runtime; the API itself is asked when it does not know the pod. */
async function findPod(
  { pods, client }: World,
  { namespace, name, uid }: AddRequest,
  signal: AbortSignal,
): Promise<Pod> {
  const watched = pods.get(`${namespace}/${name}`)
  if (watched && isSame(watched, uid)) return watched
  const pod = await client.find({ kind: kinds.Pod, namespace, name }, signal)
  if (pod && isSame(pod, uid)) return pod
  throw new MeshError('stale-state', {
    message: `pod ${namespace}/${name} ${pod ? 'is another one by now' : 'does not exist'}`,
  })
}

/** A static pod's uid, as the runtime knows it, is in the annotation of its mirror. */
const isSame = (pod: Pod, uid: string): boolean =>
  uid === '' || pod.metadata.uid === uid || pod.metadata.annotations?.['kubernetes.io/config.hash'] === uid

/** What is begun is finished, but nobody waits for it longer than the signal. */
async function abortable<T>(task: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([task, promise])
  } finally {
    signal.removeEventListener('abort', abort)
    task.catch(() => undefined)
  }
}

/** Running pods that should be captured by the API's word and are not by the kernel's and ztunnel's. */
export function uncapturedPods(world: World): readonly Pod[] {
  return world.pods.list().filter((pod) => {
    if (pod.status?.phase !== 'Running' || pod.metadata.deletionTimestamp !== undefined) return false
    const { verdict } = decideEligibility(
      pod,
      world.namespaces.get(pod.metadata.namespace ?? ''),
      world.defaults,
    )
    const captured = world.enrolment.get(pod.metadata.uid ?? '')
    return verdict === 'enrol' && !(captured?.announced && captured.verified)
  })
}
