import { type Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { createSecureContext } from 'node:tls'
import { MeshError } from '#base'
import { ca } from '#wire'
import type { Sign } from './certificates.ts'
import type { SpiffeId } from './spiffe.ts'
import { type KeyExchange, meshTls } from './tls.ts'

/** Where the CA is, and how we show it who we are. */
export type CaClientOptions = Readonly<{
  /** `host:port`. */
  address: string
  /** Read for each call: a changed root opens a new channel. */
  rootPem: () => string
  /** Read for each call: the kubelet renews the file. */
  token: () => string
  clusterId: string
  /** The name in the CA's certificate, where it is not the host of `address`. */
  serverName?: string
  /** How long certificates shall live (ztunnel: SECRET_TTL, 24 h). */
  ttlSeconds?: number
  keyExchange?: KeyExchange
  /** More metadata (ztunnel: CA_HEADER_*). */
  headers?: Readonly<Record<string, string>>
  /** Sends the identity that is asked for, as a node proxy for its pods does. False for a proxy of its own identity. */
  impersonate?: boolean
}>

/** One request, from sending to answer. */
const callMs = 10_000
/** Larger answers are refused: some certificates, not a file. */
const maxAnswerBytes = 1 << 20

type Channel = { readonly rootPem: string; readonly client: ca.IstioCertificateServiceClient }

/** A client of Istio's certificate service, to be used as the `sign` of `Certificates`. */
export function createCaClient(o: CaClientOptions): Sign & Disposable {
  let channel: Channel | undefined
  const open = (): ca.IstioCertificateServiceClient => {
    const rootPem = o.rootPem()
    if (channel?.rootPem === rootPem) return channel.client
    channel?.client.close()
    channel = { rootPem, client: connect(o, rootPem) }
    return channel.client
  }
  const sign: Sign = async (csr, id, signal) => {
    signal.throwIfAborted()
    return await call(open(), o, csr, id, signal)
  }
  return Object.assign(sign, { [Symbol.dispose]: () => closeClient(channel?.client) })
}

const closeClient = (client: Client | undefined) => client?.close()

const connect = ({ address, serverName, keyExchange }: CaClientOptions, rootPem: string) => {
  const context = createSecureContext({ ca: rootPem, ...meshTls(keyExchange) })
  return new ca.IstioCertificateServiceClient(address, credentials.createFromSecureContext(context), {
    'grpc.max_receive_message_length': maxAnswerBytes,
    // A CA that vanished with its node is noticed by the next call instead of when TCP gives up after a quarter of an hour.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.enable_http_proxy': 0,
    ...(serverName === undefined
      ? {}
      : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName }),
  })
}

function call(
  client: ca.IstioCertificateServiceClient,
  o: CaClientOptions,
  csr: string,
  id: SpiffeId,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${o.token()}`)
  metadata.set('clusterid', o.clusterId)
  for (const [name, value] of Object.entries(o.headers ?? {})) metadata.set(name, value)
  const request = {
    csr,
    validityDuration: o.ttlSeconds ?? 86_400,
    metadata: o.impersonate === false ? undefined : { ImpersonatedIdentity: id },
  }
  return new Promise((resolve, reject) => {
    const sent = client.createCertificate(
      request,
      metadata,
      { deadline: Date.now() + callMs },
      (error: ServiceError | null, response) => {
        signal.removeEventListener('abort', onAbort)
        if (signal.aborted) reject(signal.reason)
        else if (error)
          reject(new MeshError('identity-unavailable', { cause: error, message: `CA: ${error.message}` }))
        else resolve(response.certChain)
      },
    )
    const onAbort = () => sent.cancel()
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
