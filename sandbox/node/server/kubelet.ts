import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import { readLog } from '../logs/read.ts'
import type { PodWorker } from '../pod-worker.ts'
import { refuse } from './channels.ts'
import { serveExec } from './exec.ts'
import { servePortForward } from './port-forward.ts'
import { parseRequest, type Target } from './request.ts'

/** What this endpoint must know of a pod. */
type ServedPod = Pick<PodWorker, 'runDir' | 'netnsPath'>

type Options = Readonly<{
  socketPath: string
  find: (namespace: string, pod: string) => ServedPod | undefined
  log: Logger
  signal: AbortSignal
}>

/**
 * The node's endpoint for logs, exec and port-forward, on a unix socket. Whoever reaches it was authorised by the API
 * server, which alone can: the socket is the machine's root's.
 */
export async function serveKubelet({ socketPath, find, log, signal }: Options): Promise<AsyncDisposable> {
  await rm(socketPath, { force: true })
  const server = createServer({ headersTimeout: 10_000 }, (request, response) => {
    answer(request, response, find, signal).catch((error: unknown) => {
      if (!response.headersSent) say(response, 500, messageOf(error))
      response.destroy()
    })
  })
  server.on('upgrade', (request, socket, head) => {
    upgrade(request, socket, head, find, signal).catch((error: unknown) => {
      log.debug('stream ended', { error: messageOf(error) })
      socket.destroy()
    })
  })
  server.on('clientError', (_, socket) => socket.destroy())
  server.listen(socketPath)
  await once(server, 'listening')
  return { [Symbol.asyncDispose]: () => close(server) }
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
}

type Find = Options['find']

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  find: Find,
  signal: AbortSignal,
): Promise<void> {
  const target = parseRequest(request.method ?? '', request.url ?? '')
  switch (target.kind) {
    case 'health':
      return say(response, 200, 'ok')
    case 'unknown':
      return say(response, 404, target.message)
    case 'logs':
      return logs(target, response, find, signal)
    case 'exec':
    case 'port-forward':
      return say(response, 400, 'this needs a WebSocket upgrade')
  }
}

async function logs(
  target: Extract<Target, { kind: 'logs' }>,
  response: ServerResponse,
  find: Find,
  signal: AbortSignal,
): Promise<void> {
  const worker = find(target.namespace, target.pod)
  const dir = worker?.runDir(target.container, target.previous)
  if (!dir) {
    const what = target.previous ? 'previous terminated container' : 'container'
    return say(response, 400, `${what} "${target.container}" in pod "${target.pod}" has not run`)
  }
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.flushHeaders()
  const lines = readLog(dir, target.query, AbortSignal.any([gone.signal, signal]))
  await pipeline(Readable.from(lines), response).catch(() => response.destroy())
}

async function upgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  find: Find,
  signal: AbortSignal,
): Promise<void> {
  const target = parseRequest(request.method ?? '', request.url ?? '')
  if (target.kind !== 'exec' && target.kind !== 'port-forward') return refuse(socket, 404, 'no such stream')
  const worker = find(target.namespace, target.pod)
  if (!worker) return refuse(socket, 404, `pod "${target.pod}" is not on this node`)
  if (target.kind === 'port-forward')
    return servePortForward(request, socket, head, worker, target.ports, signal)
  const dir = worker.runDir(target.container)
  if (!dir) return refuse(socket, 400, `container "${target.container}" is not running`)
  return serveExec(request, socket, head, { ...target, dir }, signal)
}

const say = (response: ServerResponse, status: number, message: string): void =>
  void response.writeHead(status, { 'content-type': 'text/plain' }).end(message)
