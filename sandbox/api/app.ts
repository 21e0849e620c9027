import { mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Server } from 'node:https'
import type { Logger } from '#telemetry'
import type { SandboxConfig } from '../config.ts'
import { createAuthenticator, createPki, pkiFiles, writeKubeconfigs } from './auth/index.ts'
import { bootstrap } from './bootstrap.ts'
import { documents } from './discovery/index.ts'
import { startCollector, startCustomKinds, startEventSweeper, startNamespaceCleaner } from './gc/index.ts'
import { closeServer, listenInFabric, listenOnLoopback, tlsServer } from './listeners.ts'
import { type Api, rbacOf } from './rest/api.ts'
import { handler } from './rest/handle.ts'
import { Kinds } from './rest/kinds.ts'
import { openDatabase, Store } from './store/index.ts'

/** How long running requests may take to end when the server stops; watches end at once. */
const stopGraceMs = 1_000

export type ApiServerOptions = Readonly<{
  config: SandboxConfig
  /** On loopback; 0 chooses one. */
  port: number
  log: Logger
  now?: () => number
  random?: () => number
  /** Changes remembered per resource; smaller in tests of 410. */
  eventsPerResource?: number
}>

/** A running server. `api` is its inside, for tests. */
export type ApiServer = AsyncDisposable & Readonly<{ port: number; api: Api }>

/** Opens the state, starts the built-in controllers and serves; half-started parts are closed on failure. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  await using stack = new AsyncDisposableStack()
  const { config, log } = options
  mkdirSync(dirname(config.database), { recursive: true, mode: 0o700 })
  createPki(config)
  const api = stack.use(openApi(options)).api
  stack.use(startCustomKinds(api))
  bootstrap(api)
  stack.use(startCollector(api))
  stack.use(startNamespaceCleaner(api))
  stack.use(startEventSweeper(api))
  const stopping = new AbortController()
  const serve = handler(api, documents(api.kinds), stopping.signal)
  const credentials = readCredentials(config)
  const closing = (server: Server) => stack.defer(() => closeServer(server, stopGraceMs))
  const make = () => {
    const server = tlsServer(credentials, serve, log)
    closing(server)
    return server
  }
  const port = await listenOnLoopback(make(), options.port)
  await listenInFabric(config, make)
  stack.defer(() => stopping.abort())
  writeKubeconfigs(config, port)
  const owned = stack.move()
  return { port, api, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function openApi({ config, log, now = Date.now, random = Math.random, eventsPerResource }: ApiServerOptions) {
  const store = new Store(openDatabase(config.database), eventsPerResource)
  const signingKeyPem = readFileSync(pkiFiles(config).serviceAccountKey, 'utf8')
  const authenticator = createAuthenticator({ signingKeyPem, now: () => new Date(now()) })
  const api: Api = { config, store, kinds: new Kinds(), authenticator, rbac: rbacOf(store), log, now, random }
  return { api, [Symbol.dispose]: () => store[Symbol.dispose]() }
}

function readCredentials(config: SandboxConfig) {
  const { apiServer, ca } = pkiFiles(config)
  const read = (path: string) => readFileSync(path, 'utf8')
  return {
    certificate: read(apiServer.certificate),
    key: read(apiServer.key),
    clientCa: read(ca.certificate),
  }
}
