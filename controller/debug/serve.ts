import { type handleBidiStreamingCall, Metadata, status } from '@grpc/grpc-js'
import { messageOf } from '#base'
import type { Asked, Logger, Route } from '#telemetry'
import { ads, clientStatus } from '#wire'
import type { ClientStatus } from '../xds/index.ts'
import { configDump, type Endpoints, toJson } from './endpoints.ts'
import { clientConfig } from './syncz.ts'

type Authenticated =
  | Readonly<{ kind: 'caller'; namespace: string }>
  | Readonly<{ kind: 'refused'; reason: string; later: boolean }>

/** What is served, and to whom. */
export type DebugOptions = Readonly<{
  endpoints: Endpoints
  clients: () => readonly ClientStatus[]
  authenticate: (metadata: Metadata, peer: string) => Promise<Authenticated>
  /** Whose accounts may look; the whole mesh is to be seen here. */
  namespace: string
  /** Which controller answers: JSON, as istioctl reads it. */
  identifier: string
  log: Logger
}>

/** What istioctl asks for over xDS. */
const types = {
  debug: 'istio.io/debug',
  syncz: 'istio.io/debug/syncz',
  configDump: 'istio.io/debug/config_dump',
}
const clientConfigUrl = 'type.googleapis.com/envoy.service.status.v3.ClientConfig'
/** Go's words; istioctl looks for them to list what there is. */
const notFound = '404 page not found\n'

/** Undefined: may look. */
async function refusal(
  { authenticate, namespace }: DebugOptions,
  metadata: Metadata,
  peer: string,
): Promise<string | undefined> {
  const caller = await authenticate(metadata, peer)
  if (caller.kind === 'refused') return caller.reason
  return caller.namespace === namespace ? undefined : `namespace ${caller.namespace} may not look`
}

const isLoopback = (peer: string) => /^(::ffff:)?127\.|^::1$/.test(peer)

/** `GET /debug/…`: free for who is on this host (or comes by port-forward), otherwise with a token as for xDS. */
export function debugRoutes(options: DebugOptions): Readonly<Record<string, Route>> {
  const { endpoints, log } = options
  const guarded =
    (answer: (query: URLSearchParams) => unknown): Route =>
    async (headers, asked: Asked) => {
      const reason = isLoopback(asked.peer)
        ? undefined
        : await refusal(options, metadataOf(headers.authorization), `${asked.peer}:0`)
      if (reason === undefined)
        return { status: 200, type: 'application/json', body: `${toJson(answer(asked.query))}\n` }
      log.warn('debug refused', { peer: asked.peer, reason })
      return { status: 401, body: 'not allowed\n' }
    }
  return Object.fromEntries(
    [...endpoints].map(([name, answer]) => [`GET /debug/${name}`, guarded(answer)] as const),
  )
}

function metadataOf(authorization: string | undefined): Metadata {
  const metadata = new Metadata()
  if (authorization !== undefined) metadata.set('authorization', authorization)
  return metadata
}

/** `StreamAggregatedResources`, for istioctl only: there is no other whole-state client of this controller. */
export const debugStream =
  (options: DebugOptions): handleBidiStreamingCall<ads.DiscoveryRequest, ads.DiscoveryResponse> =>
  (call) => {
    const fail = (code: status, details: string) => void call.emit('error', { code, details })
    const serve = async () => {
      call.on('error', (error) => options.log.debug('debug stream failed', { error: messageOf(error) }))
      const reason = await refusal(options, call.metadata, call.getPeer())
      if (reason !== undefined) {
        options.log.warn('debug refused', { peer: call.getPeer(), reason })
        return fail(status.UNAUTHENTICATED, 'authentication failure')
      }
      let nonce = 0
      const requests: AsyncIterable<ads.DiscoveryRequest> = call
      for await (const request of requests) {
        if (request.responseNonce !== '') continue // an ACK
        const resources = answerTo(options, request)
        if (!resources) return fail(status.INVALID_ARGUMENT, `only ${Object.values(types).join(', ')}`)
        const response = {
          versionInfo: '',
          resources: [...resources],
          typeUrl: request.typeUrl,
          nonce: String(++nonce),
          controlPlane: { identifier: options.identifier },
        }
        await new Promise<void>((taken) => call.write(response, () => taken()))
      }
      call.end()
    }
    serve().catch((error: unknown) => {
      options.log.debug('debug stream ended', { error: messageOf(error) })
      fail(status.UNAVAILABLE, 'try again')
    })
  }

type Packed = { typeUrl: string; value: Buffer }

function answerTo(
  { clients, endpoints }: DebugOptions,
  { typeUrl, resourceNames }: ads.DiscoveryRequest,
): readonly Packed[] | undefined {
  if (typeUrl === types.syncz)
    return clients().map((client) => ({
      typeUrl: clientConfigUrl,
      value: Buffer.from(clientStatus.ClientConfig.encode(clientConfig(client)).finish()),
    }))
  const asked = resourceNames[0] ?? ''
  if (typeUrl === types.configDump)
    return [
      { typeUrl, value: Buffer.from(`${toJson(configDump(clients(), asked.slice(0, maxNameChars)))}\n`) },
    ]
  if (typeUrl !== types.debug) return undefined
  const { pathname, searchParams } = new URL(asked.slice(0, maxNameChars), 'http://debug/')
  const endpoint = endpoints.get(pathname.slice(1))
  const text = endpoint ? `${toJson(endpoint(searchParams))}\n` : notFound
  return [{ typeUrl: types.debug, value: Buffer.from(text) }]
}

/** No path of ours is longer. */
const maxNameChars = 1024
