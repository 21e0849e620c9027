import type {
  ConnectionLimits,
  Destination,
  DestinationPolicy,
  Forward,
  HeaderOps,
  HttpRule,
  L4Rule,
  OutlierPolicy,
  RetryPolicy,
} from '#routes'
import type { RoutedPort, RoutedService } from './routed-service.ts'

/** Istio's for "no limit" in circuit breakers. */
const unlimited = 2 ** 32 - 1
const hourMs = 3_600_000

export const noHeaders: HeaderOps = { set: [], add: [], remove: [] }

/** Istio's retries where a route says nothing of them. */
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

/** Did nobody say what is tried again? Whoever reads that makes a list of statuses of its own, if only an empty one. */
export const isUnsaid = ({ statuses }: RetryPolicy): boolean => statuses === usualRetry.statuses

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

/** What an outlierDetection leaves unsaid; without one there is none. */
export const usualOutliers: OutlierPolicy = {
  consecutive5xx: 5,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 10,
}

/** How a destination is called where nobody says anything about it. `port` is undefined for one that is not there. */
export const usualPolicy = (
  destination: Destination,
  port: Pick<RoutedPort, 'http'> | undefined,
): DestinationPolicy => ({
  destination,
  http: port?.http ?? 'client',
  loadBalancer: { kind: 'least-request' },
  locality: { kind: 'service' },
  connections: usualConnections,
  // Endpoints that are not ready never get a request from Istio, so there is no health to ignore.
  panicPercent: 0,
})

/** To one destination, without any wishes. */
const forwardTo = (to: Destination): Forward => ({
  kind: 'forward',
  destinations: [{ weight: 1, to, requestHeaders: noHeaders, responseHeaders: noHeaders }],
  mirrors: [],
  timeoutMs: 0,
  retry: usualRetry,
})

export const toItself = ({ name }: RoutedService, port: number): Destination => ({
  kind: 'service',
  service: name,
  port,
})

/** HTTP to a service without routes. */
export const usualHttp = (service: RoutedService, port: number): HttpRule => ({
  name: 'default',
  origin: { kind: service.kind, name: service.key },
  match: {},
  action: forwardTo(toItself(service, port)),
  requestHeaders: noHeaders,
  responseHeaders: noHeaders,
})

/** Everything else to a service without routes. */
export const usualL4 = (service: RoutedService, port: number): L4Rule => ({
  name: 'default',
  origin: { kind: service.kind, name: service.key },
  match: {},
  destinations: [{ weight: 1, to: toItself(service, port) }],
})
