import { z } from 'zod'
import type {
  ConnectionLimits,
  DestinationPolicy,
  HashKey,
  LoadBalancer,
  LocalityPolicy,
  OutlierPolicy,
  UpstreamTls,
} from './destination-policy.ts'
import { count, destination, ms, origin, percent, port, text } from './schema.ts'

const name = text.min(1)

/** What stands in a set-cookie of ours must not say more than it is meant to. */
const token = text.regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/)
const cookieText = text.regex(/^[\x20-\x3a\x3c-\x7e]*$/)

const hashKey: z.ZodType<HashKey> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['header', 'query']), name }),
  z.strictObject({ kind: z.literal('source-ip') }),
  z.strictObject({
    kind: z.literal('cookie'),
    name: token,
    path: cookieText.exactOptional(),
    ttlMs: ms.exactOptional(),
    attributes: z.array(z.strictObject({ name: token, value: cookieText })).exactOptional(),
  }),
])
const keys = z.array(hashKey)

/** Envoy's bounds: what is made of these numbers is memory. */
const ringSize = z.int().min(1).max(8_388_608)
const tableSize = z.int().min(2).max(5_000_011)

const loadBalancer: z.ZodType<LoadBalancer> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['least-request', 'round-robin', 'random', 'passthrough']) }),
  z.strictObject({ kind: z.literal('ring-hash'), minimumRingSize: ringSize, keys }),
  z.strictObject({ kind: z.literal('maglev'), tableSize, keys }),
])

const locality: z.ZodType<LocalityPolicy> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('service') }),
  z.strictObject({
    kind: z.literal('failover'),
    regions: z.array(z.strictObject({ from: text, to: text })),
  }),
  z.strictObject({
    kind: z.literal('failover-labels'),
    labels: z.array(z.strictObject({ key: name, value: text.exactOptional() })),
  }),
  z.strictObject({
    kind: z.literal('distribute'),
    shares: z.array(z.strictObject({ from: text, to: z.array(z.strictObject({ locality: text, percent })) })),
  }),
])

const connections: z.ZodType<ConnectionLimits> = z.strictObject({
  connectTimeoutMs: ms,
  maxConnections: count,
  maxPending: count,
  maxRequests: count,
  maxRetries: count,
  maxRequestsPerConnection: count,
  maxConcurrentStreams: count,
  tcpIdleTimeoutMs: ms,
  httpIdleTimeoutMs: ms,
  maxConnectionDurationMs: ms,
  tcpKeepAlive: z.strictObject({ probes: count, timeMs: ms, intervalMs: ms }).exactOptional(),
  http2KeepAlive: z.strictObject({ intervalMs: ms, timeoutMs: ms }).exactOptional(),
})

const outliers: z.ZodType<OutlierPolicy> = z.strictObject({
  consecutive5xx: count,
  consecutiveGatewayErrors: count,
  splitLocalOrigin: z.boolean(),
  consecutiveLocalOriginFailures: count,
  intervalMs: ms,
  baseEjectionMs: ms,
  maxEjectionMs: ms,
  maxEjectionPercent: percent,
  statuses: z.array(z.int().min(100).max(599)).exactOptional(),
})

const tls: z.ZodType<UpstreamTls> = z.strictObject({
  mode: z.enum(['simple', 'mutual']),
  sni: name.exactOptional(),
  subjectAltNames: z.array(name),
  trust: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('none'), reason: text }),
    z.strictObject({ kind: z.literal('system') }),
    z.strictObject({ kind: z.literal('pem'), pem: z.string() }),
    z.strictObject({ kind: z.literal('file'), path: name }),
    z.strictObject({ kind: z.literal('secret'), name }),
  ]),
  revocations: name.exactOptional(),
  client: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('files'), certificate: name, key: name }),
      z.strictObject({ kind: z.literal('secret'), name }),
    ])
    .exactOptional(),
  insecureSkipVerify: z.boolean(),
})

export const destinationPolicy: z.ZodType<DestinationPolicy> = z.strictObject({
  destination,
  labels: z.record(name, text).exactOptional(),
  origin: origin.exactOptional(),
  http: z.enum(['http1', 'http2', 'client']),
  loadBalancer,
  locality,
  warmup: z
    .strictObject({
      durationMs: ms,
      minimumPercent: z.number().min(0).max(100),
      aggression: z.number().positive(),
    })
    .exactOptional(),
  connections,
  outliers: outliers.exactOptional(),
  panicPercent: percent,
  retryBudget: z
    .strictObject({ percent: z.number().min(0).max(100), minConcurrency: count, intervalMs: ms })
    .exactOptional(),
  tls: tls.exactOptional(),
  tunnel: z.strictObject({ method: z.enum(['CONNECT', 'POST']), host: name, port }).exactOptional(),
  proxyProtocol: z.enum(['v1', 'v2']).exactOptional(),
})
