import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { isRecord } from '#base'
import type { Cluster } from '#kube'

export type ApiCall = Readonly<{ method: string; path: string; atMs: number }>
/** What becomes of a request: it goes on, it is never answered, or it is answered with this status. */
type Fate = 'pass' | 'hang' | number

/** Stands before an API server for one of its clients, knows what that one asked for, and can be a broken network. */
export class ApiFront implements AsyncDisposable {
  readonly #server = http.createServer((request, response) => this.#answer(request, response))
  readonly #agent: http.Agent | https.Agent
  readonly #behind: Cluster
  readonly calls: ApiCall[] = []
  fate: (call: ApiCall) => Fate = () => 'pass'

  private constructor(behind: Cluster) {
    this.#behind = behind
    const ca = behind.ca === undefined ? {} : { ca: behind.ca }
    this.#agent =
      behind.server.protocol === 'https:'
        ? new https.Agent({ keepAlive: true, ...ca })
        : new http.Agent({ keepAlive: true })
  }

  static async start(behind: Cluster): Promise<ApiFront> {
    const front = new ApiFront(behind)
    // A client that was stopped for a while shall find its connections as it left them.
    front.#server.keepAliveTimeout = 120_000
    front.#server.listen(0, '127.0.0.1')
    await once(front.#server, 'listening')
    return front
  }

  get cluster(): Cluster {
    const address = this.#server.address()
    const port = isRecord(address) ? address['port'] : 0
    return {
      server: new URL(`http://127.0.0.1:${String(port)}`),
      insecure: false,
      namespace: this.#behind.namespace,
      credentials: this.#behind.credentials,
    }
  }

  /** Calls that change something, other than questions in the form of a POST. */
  writes(wanted: (call: ApiCall) => boolean = () => true): readonly ApiCall[] {
    return this.calls.filter(
      (call) => call.method !== 'GET' && !call.path.includes('reviews') && wanted(call),
    )
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url: path = '' } = request
    const call = { method, path, atMs: performance.now() }
    this.calls.push(call)
    const fate = this.fate(call)
    response.on('error', () => undefined)
    if (fate === 'hang') return
    if (fate !== 'pass') {
      request.resume()
      response.writeHead(fate, { 'content-type': 'application/json' }).end('{"kind":"Status"}')
      return
    }
    const { host: _, ...headers } = request.headers
    const send = this.#behind.server.protocol === 'https:' ? https.request : http.request
    const onward = send(new URL(path, this.#behind.server), { method, headers, agent: this.#agent })
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      response.flushHeaders()
      answer.on('error', () => response.destroy())
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#agent.destroy()
    await new Promise((done) => this.#server.close(done))
  }
}

export const isLease = ({ path }: ApiCall): boolean => path.includes('/leases')
