import grpc from '@grpc/grpc-js'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { MeshError, messageOf } from '#base'
import { ads } from '#wire'

/** The largest response that is read. A full push of 200 000 workloads is about 100 MiB (ztunnel: 200 MiB). */
const maxMessageBytes = 200 << 20
const defaultConnectMs = 5_000
/** Answers that may wait for a server that does not read; one goes out per response. */
const maxUnsentAnswers = 256

export type Connect = Readonly<{
  /** `host:port`. */
  address: string
  /** Roots for the server's certificate, read again for each connection. */
  rootPem: () => string
  /** Versions, suites and groups, where not Node's own. */
  tls?: SecureContextOptions
  /** Bearer token, read again for each connection. */
  token: () => string
  clusterId: string
  /** The name in the server's certificate where it is not the host of `address`. */
  serverName?: string | undefined
  /** More metadata (ztunnel: XDS_HEADER_*). */
  headers?: Readonly<Record<string, string>>
  /** For TCP, TLS and HTTP/2 together. */
  connectMs?: number
}>

type OnResponse = (response: ads.DeltaDiscoveryResponse, bytes: number) => ads.DeltaDiscoveryRequest

/**
 * One connection with one stream, to its end. Resolves when the server ends it in order; throws `unavailable` else.
 * `opened` runs when the connection is there; the requests that it returns are sent first.
 */
export async function runStream(
  connect: Connect,
  opened: () => readonly ads.DeltaDiscoveryRequest[],
  onResponse: OnResponse,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const client = openClient(connect)
  try {
    await ready(client, connect.connectMs ?? defaultConnectMs, signal)
    await exchange(client, metadataOf(connect), opened, onResponse, signal)
  } finally {
    client.close()
  }
}

function openClient({ address, rootPem, serverName, tls }: Connect): grpc.Client {
  const context = createSecureContext({ ...tls, ca: rootPem() })
  const credentials = grpc.credentials.createFromSecureContext(context)
  return new grpc.Client(address, credentials, {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.use_local_subchannel_pool': 1, // else another stream's roots would be used again
    'grpc.enable_http_proxy': 0,
    'grpc.initial_reconnect_backoff_ms': 100,
    ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
  })
}

function metadataOf({ token, clusterId, headers = {} }: Connect): grpc.Metadata {
  const metadata = new grpc.Metadata()
  metadata.set('authorization', `Bearer ${token()}`)
  metadata.set('clusterid', clusterId)
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

async function ready(client: grpc.Client, connectMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const abort = () => client.close() // makes waitForReady call back
  signal.addEventListener('abort', abort, { once: true })
  client.waitForReady(Date.now() + connectMs, (error) => (error ? reject(error) : resolve()))
  try {
    await promise
  } catch (cause) {
    signal.throwIfAborted()
    throw new MeshError('unavailable', { message: `connect: ${messageOf(cause)}`, cause })
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function exchange(
  client: grpc.Client,
  metadata: grpc.Metadata,
  opened: () => readonly ads.DeltaDiscoveryRequest[],
  onResponse: OnResponse,
  signal: AbortSignal,
): Promise<void> {
  const method = ads.AggregatedDiscoveryServiceService.deltaAggregatedResources
  const call = client.makeBidiStreamRequest(method.path, method.requestSerialize, withSize, metadata)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const abort = () => call.cancel()
  signal.addEventListener('abort', abort, { once: true })
  call.on('error', (cause: Error) => reject(new MeshError('unavailable', { message: cause.message, cause })))
  call.on('end', () => resolve())
  call.on('data', ({ response, bytes }: Sized) => {
    if (call.writableLength > maxUnsentAnswers) return call.cancel()
    call.write(onResponse(response, bytes))
  })
  for (const request of opened()) call.write(request)
  try {
    await promise
    call.end()
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
    call.on('error', () => undefined)
  }
}

type Sized = { response: ads.DeltaDiscoveryResponse; bytes: number }
const withSize = (bytes: Buffer): Sized => ({
  response: ads.DeltaDiscoveryResponse.decode(bytes),
  bytes: bytes.length,
})
