import { constants } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Socket } from 'node:net'
import { MeshError, messageOf } from '#base'
import { Counter, type Logger, type Registry } from '#telemetry'
import {
  answerReview,
  type Findings,
  isTrial,
  type Judge,
  judge,
  parseReview,
  type Request,
} from './review.ts'
import { maxConnections, Room } from './room.ts'
import { isTooDeep } from './depth.ts'
import { connectionCost, requestCost, Turns } from './turns.ts'

type KeyAndChain = Readonly<{ keyPem: string; chainPem: string }>
export type WebhookOptions = Readonly<{
  port: number
  /** Our certificate, and when it is another. */
  credentials: Readonly<{ current: KeyAndChain; onRenew: (listener: () => void) => Disposable }>
  judge: Judge
  registry: Registry
  log: Logger
}>

/** An object and what it was before, neither larger than an API server can keep (etcd's 1.5 MiB), and JSON around them. */
const maxBodyBytes = (3 << 20) + (64 << 10)
/** The API server waits 10 s by default, and then writes without us. */
const requestTimeoutMs = 10_000

/** Serves `POST /validate` over TLS: what cannot work is refused, with its path. Whoever cannot be judged may pass. */
export async function serveWebhook(options: WebhookOptions): Promise<AsyncDisposable & { port: number }> {
  const { credentials, log } = options
  const held = { room: new Room(), turns: new Turns() }
  const answers = answerer(options, held)
  const server = createServer({
    ...contextOf(credentials.current),
    ALPNProtocols: ['http/1.1'],
    secureOptions: constants.SSL_OP_NO_TICKET,
    headersTimeout: requestTimeoutMs,
    requestTimeout: requestTimeoutMs,
    handshakeTimeout: requestTimeoutMs,
    maxHeaderSize: 16 << 10,
  })
  server.maxConnections = maxConnections
  server.on('error', (error) => log.error('webhook failed', { error: messageOf(error) }))
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    if (!held.turns.charge(address, connectionCost) || !held.room.enter(address)) return void socket.destroy()
    socket.once('close', () => held.room.leave(address))
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('request', (request, response) => {
    answers(request, response).catch((error: unknown) => {
      log.warn('webhook request failed', { error: messageOf(error), peer: peerOf(request) })
      response.destroy()
    })
  })
  const port = await listening(server, options.port)
  const renewals = credentials.onRenew(() => server.setSecureContext(contextOf(credentials.current)))
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      renewals[Symbol.dispose]()
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

const peerOf = ({ socket }: IncomingMessage): string => socket.remoteAddress ?? ''

const contextOf = ({ keyPem, chainPem }: KeyAndChain) =>
  ({ key: keyPem, cert: chainPem, minVersion: 'TLSv1.2' }) as const

async function listening(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      server.off('error', reject)
      resolve()
    })
  }).catch((cause: unknown) => {
    throw new MeshError('bad-config', { message: `cannot listen on port ${port}`, cause })
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

/** What callers hold, and what they have had. */
type Held = Readonly<{ room: Room; turns: Turns }>

function answerer(options: WebhookOptions, held: Held) {
  const { log, registry } = options
  const labelNames = ['group', 'version', 'resource'] as const
  const passed = new Counter({
    name: 'galley_validation_passed',
    help: 'Resource is valid',
    labelNames,
    registers: [registry],
  })
  const failed = new Counter({
    name: 'galley_validation_failed',
    help: 'Resource validation failed',
    labelNames: [...labelNames, 'reason'] as const,
    registers: [registry],
  })
  const refused = new Counter({
    name: 'galley_validation_http_error',
    help: 'Resource validation http serve errors',
    labelNames: ['status'],
    registers: [registry],
  })
  const close = (response: ServerResponse, status: number, body = '') => {
    if (status !== 200) refused.inc({ status: String(status) })
    // Past a body that was not read the connection is of no use.
    const headers = { 'content-type': 'application/json', ...(status === 200 ? {} : { connection: 'close' }) }
    response.writeHead(status, headers).end(body)
  }
  return async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.on('error', () => response.destroy())
    const [path = ''] = (message.url ?? '').split('?')
    if (path !== '/validate') return close(response, 404)
    if (message.method !== 'POST') return close(response, 405)
    if (!/^application\/json\b/i.test(message.headers['content-type'] ?? '')) return close(response, 415)
    const outcome = await readReview(message, response, options, held)
    if (typeof outcome === 'number') return close(response, outcome)
    const { request, findings } = outcome
    const { reviewed } = request
    const labels = labelsOf(request)
    if (findings.errors.length === 0) passed.inc(labels)
    else if (!isTrial(request)) {
      failed.inc({ ...labels, reason: 'invalid_resource' })
      const { kind, name } = reviewed
      log.info('object refused', { kind, name, errors: findings.errors.length, peer: peerOf(message) })
    }
    close(response, 200, JSON.stringify(answerReview(request, findings)))
  }
}

/** Plurals of the kinds that are read. */
const resources = [
  'authorizationpolicies',
  'peerauthentications',
  'requestauthentications',
  'serviceentries',
  'workloadentries',
  'workloadgroups',
  'virtualservices',
  'destinationrules',
  'gateways',
  'sidecars',
  'envoyfilters',
  'proxyconfigs',
  'telemetries',
  'wasmplugins',
  'trafficextensions',
]
const groups = ['security.istio.io', 'networking.istio.io', 'telemetry.istio.io', 'extensions.istio.io']
const versions = ['v1', 'v1beta1', 'v1alpha3', 'v1alpha1']

/** Anybody can connect, and made-up words would be series without end. */
function labelsOf({ reviewed, version, resource }: Request) {
  const known = (list: readonly string[], text: string) => (list.includes(text) ? text : 'other')
  return {
    group: known(groups, reviewed.group),
    version: known(versions, version),
    resource: known(resources, resource),
  }
}

/** A bug of ours must not keep anybody from writing: the collections close what they cannot read all the same. */
function judgeSafely(request: Request, { judge: by, log }: WebhookOptions): Findings {
  try {
    return judge(request, by)
  } catch (error) {
    const { kind, name } = request.reviewed
    log.error('bug: an object cannot be judged', { kind, name, error: messageOf(error) })
    return { errors: [], warnings: ['the validation webhook failed on this object; it was not checked'] }
  }
}

type Outcome = Readonly<{ request: Request; findings: Findings }>

/** What is asked and what we find in it, once it is the caller's turn; or the status that says why it is not read. */
async function readReview(
  message: IncomingMessage,
  response: ServerResponse,
  options: WebhookOptions,
  { room, turns }: Held,
): Promise<Outcome | 400 | 413 | 503> {
  const address = peerOf(message)
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of message) {
      const bytes = Buffer.from(chunk)
      const isPaid = turns.charge(address, bytes.length)
      if (size + bytes.length > maxBodyBytes) return 413
      if (!isPaid || !room.take(address, bytes.length)) return 503
      size += bytes.length
      chunks.push(bytes)
    }
    turns.charge(address, requestCost)
    const cost = requestCost + size
    if (!(await turns.turn(address, cost, gone.signal))) return 503
    const before = process.threadCpuUsage()
    const request = reviewIn(Buffer.concat(chunks))
    const findings = request && judgeSafely(request, options)
    const { user, system } = process.threadCpuUsage(before)
    turns.settle(address, (user + system) / 1_000, cost)
    return request && findings ? { request, findings } : 400
  } finally {
    room.giveBack(address, size)
  }
}

/** Also what is nested so deeply that nobody can walk through it is no review. */
function reviewIn(body: Buffer): Request | undefined {
  if (isTooDeep(body)) return undefined
  try {
    return parseReview(JSON.parse(body.toString('utf8')))
  } catch {
    return undefined
  }
}
