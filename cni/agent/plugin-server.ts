import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { z } from 'zod'
import { type Ip, messageOf, parseIp } from '#base'
import type { Logger } from '#telemetry'
import type { Metrics } from './metrics.ts'

/** Istio's payload has addresses as objects with a Go net.IPNet inside; ours as the CIDR text of a CNI result. */
const Address = z.union([
  z.string(),
  z.object({ Address: z.union([z.string(), z.object({ IP: z.string() })]) }),
])
const CmdAdd = z.object({
  Netns: z.string().startsWith('/').max(4096),
  PodName: z.string().min(1).max(253),
  PodNamespace: z.string().min(1).max(63),
  PodUID: z.string().max(64).default(''),
  ContainerID: z.string().max(256).default(''),
  IPs: z
    .array(Address)
    .max(64)
    .nullish()
    .transform((list) => (list ?? []).map(addressOf).filter((ip) => ip !== undefined)),
})
const CmdDel = z.object({
  PodUID: z.string().max(64).default(''),
  ContainerID: z.string().max(256).default(''),
})

export type AddRequest = Readonly<{
  netns: string
  name: string
  namespace: string
  uid: string
  containerId: string
  addresses: readonly Ip[]
}>
export type PluginHandler = Readonly<{
  /** Resolves when the pod may start: captured, or not to be captured. A rejection keeps it from starting. */
  add(request: AddRequest, signal: AbortSignal): Promise<void>
  remove(request: Readonly<{ uid: string; containerId: string }>): Promise<void>
}>

function addressOf(value: z.infer<typeof Address>): Ip | undefined {
  const text =
    typeof value === 'string' ? value : typeof value.Address === 'string' ? value.Address : value.Address.IP
  return parseIp(text.split('/')[0] ?? '')
}

/** More than any CNI configuration. */
const maxBodyBytes = 1 << 20
/** Below the plugin's own 30 s, so that it hears a reason instead of nothing. */
const addTimeoutMs = 25_000

type Answer = Readonly<{ status: number; body: string }>

/** HTTP on a unix socket for the CNI plugin: POST /cmdadd and /cmddel. */
export async function servePlugin(
  o: Readonly<{ runDir: string; handler: PluginHandler; log: Logger; metrics: Metrics; signal: AbortSignal }>,
): Promise<AsyncDisposable> {
  const { runDir, handler, log, metrics, signal } = o
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
  const path = join(runDir, 'pluginevent.sock')
  rmSync(path, { force: true })
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    void answer(request, handler, signal).then(({ status, body }) => {
      if (request.url === '/cmdadd') metrics.pluginRequests.inc({ response_code: String(status) })
      if (status >= 400) log.error('CNI request failed', { path: request.url, status, error: body })
      response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${body}\n`)
    })
  })
  server.listen(path)
  await once(server, 'listening')
  // From here on only a failed accept comes: out of descriptors, one connection is lost and not the process.
  server.on('error', () => undefined)
  chmodSync(path, 0o600)
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

async function answer(
  request: IncomingMessage,
  handler: PluginHandler,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const body = request.method === 'POST' ? await readBody(request) : undefined
    if (body === undefined) return { status: 405, body: 'POST only' }
    switch (request.url) {
      case '/cmdadd': {
        const add = CmdAdd.safeParse(json(body))
        if (!add.success) return { status: 400, body: `bad payload: ${z.prettifyError(add.error)}` }
        const { Netns, PodName, PodNamespace, PodUID, ContainerID, IPs } = add.data
        await handler.add(
          {
            netns: Netns,
            name: PodName,
            namespace: PodNamespace,
            uid: PodUID,
            containerId: ContainerID,
            addresses: IPs,
          },
          AbortSignal.any([signal, AbortSignal.timeout(addTimeoutMs)]),
        )
        return { status: 200, body: 'ok' }
      }
      case '/cmddel': {
        const del = CmdDel.safeParse(json(body))
        if (!del.success) return { status: 400, body: 'bad payload' }
        await handler.remove({ uid: del.data.PodUID, containerId: del.data.ContainerID })
        return { status: 200, body: 'ok' }
      }
      default:
        return { status: 404, body: 'no such path' }
    }
  } catch (error) {
    return { status: 500, body: messageOf(error) }
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBodyBytes) throw new RangeError('request body too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
