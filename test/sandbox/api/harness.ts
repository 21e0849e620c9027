import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silent } from '#telemetry'
import { type ApiServer, type ApiServerOptions, startApiServer } from '../../../sandbox/api/app.ts'
import { pkiFiles } from '../../../sandbox/api/auth/index.ts'
import { type SandboxConfig, sandboxConfig } from '../../../sandbox/config.ts'

/** A configuration whose every file is in a directory of its own, and whose fabric namespace does not exist. */
export function temporaryConfig(): SandboxConfig & Disposable {
  const dir = mkdtempSync(join(tmpdir(), 'lateen-api-'))
  return {
    ...sandboxConfig('api-test'),
    stateDir: dir,
    runDir: dir,
    kubeconfig: join(dir, 'kubeconfig'),
    pkiDir: join(dir, 'pki'),
    database: join(dir, 'api.sqlite'),
    nodes: sandboxConfig('api-test').nodes.map((node) => ({
      ...node,
      kubeletSocket: join(dir, `${node.name}.sock`),
    })),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}

/** JSON as it came: tests look into it without ceremony. */
export type Parsed = ReturnType<typeof JSON.parse>
type Reply = Readonly<{
  status: number
  headers: IncomingMessage['headers']
  body: Parsed
  text: string
}>
type Options = Readonly<{
  body?: unknown
  type?: string
  headers?: Readonly<Record<string, string>>
  /** A bearer token; without one the admin's certificate is shown, unless `anonymous`. */
  token?: string
  anonymous?: boolean
}>

export type Client = AsyncDisposable &
  Readonly<{
    config: SandboxConfig
    server: () => ApiServer
    call: (method: string, path: string, options?: Options) => Promise<Reply>
    watch: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Watch>
    /** Ends the server and starts it again on the same state. */
    restart: (options?: Partial<ApiServerOptions>) => Promise<void>
  }>

/** A server of its own on a free port, with a client that has all rights. */
export async function startServer(options: Partial<ApiServerOptions> = {}): Promise<Client> {
  const config = temporaryConfig()
  const start = (more: Partial<ApiServerOptions> = {}) =>
    startApiServer({ config, port: 0, log: silent, ...options, ...more })
  let server = await start()
  // The admin's calls share connections; whoever else calls, or watches, gets one of their own.
  const shared = new Agent({ keepAlive: true, maxSockets: 4 })
  const files = pkiFiles(config)
  const read = (path: string) => readFileSync(path)
  const tls = { ca: read(files.ca.certificate) }
  const certificate = { cert: read(files.admin.certificate), key: read(files.admin.key) }
  const open = (method: string, path: string, o: Options, agent: Agent | false = false) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const own = o.token === undefined && o.anonymous !== true ? certificate : {}
      const bytes = Buffer.from(bodyOf(o.body) ?? '')
      const headers = {
        ...(o.body === undefined ? {} : { 'content-length': String(bytes.length) }),
        ...(o.token === undefined ? {} : { authorization: `Bearer ${o.token}` }),
        ...(o.body === undefined ? {} : { 'content-type': o.type ?? 'application/json' }),
        ...o.headers,
      }
      const outgoing = request({
        host: '127.0.0.1',
        port: server.port,
        method,
        path,
        headers,
        agent: own === certificate ? agent : false,
        ...tls,
        ...own,
      })
      outgoing.once('response', resolve).once('error', reject)
      outgoing.end(bytes)
    })
  return {
    config,
    server: () => server,
    call: async (method, path, o = {}) => {
      const response = await open(method, path, o, shared)
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(Buffer.from(chunk))
      const text = Buffer.concat(chunks).toString()
      return { status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) }
    },
    watch: async (path, headers = {}) => watchOf(await open('GET', path, { headers })),
    restart: async (more = {}) => {
      shared.destroy()
      await server[Symbol.asyncDispose]()
      server = await start(more)
    },
    [Symbol.asyncDispose]: async () => {
      shared.destroy()
      await server[Symbol.asyncDispose]()
      config[Symbol.dispose]()
    },
  }
}

const bodyOf = (body: unknown): string | Uint8Array | undefined =>
  body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)

function parsed(text: string): Parsed {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

type Event = Readonly<{ type: string; object: Parsed }>
type Watch = Disposable &
  Readonly<{
    status: number
    /** The next event; undefined when the stream has ended. */
    next: () => Promise<Event | undefined>
  }>

function watchOf(response: IncomingMessage): Watch {
  const lines = linesOf(response)
  return {
    status: response.statusCode ?? 0,
    next: async () => {
      const { value, done } = await lines.next()
      return done === true ? undefined : JSON.parse(value)
    },
    [Symbol.dispose]: () => void response.destroy(),
  }
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string, void> {
  let rest = ''
  try {
    for await (const chunk of response) {
      rest += String(chunk)
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        yield rest.slice(0, end)
        rest = rest.slice(end + 1)
      }
    }
  } catch {
    return // cut off: the stream has ended all the same
  }
}

/** Waits until `check` gives something, looking again every few milliseconds. */
export async function eventually<T>(check: () => Promise<T | undefined>, deadlineMs = 20_000): Promise<T> {
  const end = Date.now() + deadlineMs
  for (;;) {
    const found = await check()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error('it did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const configMap = (name: string, data: Record<string, string> = {}, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...metadata },
  data,
})

export const deployment = (name: string, replicas = 1) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'x:1' }] } },
  },
})

export const pod = (name: string, metadata: object = {}, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'c', image: 'x:1' }], ...spec },
})
