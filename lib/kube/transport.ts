import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { isRecord, messageOf, within } from '#base'
import type { Cluster } from './cluster.ts'
import { errorFromStatus, KubeError } from './kube-error.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** A page of 500 objects of up to 1.5 MiB would exceed this; in practice a page is a few MiB. */
const maxBodyBytes = 256 << 20
/** An error's explanation; whatever follows is not worth reading. */
const maxErrorBytes = 1 << 20
/** A list of many objects is slow; anything slower than this is stuck. */
const requestTimeoutMs = 60_000
/** How long until the headers of a watch must have come. */
const headersTimeoutMs = 30_000
/** Watches hold one each; beyond that requests queue in the agent. */
const maxSockets = 64

type Sent = Readonly<{
  method: Method
  path: string
  query?: Query | undefined
  body?: unknown
  contentType?: string | undefined
  signal: AbortSignal
}>

/** Bytes to and from one API server over kept-alive connections. */
export type Transport = Disposable & {
  /** The whole answer, parsed as JSON. Rejects with KubeError, or with the signal's reason. */
  json(sent: Sent): Promise<unknown>
  /** The answer's body as it comes. The caller ends it through the signal or by destroying it. */
  stream(sent: Sent): Promise<IncomingMessage>
}

export function transport(cluster: Cluster): Transport {
  const secure = cluster.server.protocol === 'https:'
  if (!secure && !isLoopback(cluster.server))
    throw new KubeError(0, 'Insecure', 'http is allowed on loopback only')
  const agent = secure
    ? new https.Agent({
        keepAlive: true,
        maxSockets,
        ...(cluster.ca === undefined ? {} : { ca: cluster.ca }),
        ...(cluster.serverName === undefined ? {} : { servername: cluster.serverName }),
        rejectUnauthorized: !cluster.insecure,
      })
    : new http.Agent({ keepAlive: true, maxSockets })
  const open = async (sent: Sent, signal: AbortSignal): Promise<IncomingMessage> => {
    const { token, cert, key, headers } = await cluster.credentials()
    const payload = sent.body === undefined ? undefined : Buffer.from(JSON.stringify(sent.body))
    return answer(secure ? https.request : http.request, urlOf(cluster.server, sent), payload, {
      method: sent.method,
      agent,
      signal,
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      headers: {
        accept: 'application/json',
        'user-agent': 'lateen',
        ...headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(payload === undefined
          ? {}
          : { 'content-type': sent.contentType ?? 'application/json', 'content-length': payload.length }),
      },
    })
  }
  return {
    async json(sent) {
      const response = await open(sent, within(requestTimeoutMs, sent.signal)).catch(explain(sent))
      return readJson(response).catch(explain(sent))
    },
    async stream(sent) {
      const waiting = new AbortController()
      const timer = setTimeout(
        () => waiting.abort(new KubeError(0, '', 'no answer to a watch')),
        headersTimeoutMs,
      )
      try {
        const response = await open(sent, AbortSignal.any([sent.signal, waiting.signal])).catch(explain(sent))
        if (response.statusCode === 200) return response
        return await readJson(response).then(() => {
          throw new KubeError(response.statusCode ?? 0, '', 'unexpected answer to a watch')
        }, explain(sent))
      } finally {
        clearTimeout(timer)
      }
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

const isLoopback = (server: URL) => ['127.0.0.1', '[::1]', 'localhost'].includes(server.hostname)

function urlOf(server: URL, { path, query = {} }: Sent): URL {
  const url = new URL(server.pathname.replace(/\/$/, '') + path, server)
  for (const [key, value] of Object.entries(query))
    if (value !== undefined) url.searchParams.set(key, String(value))
  return url
}

/** Cancellation passes through; everything else that is not yet a KubeError was a failure to get an answer. */
const explain =
  ({ method, path, signal }: Sent) =>
  (error: unknown): never => {
    signal.throwIfAborted()
    if (error instanceof KubeError) throw error
    throw new KubeError(0, '', `${method} ${path}: ${messageOf(error)}`, error)
  }

function answer(
  request: typeof https.request,
  url: URL,
  payload: Buffer | undefined,
  options: https.RequestOptions,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options, resolve)
    sent.on('error', reject)
    sent.on('socket', (socket) => socket.setKeepAlive(true, 15_000))
    sent.end(payload)
  })
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const status = response.statusCode ?? 0
  const failed = status < 200 || status > 299
  const limit = failed ? maxErrorBytes : maxBodyBytes
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > limit) throw new KubeError(failed ? status : 0, 'TooLarge', `answer exceeds ${limit} bytes`)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  if (failed) throw errorFromStatus(status, parsed(text))
  const body = parsed(text)
  if (text !== '' && body === undefined) throw new KubeError(0, '', 'answer is not JSON')
  return isRecord(body) ? body : {}
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
