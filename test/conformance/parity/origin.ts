import * as http from 'node:http'
import * as http2 from 'node:http2'
import type { Test } from 'tap'
import { listen } from '../../lib/http/support.ts'

/** What an origin has seen of one request. */
type Seen = Readonly<{
  method: string
  url: string
  headers: Readonly<Record<string, string>>
  body: string
  trailers: string
}>

export type Origin = Readonly<{
  port: number
  h2Port: number
  /** Nobody listens there. */
  deadPort: number
  /** By `x-case`, in order. */
  seen(name: string): readonly Seen[]
  forget(): void
}>

type Request = http.IncomingMessage | http2.Http2ServerRequest
type Response = http.ServerResponse | http2.Http2ServerResponse

/** An application that does what `x-do` asks for; several words, by commas, are for the first, second … try. */
export async function startOrigin(t: Test): Promise<Origin> {
  const all = new Map<string, Seen[]>()
  const onRequest = (request: Request, response: Response) => void answer(request, response, all)
  const http1 = http.createServer({ keepAliveTimeout: 60_000 }, onRequest)
  http1.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) => {
    if (request.headers['x-do'] === 'refuse-continue') {
      response.writeHead(417, { connection: 'close' })
      return void response.end()
    }
    response.writeContinue()
    onRequest(request, response)
  })
  http1.on('upgrade', (request, socket) => {
    note(request, all, '')
    socket.on('error', () => undefined)
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    )
    socket.once('data', (data: Buffer) => socket.end(`echo ${data.toString()}`))
  })
  const dead = http.createServer()
  const [port, h2Port, deadPort] = await Promise.all([
    listen(t, http1),
    listen(t, http2.createServer(onRequest)),
    listen(t, dead),
  ])
  dead.close()
  return { port, h2Port, deadPort, seen: (name) => all.get(name) ?? [], forget: () => all.clear() }
}

function note(request: Request, all: Map<string, Seen[]>, body: string): number {
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, `${String(value)}`]),
  )
  const name = headers['x-case'] ?? ''
  const list = all.get(name) ?? []
  all.set(name, list)
  const trailers = Object.entries(request.trailers).map(([key, value]) => `${key}=${String(value)}`)
  list.push({
    method: request.method ?? '',
    url: request.url ?? '',
    headers,
    body,
    trailers: trailers.join(),
  })
  return list.length
}

async function answer(request: Request, response: Response, all: Map<string, Seen[]>): Promise<void> {
  const words = String(request.headers['x-do'] ?? 'ok').split(',')
  // One that does not wait for the body must be counted all the same.
  const early = words[0] === 'early'
  let body = ''
  try {
    if (!early) for await (const part of request) body += String(part)
  } catch {
    return
  }
  const n = note(request, all, body.length > 200 ? `${body.length} bytes` : body)
  const word = words[Math.min(n, words.length) - 1] ?? 'ok'
  const [verb = '', argument = ''] = word.split('=')
  const act = acts[verb]
  if (act) return act(request, response as http.ServerResponse, argument)
  response.statusCode = Number(verb) || 200
  response.end(`answer ${verb}`)
}

const acts: Readonly<
  Record<string, (request: Request, response: http.ServerResponse, argument: string) => void>
> = {
  /** Ends the connection before anything is said. */
  close: (request) => {
    if ('stream' in request) request.stream.session?.destroy()
    else request.socket.destroy()
  },
  /** Resets the stream, or the connection with an RST. */
  reset: (request) => {
    if ('stream' in request) request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
    else request.socket.resetAndDestroy()
  },
  refuse: (request) => {
    if ('stream' in request) request.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
    else request.socket.resetAndDestroy()
  },
  silent: () => undefined,
  /** Half of what was promised. */
  half: (request, response) => {
    response.setHeader('content-length', '100')
    response.write('half')
    setTimeout(() => {
      if ('stream' in request) request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
      else request.socket.destroy()
    }, 100)
  },
  'half-chunked': (request, response) => {
    response.write('half')
    setTimeout(() => request.socket.destroy(), 100)
  },
  /** Headers, and then nothing more. */
  stall: (_, response) => {
    response.write('begun')
  },
  grpc: (_, response, argument) => {
    response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': argument })
    response.end()
  },
  trailers: (_, response) => {
    response.writeHead(200, { trailer: 'x-checksum', 'content-type': 'application/grpc' })
    response.write('body')
    response.addTrailers({ 'x-checksum': 'abc', 'grpc-status': '0' })
    response.end()
  },
  hints: (_, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' })
    response.end('hinted')
  },
  early: (_, response) => {
    response.statusCode = 413
    response.end('too much')
  },
  headers: (_, response) => {
    response.writeHead(200, {
      server: 'mine',
      'x-envoy-upstream-service-time': '7',
      'x-envoy-attempt-count': '9',
      connection: 'x-hop',
      'x-hop': '1',
      'proxy-connection': 'keep-alive',
      'keep-alive': 'timeout=5',
      'set-cookie': ['a=1', 'b=2'],
      'x-two': ['1', '2'],
    })
    response.end('headers')
  },
  ratelimited: (_, response) => {
    response.writeHead(429, { 'x-envoy-ratelimited': 'true' })
    response.end()
  },
  garbage: (request) => {
    if (!('stream' in request)) request.socket.end('this is no HTTP\r\n\r\n')
  },
  overloaded: (_, response) => {
    response.writeHead(503, { 'x-envoy-overloaded': 'true' })
    response.end()
  },
  limited: (_, response, argument) => {
    response.writeHead(Number(argument), { 'x-envoy-ratelimited': 'true' })
    response.end()
  },
  with: (_, response, argument) => {
    response.writeHead(200, { [argument]: '1' })
    response.end('with')
  },
  late: (_, response, argument) => {
    setTimeout(() => response.end('late'), Number(argument))
  },
  trailing: (_, response, argument) => {
    response.writeHead(200, { trailer: 'grpc-status', 'content-type': 'application/grpc' })
    response.write('body')
    response.addTrailers({ 'grpc-status': argument })
    response.end()
  },
  'stall-end': (_, response, argument) => {
    response.write('begun')
    setTimeout(() => response.end('end'), Number(argument))
  },
  none: (_, response) => {
    response.writeHead(204)
    response.end()
  },
  nomatch: (_, response) => {
    response.writeHead(304, { etag: '"a"', 'content-length': '50' })
    response.end()
  },
  big: (_, response) => {
    response.writeHead(200, { 'x-big': 'b'.repeat(8_000) })
    response.end('big')
  },
}
