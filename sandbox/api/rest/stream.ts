import { type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { destroying, messageOf } from '#base'
import type { Api, Target } from './api.ts'
import { type KubeObject, listAt, textAt } from './object.ts'
import { badRequest, isRefusal, type Refusal, refuse } from './refusal.ts'
import { find } from './write.ts'

/** How long the node agent may take to accept a connection on its socket. */
const dialTimeoutMs = 5_000

/** Subresources whose bytes are the kubelet's: they are authorised here and carried through. */
export const upgradeSubresources: readonly string[] = ['exec', 'attach', 'portforward']

type Kubelet = Readonly<{ socketPath: string; path: string }>

/** Which kubelet, and under which path, serves this subresource of this pod. */
export function kubeletOf(api: Api, target: Target, query: URLSearchParams): Kubelet | Refusal {
  const pod = find(api, target)
  if (isRefusal(pod)) return pod
  const { namespace = '', name = '' } = pod.metadata
  const nodeName = textAt(pod, 'spec', 'nodeName') ?? ''
  if (nodeName === '') return badRequest(`pod ${name} does not have a host assigned`)
  const node = api.config.nodes.find((candidate) => candidate.name === nodeName)
  if (node === undefined)
    return refuse(503, 'ServiceUnavailable', `node ${nodeName} has no kubelet in this sandbox`)
  const place = `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`
  const rest = new URLSearchParams(query)
  rest.delete('container')
  const tail = rest.size === 0 ? '' : `?${rest.toString()}`
  if (target.subresource === 'portforward')
    return { socketPath: node.kubeletSocket, path: `/portForward/${place}${tail}` }
  const container = containerOf(pod, query.get('container') ?? '')
  if (typeof container !== 'string') return container
  const verb = target.subresource === 'log' ? 'containerLogs' : target.subresource
  return {
    socketPath: node.kubeletSocket,
    path: `/${verb ?? ''}/${place}/${encodeURIComponent(container)}${tail}`,
  }
}

/** The container that is asked for, or the only one, or the pod's default one. */
function containerOf(pod: KubeObject, asked: string): string | Refusal {
  const names = (field: string) =>
    listAt(pod, 'spec', field).map((container) => textAt(container, 'name') ?? '')
  const [main, init, ephemeral] = [names('containers'), names('initContainers'), names('ephemeralContainers')]
  const name = pod.metadata.name ?? ''
  if (asked !== '')
    return [...main, ...init, ...ephemeral].includes(asked)
      ? asked
      : badRequest(`container ${asked} is not valid for pod ${name}`)
  const preferred = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'] ?? ''
  if (main.includes(preferred)) return preferred
  const [only = ''] = main
  if (main.length === 1 && init.length === 0) return only
  if (main.length === 1)
    return badRequest(
      `a container name must be specified for pod ${name}, choose one of: [${[...main].join(' ')}] or one of the init containers: [${init.join(' ')}]`,
    )
  return badRequest(`a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]`)
}

/** Copies the kubelet's answer to the client as it comes; ends with whichever side ends first. */
export async function proxyLog(
  { socketPath, path }: Kubelet,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const upstream = httpRequest({ socketPath, path, method: 'GET', agent: false, signal })
  using _upstream = destroying(upstream)
  const closed = new Promise<void>((resolve) => response.once('close', resolve))
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once('response', resolve).once('error', reject).end()
      void closed.then(() => reject(new Error('the client went away')))
    })
    response.writeHead(answer.statusCode ?? 502, {
      'content-type': answer.headers['content-type'] ?? 'text/plain',
    })
    response.flushHeaders()
    answer.once('error', () => response.destroy())
    answer.pipe(response)
    await closed
    return undefined
  } catch (error) {
    return refuse(503, 'ServiceUnavailable', `the kubelet does not answer: ${messageOf(error)}`)
  }
}

const hopless = new Set(['authorization', 'host'])

/** Sends the request on to the kubelet and joins the two connections; what follows is theirs. */
export function proxyUpgrade(
  { socketPath, path }: Kubelet,
  message: IncomingMessage,
  client: Duplex,
  head: Buffer,
  signal: AbortSignal,
): void {
  const kubelet = connect({ path: socketPath })
  const dialing = setTimeout(() => kubelet.destroy(new Error('timeout')), dialTimeoutMs)
  const stop = () => {
    clearTimeout(dialing)
    kubelet.destroy()
    client.destroy()
  }
  let joined = false
  kubelet.once('connect', () => {
    clearTimeout(dialing)
    joined = true
    kubelet.write(requestHead(message, path))
    kubelet.write(head)
    client.pipe(kubelet)
    kubelet.pipe(client)
  })
  kubelet.on('error', (error) => {
    if (joined) return stop()
    client.end(
      rawRefusal(refuse(503, 'ServiceUnavailable', `the kubelet does not answer: ${messageOf(error)}`)),
    )
  })
  client.on('error', stop)
  // Either side gone means the other has nobody to talk to: a left process on the node is ended by its kubelet.
  client.once('close', stop)
  kubelet.once('close', () => clearTimeout(dialing))
  signal.addEventListener('abort', stop, { once: true })
  client.once('close', () => signal.removeEventListener('abort', stop))
}

function requestHead({ method, rawHeaders }: IncomingMessage, path: string): string {
  const lines = [`${method ?? 'GET'} ${path} HTTP/1.1`, 'Host: kubelet']
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    if (!hopless.has(name.toLowerCase())) lines.push(`${name}: ${rawHeaders[i + 1] ?? ''}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** A refusal for a connection on which no response object exists any more. */
export function rawRefusal(refusal: Refusal): string {
  const body = JSON.stringify(refusal)
  const { reason } = refusal
  return `HTTP/1.1 ${refusal.code} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
}
