import type {
  Destination,
  DestinationPolicy,
  Forward,
  HttpMatch,
  HttpRule,
  RouteRequest,
  ServiceRoutes,
} from '../../../lib/routes/index.ts'

export const noHeaders = { set: [], add: [], remove: [] }

export const to = (service: string, port = 80): Destination => ({
  kind: 'service',
  service: `shop/${service}.shop.svc.cluster.local`,
  port,
})

export const forward = (...services: readonly string[]): Forward => ({
  kind: 'forward',
  destinations: services.map((service) => ({
    weight: 1,
    to: to(service),
    requestHeaders: noHeaders,
    responseHeaders: noHeaders,
  })),
  mirrors: [],
  timeoutMs: 0,
  retry: {
    attempts: 2,
    on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
    statuses: [],
    perTryTimeoutMs: 0,
    backoffBaseMs: 25,
    backoffMaxMs: 250,
    avoidPreviousHosts: true,
    otherLocalities: false,
  },
})

export const rule = (
  name: string,
  match: HttpMatch,
  action: HttpRule['action'] = forward(name),
): HttpRule => ({
  name,
  origin: { kind: 'HTTPRoute', name: 'shop/order' },
  match,
  action,
  requestHeaders: noHeaders,
  responseHeaders: noHeaders,
})

export const policy = (destination: Destination): DestinationPolicy => ({
  destination,
  http: 'http1',
  loadBalancer: { kind: 'least-request' },
  locality: { kind: 'service' },
  connections: {
    connectTimeoutMs: 10_000,
    maxConnections: 4_294_967_295,
    maxPending: 4_294_967_295,
    maxRequests: 4_294_967_295,
    maxRetries: 4_294_967_295,
    maxRequestsPerConnection: 0,
    maxConcurrentStreams: 2_147_483_647,
    tcpIdleTimeoutMs: 3_600_000,
    httpIdleTimeoutMs: 3_600_000,
    maxConnectionDurationMs: 0,
  },
  panicPercent: 0,
})

export const orderName = 'shop/order.shop.svc.cluster.local'

/** One port with these rules, and the policies of `a` and `b`. */
export const routes = (...http: readonly HttpRule[]): ServiceRoutes => ({
  version: 1,
  service: orderName,
  ports: [{ port: 80, protocol: 'http', http, l4: [] }],
  policies: [policy(to('a')), policy(to('b'))],
})

/** `GET /path`, with headers of one value each. */
export const request = (
  path: string,
  headers: Readonly<Record<string, string>> = {},
  rest: Partial<Omit<RouteRequest, 'headers'>> = {},
): RouteRequest => ({
  method: 'GET',
  scheme: 'http',
  authority: 'order',
  path,
  headers: { joined: (name) => (Object.hasOwn(headers, name) ? headers[name] : undefined) },
  ...rest,
})
