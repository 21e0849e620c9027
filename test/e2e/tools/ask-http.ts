import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, type Ask, noAnswer, pattern, summary } from '../kit/answer.ts'
import { plainHeaders } from '../kit/grpc.ts'

type HttpAsk = Extract<Ask, { kind: 'http' }>

/** Bodies up to this are told, of others only their length and digest. */
const toldBytes = 65_536
const defaultParallel = 10

export async function askHttp(ask: HttpAsk, signal: AbortSignal): Promise<Answer> {
  const { count = 1, parallel = defaultParallel } = ask
  if (count === 1) return ask.version === 2 ? overHttp2(ask, signal) : overHttp1(ask, false, signal)
  const agent = new http.Agent({ keepAlive: true, maxSockets: parallel })
  const tally: Record<string, number> = {}
  let left = count
  const some = async () => {
    while (left-- > 0) {
      const word = await overHttp1(ask, agent, signal).then(
        summary,
        (error: NodeJS.ErrnoException) => error.code ?? error.message,
      )
      tally[word] = (tally[word] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: parallel }, some))
  agent.destroy()
  return { ...noAnswer, tally }
}

async function overHttp1(ask: HttpAsk, agent: http.Agent | false, signal: AbortSignal): Promise<Answer> {
  const { url, method = 'GET', headers, expectContinue } = ask
  const interim: { status: number; headers: Record<string, string> }[] = []
  const bytes = typeof ask.body === 'number' ? ask.body : Buffer.byteLength(ask.body ?? '')
  const { origin, path } = parts(url)
  const request = http.request(origin, {
    path,
    method,
    agent,
    signal,
    headers: {
      ...(agent === false ? { connection: 'close' } : {}),
      ...(bytes > 0 ? { 'content-length': bytes } : {}),
      ...(expectContinue === true ? { expect: '100-continue' } : {}),
      ...headers,
    },
  })
  request.on('information', ({ statusCode, headers: said }) =>
    interim.push({ status: statusCode, headers: plainHeaders(said) }),
  )
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>
  answered.catch(() => undefined)
  if (expectContinue === true) {
    request.flushHeaders()
    await Promise.race([once(request, 'continue'), answered])
  }
  await Promise.race([sendBody(request, ask.body), answered])
  const [response] = await answered
  const body = await read(response, ask.readBytesPerSecond)
  return {
    ...noAnswer,
    ...body,
    interim,
    status: response.statusCode ?? 0,
    headers: plainHeaders(response.headers),
    trailers: plainHeaders(response.trailers),
  }
}

async function overHttp2(ask: HttpAsk, signal: AbortSignal): Promise<Answer> {
  const { origin, authority, path } = parts(ask.url)
  const session = http2.connect(origin)
  const failed = once(session, 'error').then(([error]) => Promise.reject(error as Error))
  failed.catch(() => undefined)
  const interim: { status: number; headers: Record<string, string> }[] = []
  try {
    const stream = session.request(
      { ':method': ask.method ?? 'GET', ':path': path, ':authority': authority, ...headersOf2(ask.headers) },
      { signal, endStream: ask.body === undefined },
    )
    stream.on('headers', (said) =>
      interim.push({ status: Number(said[':status']), headers: plainHeaders(said) }),
    )
    let trailers: Record<string, string> = {}
    stream.on('trailers', (said) => (trailers = plainHeaders(said)))
    const answered = once(stream, 'response') as Promise<[http2.IncomingHttpHeaders]>
    if (ask.body !== undefined) await Promise.race([sendBody(stream, ask.body), answered, failed])
    const [headers] = await Promise.race([answered, failed])
    const body = await read(stream, ask.readBytesPerSecond)
    const status = Number(headers[':status'])
    return { ...noAnswer, ...body, interim, status, headers: plainHeaders(headers), trailers }
  } finally {
    session.destroy()
  }
}

/** The path as it was asked for: `URL` would tidy it. */
function parts(url: string) {
  const [, origin = '', authority = '', path = '/'] = /^(http:\/\/([^/]+))(\/.*)?$/.exec(url) ?? []
  return { origin, authority, path }
}

/** HTTP/2 has no Host. */
function headersOf2(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { host, ...others } = headers
  return host === undefined ? others : { ':authority': host, ...others }
}

async function sendBody(to: Writable, body: string | number | undefined): Promise<void> {
  if (typeof body === 'number') return pipeline(pattern(body), to)
  to.end(body)
}

async function read(from: Readable, bytesPerSecond = Infinity) {
  const hash = createHash('sha256')
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of from as AsyncIterable<Buffer>) {
    hash.update(part)
    bytes += part.length
    if (bytes <= toldBytes) parts.push(part)
    if (bytesPerSecond < Infinity) await delay((part.length / bytesPerSecond) * 1_000)
  }
  return {
    bytes,
    sha256: hash.digest('hex'),
    body: bytes <= toldBytes ? Buffer.concat(parts).toString() : '',
  }
}
