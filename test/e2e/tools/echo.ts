/**
 * The app of the traffic tests: says what it saw. Headers `x-echo-…` of a request say how it should answer.
 * 8080 HTTP/1.1 and WebSocket · 8081 HTTP/2 · 9090 gRPC · 9000 TCP · 9001 TCP, and it speaks first · 8443 TLS, HTTP/1.1
 */
import { createHash } from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import { hostname } from 'node:os'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { type WebSocket, WebSocketServer } from 'ws'
import { createTestCa } from '../../fakes/test-ca.ts'
import { pattern } from '../kit/answer.ts'
import { serveGrpc } from './echo-grpc.ts'
import { webSocketOver } from './websocket-over.ts'

const app = process.env['APP'] ?? 'echo'
const who = { app, pod: hostname() }
/** Requests that bore a key, for tests that must know of those that nobody answered to them. */
const seen = new Map<string, { host: string; path: string }[]>()
const maxSeen = 4_096

/** Says how an answer should be: what a request's `x-echo-…` headers ask for. */
const wish = (headers: http.IncomingHttpHeaders) => {
  const text = (name: string) => String(headers[`x-echo-${name}`] ?? '')
  return {
    /** Of one app alone, if it is named. */
    status: ['', app].includes(text('app')) ? Number(text('status') || 200) : 200,
    delayMs: Number(text('delay-ms') || 0),
    headers: JSON.parse(text('headers') || '{}') as Record<string, string>,
    key: text('key'),
    /** How many requests of this key get `status`; the others get 200. */
    failures: text('failures') === '' ? Infinity : Number(text('failures')),
    bytes: Number(text('bytes') || 0),
    hints: text('hints'),
    reset: text('reset') !== '',
    echo: text('body') !== '',
  }
}

async function digest(body: Readable): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const part of body as AsyncIterable<Buffer>) {
    hash.update(part)
    bytes += part.length
  }
  return { bytes, sha256: bytes === 0 ? '' : hash.digest('hex') }
}

type Request = http.IncomingMessage
type Response = http.ServerResponse

async function answer(request: Request, response: Response): Promise<void> {
  const { headers, url: path = '/', method = '' } = request
  const host = String(headers[':authority'] ?? headers.host ?? '')
  if (path.startsWith('/-/seen/')) return void response.end(JSON.stringify(seen.get(path.slice(8)) ?? []))
  if (path === '/healthz') return void response.end()
  const wanted = wish(headers)
  const earlier = seen.get(wanted.key) ?? []
  if (wanted.key !== '' && seen.size < maxSeen)
    seen.set(wanted.key, [...earlier, { host, path }].slice(-maxSeen))
  if (wanted.hints !== '') response.writeEarlyHints({ link: wanted.hints })
  if (wanted.reset) return void request.socket.destroy()
  if (wanted.echo) {
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    return pipeline(request, response)
  }
  const received = await digest(request)
  if (wanted.delayMs > 0) await delay(wanted.delayMs)
  const status = earlier.length < wanted.failures ? wanted.status : 200
  if (wanted.bytes > 0) {
    response.writeHead(status, { ...wanted.headers, 'content-length': wanted.bytes })
    return pipeline(pattern(wanted.bytes), response)
  }
  const plain = Object.entries(headers).filter(([name]) => !name.startsWith(':'))
  const { servername } = request.socket as TLSSocket
  const told = {
    ...who,
    method,
    path,
    host,
    version: request.httpVersion,
    headers: Object.fromEntries(plain.map(([name, value]) => [name, String(value)])),
    from: request.socket.remoteAddress ?? '',
    ...(typeof servername === 'string' ? { serverName: servername } : {}),
    ...received,
  }
  response.writeHead(status, { 'content-type': 'application/json', ...wanted.headers })
  response.end(JSON.stringify(told))
}

const serve = (request: Request, response: Response) =>
  void answer(request, response).catch((error: unknown) => {
    request.socket.destroy()
    process.stderr.write(`${String(error)}\n`)
  })

const plain = http.createServer(serve)
const sockets = new WebSocketServer({ server: plain })
const converse = (socket: WebSocket, path: string | undefined, version: string) => {
  socket.send(JSON.stringify({ ...who, path, version }))
  socket.on('message', (message, isBinary) => socket.send(message as Buffer, { binary: isBinary }))
  socket.on('error', () => undefined)
}
sockets.on('connection', (socket, { url, httpVersion }) => converse(socket, url, httpVersion))
plain.listen(8080, '::')
http2
  .createServer({ settings: { enableConnectProtocol: true } }, (request, response) =>
    // Made to be used like those of HTTP/1.1.
    serve(request as unknown as Request, response as unknown as Response),
  )
  .on('connect', ({ stream, headers, httpVersion }: http2.Http2ServerRequest) => {
    stream.respond({ ':status': headers[':protocol'] === 'websocket' ? 200 : 501 })
    converse(webSocketOver(stream, true), headers[':path'], httpVersion)
  })
  .listen(8081, '::')

const { keyPem: key, certPem: cert } = createTestCa().server()
https.createServer({ key, cert }, serve).listen(8443, '::')

const greets = (greeting: string) =>
  net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    if (greeting !== '') socket.write(greeting)
    socket.on('data', (part) => void socket.write(`${app} ${part.toString()}`))
    socket.on('end', () => socket.end())
  })
greets('').listen(9000, '::')
greets(`5.7.0-${app}\n`).listen(9001, '::')

serveGrpc(who)
