import { WebSocket } from 'ws'
import { isRecord, MeshError } from '#base'
import { type Cluster, kinds, loadCluster, pathOf, type Pod } from '#kube'

/** More than any command of the story says, a waypoint's metrics included. */
const maxOutputBytes = 4 * 2 ** 20
/** The first byte of a message says what the rest is. */
const protocol = 'v4.channel.k8s.io'
const [outputChannel, errorChannel, statusChannel] = [1, 2, 3]

/** `kubectl exec`: what a command says in a pod's first container. Throws MeshError('unavailable') with its complaint. */
export async function execIn(
  kubeconfig: string,
  pod: Pod,
  command: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const failed = (message: string, cause?: unknown) =>
    new MeshError('unavailable', { message: `${command[0]} in ${pod.metadata.name}: ${message}`, cause })
  const cluster = loadCluster(kubeconfig)
  const channels = await said(await open(cluster, pod, command), signal).catch((cause: unknown) => {
    signal.throwIfAborted()
    throw failed('broke off', cause)
  })
  const text = (channel: number) => Buffer.concat(channels.get(channel) ?? []).toString()
  const status: unknown = JSON.parse(text(statusChannel) || 'null')
  if (isRecord(status) && status['status'] === 'Success') return text(outputChannel)
  throw failed(text(errorChannel).trim() || text(statusChannel) || 'closed without a status')
}

async function open({ server, ca, credentials }: Cluster, pod: Pod, command: readonly string[]) {
  const { namespace, name } = pod.metadata
  const url = new URL(pathOf(kinds.Pod, { namespace, name, subresource: 'exec' }), server)
  url.protocol = server.protocol === 'https:' ? 'wss:' : 'ws:'
  for (const word of command) url.searchParams.append('command', word)
  url.searchParams.append('container', pod.spec?.containers?.[0]?.name ?? '')
  for (const stream of ['stdout', 'stderr']) url.searchParams.append(stream, 'true')
  const { cert, key, token } = await credentials()
  return new WebSocket(url, protocol, {
    ca,
    cert,
    key,
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
  })
}

/** What comes on each channel until the socket closes. */
async function said(socket: WebSocket, signal: AbortSignal): Promise<ReadonlyMap<number, Buffer[]>> {
  const channels = new Map<number, Buffer[]>()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = () => socket.terminate()
  let bytes = 0
  socket.on('message', (message: Buffer) => {
    bytes += message.length
    if (bytes > maxOutputBytes) return reject(new RangeError(`said more than ${maxOutputBytes} bytes`))
    const channel = message[0] ?? 0
    const parts = channels.get(channel) ?? []
    channels.set(channel, [...parts, message.subarray(1)])
  })
  socket.once('error', reject)
  socket.once('close', () => resolve())
  signal.addEventListener('abort', stop, { once: true })
  try {
    await promise
    signal.throwIfAborted()
    return channels
  } finally {
    signal.removeEventListener('abort', stop)
    socket.terminate()
  }
}
