import { existsSync } from 'node:fs'
import { request } from 'node:https'
import { Socket, isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { openNetns, tcpSocket } from '#linux'
import type { Api } from '../rest/api.ts'
import { listAt, numberAt, recordAt, textAt } from '../rest/object.ts'
import type { Webhook } from './matching.ts'

/** Answers are a verdict and a few warnings. */
const maxAnswerBytes = 1 << 20

/** Where a webhook is, and by which name and roots its certificate is checked. */
type Place = Readonly<{ host: string; port: number; servername: string; path: string; fabric: boolean }>

/** Sends a review and returns what is answered; throws whatever goes wrong on the way. */
export async function callWebhook(
  api: Api,
  webhook: Webhook,
  review: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  if (webhook.broken !== undefined) throw new Error(webhook.broken)
  const place = placeOf(api, webhook)
  const ca = Buffer.from(textAt(webhook.clientConfig, 'caBundle') ?? '', 'base64').toString()
  const body = JSON.stringify(review)
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(webhook.timeoutMs)])
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        method: 'POST',
        host: place.host,
        path: place.path,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: deadline,
        createConnection: () => secured(api, place, ca),
      },
      (response) => {
        readAnswer(response, response.statusCode ?? 0).then(resolve, reject)
      },
    )
    sent.on('error', (error) =>
      reject(deadline.aborted && !signal.aborted ? new Error('context deadline exceeded') : error),
    )
    sent.end(body)
  })
}

async function readAnswer(response: AsyncIterable<unknown>, status: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
    size += bytes.length
    if (size > maxAnswerBytes) throw new Error(`the answer is larger than ${maxAnswerBytes} bytes`)
    chunks.push(bytes)
  }
  if (status !== 200) throw new Error(`it answered ${status}`)
  return JSON.parse(Buffer.concat(chunks).toString())
}

/** The webhook of a Service is one of its ready endpoints: this server is no client of any node's Service rules. */
function placeOf(api: Api, { clientConfig, timeoutMs }: Webhook): Place {
  const query = `timeout=${timeoutMs / 1000}s`
  const url = textAt(clientConfig, 'url')
  if (url !== undefined) {
    const { hostname, port, pathname, protocol } = new URL(url)
    if (protocol !== 'https:') throw new Error('its URL is not https')
    const host = hostname.replace(/^\[|\]$/g, '')
    return { host, port: Number(port || 443), servername: host, path: `${pathname}?${query}`, fabric: false }
  }
  const service = recordAt(clientConfig, 'service')
  const [name, namespace] = [textAt(service, 'name') ?? '', textAt(service, 'namespace') ?? '']
  const path = `${textAt(service, 'path') ?? '/'}?${query}`
  const endpoint = endpointOf(api, namespace, name, numberAt(service, 'port') ?? 443)
  return { ...endpoint, servername: `${name}.${namespace}.svc`, path, fabric: true }
}

function endpointOf(api: Api, namespace: string, name: string, port: number) {
  const service = api.store.get('services', namespace, name)
  if (service === undefined) throw new Error(`service "${name}" not found`)
  const listed = listAt(service, 'spec', 'ports').find((one) => numberAt(one, 'port') === port)
  if (listed === undefined) throw new Error(`service "${name}" has no port ${port}`)
  const portName = textAt(listed, 'name') ?? ''
  const slices = api.store
    .list('endpointslices.discovery.k8s.io', namespace)
    .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name)
  for (const slice of slices) {
    const target = listAt(slice, 'ports').find((one) => (textAt(one, 'name') ?? '') === portName)
    const number = numberAt(target, 'port')
    const ready = listAt(slice, 'endpoints').find((one) => recordAt(one, 'conditions')['ready'] !== false)
    const [address] = listAt(ready, 'addresses')
    if (number !== undefined && typeof address === 'string') return { host: address, port: number }
  }
  throw new Error(`no endpoints available for service "${name}"`)
}

function secured({ config }: Api, { host, port, servername, fabric }: Place, ca: string): TLSSocket {
  const path = `/run/netns/${config.fabric.netns}`
  const trust = { ...(ca === '' ? {} : { ca }), ...(isIP(servername) === 0 ? { servername } : {}) }
  if (!fabric || !existsSync(path)) return connect({ host, port, ...trust })
  using netns = openNetns(path)
  const socket = new Socket({ fd: tcpSocket({ netns, family: host.includes(':') ? 'ipv6' : 'ipv4' }) })
  socket.connect({ host, port })
  return connect({ socket, ...trust })
}
