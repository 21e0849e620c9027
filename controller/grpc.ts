import type { SecureContextOptions } from 'node:tls'
import { Server, ServerCredentials, type ServerInterceptor } from '@grpc/grpc-js'
import { MeshError } from '#base'

type KeyAndChain = Readonly<{ keyPem: string; chainPem: string }>

const contextOf = ({ keyPem, chainPem }: KeyAndChain): SecureContextOptions => ({
  key: keyPem,
  cert: chainPem,
  minVersion: 'TLSv1.2', // Istio's clients speak 1.3; debugging tools may not
})

/** TLS whose certificate can be replaced while serving: connections from then on see the new one. */
export class RenewableCredentials extends ServerCredentials {
  #current: KeyAndChain
  readonly #listeners = new Set<() => void>()
  constructor(certificate: KeyAndChain) {
    super({ requestCert: false }, contextOf(certificate))
    this.#current = certificate
  }
  get current(): KeyAndChain {
    return this.#current
  }
  renew(certificate: KeyAndChain): void {
    this.#current = certificate
    this.updateSecureContextOptions(contextOf(certificate))
    for (const listener of this.#listeners) listener()
  }
  /** Calls `listener` whenever `current` is another. */
  onRenew(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }
  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}

/** Clients come back with a fresh token and are spread over replicas again (Istio: keepaliveMaxServerConnectionAge). */
const maxConnectionAgeMs = 30 * 60_000
const closeMs = 2_000
/** ztunnel has one stream of xDS and at most eight requests to the CA; each may hold a whole message before anybody is known. */
const maxStreams = 20
/** A connection on which nobody asks anything is worth nothing to us. */
const maxIdleMs = 5 * 60_000

export const newGrpcServer = (interceptors: ServerInterceptor[] = []): Server =>
  new Server({
    interceptors,
    'grpc.max_receive_message_length': 16 << 20, // the versions of 100,000 resources in a first request
    'grpc.max_concurrent_streams': maxStreams,
    'grpc.max_connection_idle_ms': maxIdleMs,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_connection_age_ms': maxConnectionAgeMs,
    'grpc.max_connection_age_grace_ms': 10_000,
  })

/** Listens on both families, or on IPv4 where the kernel has no other. */
export async function listen(server: Server, port: number, credentials: ServerCredentials): Promise<number> {
  const bind = (host: string) =>
    new Promise<number>((resolve, reject) => {
      server.bindAsync(`${host}:${port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      )
    })
  try {
    return await bind('[::]').catch(() => bind('0.0.0.0'))
  } catch (cause) {
    throw new MeshError('bad-config', { message: `cannot listen on port ${port}`, cause })
  }
}

/** Ends politely, and for good after two seconds. */
export async function closeServer(server: Server): Promise<void> {
  const timer = setTimeout(() => server.forceShutdown(), closeMs)
  await new Promise<void>((done) => server.tryShutdown(() => done()))
  clearTimeout(timer)
}
