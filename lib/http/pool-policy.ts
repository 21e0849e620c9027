import type { ByteStream } from '#hbone'
import type { ConnectHttpOptions } from './connect.ts'
import type { HttpLimits } from './limits.ts'

/** What a pool may use for the destinations of one group (Istio: connectionPool, per cluster). */
export type PoolPolicy = Readonly<{
  /** Connections, beyond which requests wait; a destination that has none may always open one. */
  maxConnections: number
  /** Requests that wait for a connection. */
  maxPending: number
  /** Requests on their way, those that wait included. */
  maxRequests: number
  /** After so many a connection is closed; 0 for no end. */
  maxRequestsPerConnection: number
  /** HTTP/2: requests on one connection at once. */
  maxConcurrentStreams: number
  connectMs: number
  /** How long a connection without a request is kept; 0 for ever. */
  idleMs: number
  /** After so long a connection takes no more requests, and closes after the last; 0 for no end. */
  maxConnectionMs: number
}>

/** One place that connections lead to. Requests share connections if and only if their keys are the same. */
export type PoolDestination = Readonly<{
  /** All that makes connections different: the endpoint, who we are to it, how it is reached. */
  key: string
  /** Whose limits count: a service and port and subset. */
  group: string
  /** What may go away as one, however it is reached: see `drain`. The key, where it is not given. */
  place?: string
  version: ConnectHttpOptions['version']
  policy: PoolPolicy
  limits?: Partial<HttpLimits>
  /** Opens the connection, HBONE, TLS and all. `leaving` is to be called when what it is carried by may not last: it is drained then. */
  dial(signal: AbortSignal, leaving: () => void): Promise<ByteStream>
}>
