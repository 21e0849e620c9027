import type { ConnectionLimits, DestinationPolicy } from './destination-policy.ts'
import type { Destination, HeaderOps, HttpRule, L4Rule, Origin, RetryPolicy } from './model.ts'

/** Istio's for "no limit" in circuit breakers. */
const unlimited = 2 ** 32 - 1
const hourMs = 3_600_000

/** Nothing is changed of a message. */
export const noHeaders: HeaderOps = { set: [], add: [], remove: [] }

/** Istio's retries where a route says nothing of them (facts: l7.md §2.1, §3.1). */
export const usualRetry: RetryPolicy = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
  statuses: [],
  perTryTimeoutMs: 0,
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  avoidPreviousHosts: true,
  otherLocalities: false,
}

const usualConnections: ConnectionLimits = {
  connectTimeoutMs: 10_000,
  maxConnections: unlimited,
  maxPending: unlimited,
  maxRequests: unlimited,
  maxRetries: unlimited,
  maxRequestsPerConnection: 0,
  maxConcurrentStreams: 2 ** 31 - 1,
  tcpIdleTimeoutMs: hourMs,
  httpIdleTimeoutMs: hourMs,
  maxConnectionDurationMs: 0,
}

/** How a destination is called where nobody says anything about it (facts: l7.md §3.2, §3.5, §3.6). */
export const usualPolicy = (
  destination: Destination,
  http: DestinationPolicy['http'] = 'client',
): DestinationPolicy => ({
  destination,
  http,
  loadBalancer: { kind: 'least-request' },
  locality: { kind: 'service' },
  connections: usualConnections,
  // Endpoints that are not ready never get a request from Istio, so there is no health to ignore.
  panicPercent: 0,
})

/** HTTP to a service without routes. */
export const usualHttpRule = (to: Destination, origin: Origin): HttpRule => ({
  name: 'default',
  origin,
  match: {},
  action: {
    kind: 'forward',
    destinations: [{ weight: 1, to, requestHeaders: noHeaders, responseHeaders: noHeaders }],
    mirrors: [],
    timeoutMs: 0,
    retry: usualRetry,
  },
  requestHeaders: noHeaders,
  responseHeaders: noHeaders,
})

/** Everything else to a service without routes. */
export const usualL4Rule = (to: Destination, origin: Origin): L4Rule => ({
  name: 'default',
  origin,
  match: {},
  destinations: [{ weight: 1, to }],
})
