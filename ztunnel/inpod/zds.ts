import { backoffMs, MeshError, messageOf, sleep } from '#base'
import { closeFd, connectSeqpacket, netnsFromFd, type Seqpacket } from '#linux'
import { describeError, type Logger } from '#telemetry'
import { zds } from '#wire'
import type { Pods } from './pods.ts'

/** What a node agent may say about pods. */
type Told = Pick<Pods, 'beginSnapshot' | 'add' | 'keep' | 'remove' | 'endSnapshot'>

type ZdsOptions = Readonly<{
  /** The node agent's socket. */
  path: string
  pods: Told
  log: Logger
  /** We are leaving: a connection that ends is not made anew, or the agent would take us for the newest ztunnel. */
  leaving: AbortSignal
  signal: AbortSignal
}>

const baseMs = 10
/** A local socket costs nothing to try, and pods wait for us. */
const capMs = 1_000
/** Messages that may wait while one is applied. The agent sends one at a time. */
const maxWaiting = 16

/** Follows the node agent for as long as `signal` allows: snapshot, then changes; each is acked when it is done. */
export async function followAgent({ path, pods, log, leaving, signal }: ZdsOptions): Promise<void> {
  let said = ''
  for (let failures = 1; !signal.aborted && !leaving.aborted; failures++) {
    try {
      using peer = connectSeqpacket(path)
      log.info('connected to the node agent', { path })
      peer.send(zds.ZdsHello.encode({ version: zds.Version.V1 }).finish())
      pods.beginSnapshot()
      await serveAgent(peer, pods, log, signal, () => (failures = 0))
      log.warn('the node agent closed the connection')
    } catch (error) {
      if (signal.aborted) return
      const text = describeError(error)
      log[text === said ? 'debug' : 'warn']('node agent connection failed', { error: text })
      said = text
    }
    await sleep(backoffMs(Math.max(failures, 1), { baseMs, capMs }), signal).catch(() => undefined)
  }
}

type Packet = Readonly<{ bytes: Uint8Array; fds: readonly number[] }>

/** One connection, to its end. Messages are applied in their order; a broken rule of the protocol ends it. */
async function serveAgent(
  peer: Seqpacket,
  pods: Told,
  log: Logger,
  signal: AbortSignal,
  onProgress: () => void,
): Promise<void> {
  const ended = Promise.withResolvers<void>()
  const waiting: Packet[] = []
  let work: Promise<void> | undefined
  const fail = (error: unknown) => ended.reject(error instanceof Error ? error : new Error(String(error)))
  const drainQueue = async () => {
    for (let packet = waiting.shift(); packet; packet = waiting.shift()) {
      await answer(peer, packet, pods, log)
      onProgress()
    }
  }
  peer.onMessage = (bytes, fds) => {
    if (waiting.length >= maxWaiting) {
      fds.forEach(closeFd)
      return fail(new MeshError('protocol', { message: 'the node agent does not wait for acks' }))
    }
    waiting.push({ bytes: bytes.slice(), fds })
    work ??= drainQueue()
      .catch(fail)
      .finally(() => {
        work = undefined
      })
  }
  peer.onClose = (error) => (error ? fail(error) : ended.resolve())
  const abort = () => fail(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await ended.promise
  } finally {
    signal.removeEventListener('abort', abort)
    // It may still talk while the last message is applied, but nobody listens to this connection any more.
    peer.onMessage = (_, fds) => fds.forEach(closeFd)
    for (const { fds } of waiting.splice(0)) fds.forEach(closeFd)
    await work
  }
}

async function answer(peer: Seqpacket, packet: Packet, pods: Told, log: Logger): Promise<void> {
  let error = ''
  let broken: unknown
  try {
    await applyMessage(packet, pods)
  } catch (failure) {
    error = messageOf(failure).slice(0, maxAckChars)
    if (failure instanceof MeshError && failure.code === 'protocol') broken = failure
    else log.debug('nacked', { error })
  }
  peer.send(zds.WorkloadResponse.encode({ payload: { $case: 'ack', value: { error } } }).finish())
  if (broken) throw broken
}

/** A packet has 1024 bytes. */
const maxAckChars = 512

const broken = (message: string) => new MeshError('protocol', { message })

async function applyMessage({ bytes, fds }: Packet, pods: Told): Promise<void> {
  const { payload } = decode(bytes, fds)
  if (payload?.$case !== 'add' && fds.length > 0) {
    fds.forEach(closeFd)
    throw broken('a descriptor that nothing asked for')
  }
  switch (payload?.$case) {
    case 'add':
      return addPod(payload.value, fds, pods)
    case 'keep':
      return pods.keep(payload.value.uid)
    case 'del':
      return pods.remove(payload.value.uid)
    case 'snapshotSent':
      return pods.endSnapshot()
    default:
      throw broken('an unknown message')
  }
}

function decode(bytes: Uint8Array, fds: readonly number[]): zds.WorkloadRequest {
  try {
    return zds.WorkloadRequest.decode(bytes)
  } catch (cause) {
    fds.forEach(closeFd)
    throw new MeshError('protocol', { message: 'not a message', cause })
  }
}

async function addPod(
  { uid, workloadInfo }: zds.AddWorkload,
  fds: readonly number[],
  pods: Told,
): Promise<void> {
  const [fd, ...more] = fds
  if (fd === undefined || more.length > 0 || !workloadInfo || uid === '') {
    fds.forEach(closeFd)
    throw broken('an add needs a uid, its workload and one descriptor')
  }
  const { name, namespace, serviceAccount } = workloadInfo
  await pods.add({ uid, name, namespace, serviceAccount }, ownNetns(fd))
}

function ownNetns(fd: number) {
  try {
    return netnsFromFd(fd)
  } catch (error) {
    closeFd(fd)
    throw error
  }
}
