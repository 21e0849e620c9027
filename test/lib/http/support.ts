import { once } from 'node:events'
import * as http from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'
import { type ByteStream, socketBytes } from '#hbone'
import {
  type BodyReader,
  type Exchange,
  HeaderList,
  type HttpLimits,
  HttpPool,
  type HttpServerConnection,
  type HttpServerEnd,
  type HttpVersion,
  passOn,
  type PoolDestination,
  type PoolPolicy,
  type RequestHead,
  type SendOutcome,
  serveHttp,
} from '#http'

export const policy: PoolPolicy = {
  maxConnections: 100,
  maxPending: 1000,
  maxRequests: 10_000,
  maxRequestsPerConnection: 0,
  maxConcurrentStreams: 100,
  connectMs: 20_000,
  idleMs: 60_000,
  maxConnectionMs: 0,
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Listens on a free port until the test is over. */
export async function listen(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return portOf(server)
}

export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

const dialBytes =
  (port: number) =>
  async (_signal: AbortSignal): Promise<ByteStream> =>
    socketBytes(await dial(port))

type Serving = Readonly<{
  port: number
  connections: readonly HttpServerConnection[]
  ends: readonly HttpServerEnd[]
}>

/** Our server on a plain socket. */
export async function serve(
  t: Test,
  version: HttpVersion,
  onExchange: (exchange: Exchange) => void,
  limits: Partial<HttpLimits> = {},
): Promise<Serving> {
  const connections: HttpServerConnection[] = []
  const ends: HttpServerEnd[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const one = serveHttp(socketBytes(socket), {
      version,
      scheme: 'http',
      limits,
      onExchange,
      trailers: true,
    })
    connections.push(one)
    void one.done.then((end) => ends.push(end))
  })
  return { port: await listen(t, server), connections, ends }
}

export const destinationOf = (
  port: number,
  version: HttpVersion,
  changed: Partial<PoolPolicy> = {},
): PoolDestination => ({
  key: `${port}`,
  group: 'group',
  version,
  policy: { ...policy, ...changed },
  dial: dialBytes(port),
})

/** A proxy of ours before `upstream`; the pool is the caller's to look at. */
export async function proxyTo(
  t: Test,
  upstream: number,
  versions: readonly [downstream: HttpVersion, upstream: HttpVersion],
  limits: Partial<HttpLimits> = {},
): Promise<Serving & { pool: HttpPool; exchanges: readonly Exchange[] }> {
  const pool = new HttpPool()
  t.teardown(() => pool.close())
  const exchanges: Exchange[] = []
  const destination = { ...destinationOf(upstream, versions[1]), limits }
  const serving = await serve(
    t,
    versions[0],
    (exchange) => {
      exchanges.push(exchange)
      void forward(pool, destination, exchange)
    },
    limits,
  )
  return { ...serving, pool, exchanges }
}

async function forward(pool: HttpPool, destination: PoolDestination, exchange: Exchange) {
  const onInform = exchange.inform.bind(exchange)
  const outcome = await pool.send(destination, exchange.request, exchange.body, {
    signal: exchange.gone,
    onInform,
  })
  if (outcome.kind === 'response') {
    passOn(outcome.response, exchange)
    return
  }
  if (exchange.responded) return
  const headers = HeaderList.of({ 'x-reason': outcome.reason })
  exchange.respond({ status: 503, headers }, 'none')
}

export type Answer = Readonly<{
  status: number
  headers: http.IncomingHttpHeaders
  trailers: NodeJS.Dict<string>
  body: Buffer
}>

/** One request by Node's own client. */
export function ask(port: number, o: http.RequestOptions & { body?: Buffer | string } = {}): Promise<Answer> {
  const { body, ...options } = o
  return new Promise((resolve, reject) => {
    const request = http.request({ port, host: '127.0.0.1', ...options }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(parts),
        }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Sends bytes and gives back all that comes until the other end closes. */
export async function raw(port: number, bytes: string | Buffer): Promise<string> {
  const socket = await dial(port)
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  const over = new Promise((resolve) => {
    socket.on('error', resolve)
    socket.on('end', resolve)
    socket.on('close', resolve)
  })
  socket.write(bytes)
  await over
  socket.destroy()
  return Buffer.concat(parts).toString('latin1')
}

/** A request without fields or body. */
export const get = (path = '/'): RequestHead => ({
  method: 'GET',
  scheme: 'http',
  authority: 'x',
  path,
  headers: new HeaderList(),
})

/** The text of an answer, or why there is none. */
export async function told(outcome: SendOutcome): Promise<string> {
  if (outcome.kind === 'failure') return outcome.reason
  const { body } = outcome.response
  let text = ''
  return new Promise((resolve) => {
    const reader: BodyReader = {
      bytes: (buffer, start, end) => {
        text += buffer.toString('latin1', start, end)
        return true
      },
      end: () => resolve(text),
      broken: (reason) => resolve(`${text}, then ${reason}`),
    }
    body.read(reader)
  })
}
