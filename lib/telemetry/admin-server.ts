import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { isIP } from 'node:net'
import { messageOf } from '#base'

/** An answer; text by default. */
export type Answer = Readonly<{
  status: number
  body: string | Uint8Array
  type?: string
  headers?: Readonly<Record<string, string>>
}>
/** What a route may look at. `signal` fires when the asker has gone. */
type Asked = Readonly<{ method: string; query: URLSearchParams; signal: AbortSignal }>

/** Who answers which path. */
export type AdminRoutes = Readonly<Record<string, (asked: Asked) => Answer | Promise<Answer>>>

/** What changes something must not be reached by a link. */
export const post =
  (route: (asked: Asked) => Answer | Promise<Answer>) =>
  (asked: Asked): Answer | Promise<Answer> =>
    asked.method === 'POST' ? route(asked) : postOnly
const postOnly: Answer = { status: 405, body: 'Invalid HTTP method: only POST is allowed\n' }

/** Operators and scripts on the node; nobody else reaches the loopback of our pod. */
const maxConnections = 64
/** For what is being answered when we end. */
const lastAnswersMs = 1_000

/** Serves the admin paths on loopback only: whoever reaches them may see and stop everything. */
export async function serveAdmin(
  port: number,
  routes: AdminRoutes,
): Promise<AsyncDisposable & { port: number }> {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, (request, response) => {
    const gone = new AbortController()
    response.once('close', () => gone.abort(new Error('the client has gone')))
    void answer(request, routes, gone.signal).then(({ status, body, type, headers }) =>
      response
        .writeHead(status, {
          'content-type': type ?? 'text/plain; charset=utf-8',
          'x-content-type-options': 'nosniff',
          ...headers,
        })
        .end(body),
    )
  })
  server.maxConnections = maxConnections
  server.listen({ port, host: '127.0.0.1' })
  await once(server, 'listening')
  // From here on only a failed accept comes: out of descriptors, one connection is lost and not the process.
  server.on('error', () => undefined)
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : port,
    [Symbol.asyncDispose]: () => close(server),
  }
}

async function answer(request: IncomingMessage, routes: AdminRoutes, signal: AbortSignal): Promise<Answer> {
  try {
    request.resume()
    if (isForeign(request)) return { status: 403, body: 'not from here\n' }
    const [path = '/', query] = (request.url ?? '/').split('?', 2)
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined
    if (!route) return { status: 404, body: 'not found\n' }
    return await route({ method: request.method ?? 'GET', query: new URLSearchParams(query), signal })
  } catch (error) {
    return { status: 500, body: `${messageOf(error)}\n` }
  }
}

/**
 * Did a web page send it? Behind a port-forward a browser on the operator's machine reaches us, and then any site it
 * shows: by a name of its own for 127.0.0.1, or by a form that posts here.
 */
function isForeign({ headers }: IncomingMessage): boolean {
  if (headers.origin !== undefined) return true
  const host = (headers.host ?? 'localhost').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return host !== 'localhost' && isIP(host) === 0
}

/** Who asked us to quit is still told that we do. */
async function close(server: Server): Promise<void> {
  const closed = new Promise((done) => server.close(done))
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), lastAnswersMs)
  await closed
  clearTimeout(timer)
}
