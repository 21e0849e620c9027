/** Every number that bounds a connection of HTTP, either role. All may be changed per connection. */
export type HttpLimits = Readonly<{
  /** One message head, and the trailers of one message, in bytes as they came. Envoy: 60 KiB, more is 431. */
  maxHeaderBytes: number
  /** Envoy: 100, more is 431. */
  maxHeaderFields: number
  /** Chunk extensions of one message, which nobody reads (CVE-2024-22019). */
  maxChunkExtensionBytes: number
  /** Interim answers before the final one. */
  maxInterim: number
  /** From the first byte of a request's head to its last. */
  headMs: number
  /** A connection without a request (Envoy: 1 h). */
  idleMs: number
  /** HTTP/1.1: how long a connection that drains waits for a request, whose answer tells the client (Istio's terminationDrainDuration). */
  drainIdleMs: number
  /** How long a peer that has read our last answer may take to close. */
  lingerMs: number
  /** HTTP/2: how often the peer is asked whether it is there (0: never), and how long it may say nothing then. */
  keepAliveMs: number
  keepAliveTimeoutMs: number
  /** HTTP/2: requests that a peer may have open at once. Clients wait for room where they need more, calls that never end for ever (Envoy: 1,024). */
  maxStreams: number
  /** HTTP/2: the fields of all of them. */
  maxHeldHeaderBytes: number
  /** HTTP/2: what a peer may send of one request, and of all of a connection, before somebody reads it. */
  streamWindow: number
  connectionWindow: number
}>

export const defaultHttpLimits: HttpLimits = {
  maxHeaderBytes: 60 << 10,
  maxHeaderFields: 100,
  maxChunkExtensionBytes: 16 << 10,
  maxInterim: 16,
  headMs: 60_000,
  idleMs: 3_600_000,
  drainIdleMs: 5_000,
  lingerMs: 1_000,
  keepAliveMs: 0,
  keepAliveTimeoutMs: 20_000,
  maxStreams: 1_024,
  maxHeldHeaderBytes: 4 << 20,
  streamWindow: 1 << 20,
  connectionWindow: 2 << 20,
}

export const httpLimitsOf = (given: Partial<HttpLimits> = {}): HttpLimits => ({
  ...defaultHttpLimits,
  ...given,
})
