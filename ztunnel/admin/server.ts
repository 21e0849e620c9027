import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { isIP } from 'node:net'
import { messageOf } from '#base'

/** An answer; text by default. */
export type Answer = Readonly<{ status: number; body: string; type?: string }>
export type AdminRoutes = Readonly<Record<string, (url: URL, method: string) => Answer | Promise<Answer>>>

/** Serves the admin paths on loopback only: whoever reaches them may see and stop everything. */
export async function serveAdmin(
  port: number,
  routes: AdminRoutes,
): Promise<AsyncDisposable & { port: number }> {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, (request, response) => {
    void answer(request, routes).then(({ status, body, type = 'text/plain; charset=utf-8' }) =>
      response.writeHead(status, { 'content-type': type }).end(body),
    )
  })
  server.listen({ port, host: '127.0.0.1' })
  await once(server, 'listening')
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : port,
    [Symbol.asyncDispose]: () => close(server),
  }
}

async function answer(request: IncomingMessage, routes: AdminRoutes): Promise<Answer> {
  try {
    request.resume()
    if (isForeign(request)) return { status: 403, body: 'not from here\n' }
    const url = new URL(request.url ?? '/', 'http://localhost')
    const route = routes[url.pathname]
    return route ? await route(url, request.method ?? 'GET') : { status: 404, body: 'not found\n' }
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

async function close(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
}
