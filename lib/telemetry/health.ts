import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf } from '#base'

/** Names of start-up tasks that must be done before the process is ready. */
export class Readiness {
  readonly #pending = new Set<string>()
  constructor(tasks: Iterable<string> = []) {
    for (const task of tasks) this.#pending.add(task)
  }
  /** Marks a task as under way (again). */
  pending(task: string): void {
    this.#pending.add(task)
  }
  done(task: string): void {
    this.#pending.delete(task)
  }
  get waitingFor(): readonly string[] {
    return [...this.#pending]
  }
}

export type Answer = Readonly<{
  status: number
  type?: string
  body: string | Uint8Array
  headers?: Readonly<Record<string, string>>
}>
/** Who asks, and what stands behind the `?`. */
export type Asked = Readonly<{ peer: string; query: URLSearchParams }>

/** Answers one path. */
export type Route = (headers: IncomingHttpHeaders, asked: Asked) => Answer | Promise<Answer>

/** Scrapers and probes are few; whoever else finds the port must not take the descriptors that the mesh needs. */
const maxConnections = 256

/** Beyond that the oldest connection goes, not the newest: a probe is new, and answered before its turn comes. */
function giveWay(server: Server): void {
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size > maxConnections) oldest?.destroy()
  })
}

/** `{ 'GET /metrics': … }`, or `{ '/metrics': … }` for any method; anything else is 404. Closes by dispose. */
export async function serveHttp(
  address: { port: number; host?: string },
  routes: Readonly<Record<string, Route>>,
): Promise<AsyncDisposable & { port: number }> {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, (request, response) => {
    request.resume() // nothing of ours has a body
    const [path = '/', query = ''] = (request.url ?? '/').split('?', 2)
    const route = routes[`${request.method} ${path}`] ?? (path.startsWith('/') ? routes[path] : undefined)
    const asked = { peer: request.socket.remoteAddress ?? '', query: new URLSearchParams(query) }
    void answer(route, request.headers, asked).then(({ status, type, body, headers }) =>
      response.writeHead(status, { 'content-type': type ?? plain, ...headers }).end(body),
    )
  })
  giveWay(server)
  server.listen(address)
  await once(server, 'listening')
  // From here on only a failed accept comes: out of descriptors, one connection is lost and not the process.
  server.on('error', () => undefined)
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : address.port,
    [Symbol.asyncDispose]: () => close(server),
  }
}

const plain = 'text/plain; charset=utf-8'

async function answer(route: Route | undefined, headers: IncomingHttpHeaders, asked: Asked): Promise<Answer> {
  try {
    return (await route?.(headers, asked)) ?? { status: 404, body: 'not found\n' }
  } catch (error) {
    return { status: 500, body: `${messageOf(error)}\n` }
  }
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
}

/** 200 `ready`, or 500 with the names of what is still pending (ztunnel: 15021 /healthz/ready). */
export const readinessRoute =
  (readiness: Readiness): Route =>
  () =>
    readiness.waitingFor.length === 0
      ? { status: 200, body: 'ready\n' }
      : { status: 500, body: `not ready, pending: ${readiness.waitingFor.join(', ')}\n` }
