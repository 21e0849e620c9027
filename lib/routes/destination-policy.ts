import type { Destination, Origin } from './model.ts'

/** How one port of a service, or of a subset of it, is called. */
export type DestinationPolicy = Readonly<{
  destination: Destination
  /** Of endpoints of the subset. */
  labels?: Readonly<Record<string, string>>
  origin?: Origin
  /** `client`: the version that the client speaks. */
  http: 'http1' | 'http2' | 'client'
  loadBalancer: LoadBalancer
  locality: LocalityPolicy
  warmup?: Readonly<{ durationMs: number; minimumPercent: number; aggression: number }>
  connections: ConnectionLimits
  outliers?: OutlierPolicy
  /** Share of healthy endpoints below which health is ignored; 0: never. */
  panicPercent: number
  /** In place of `maxRetries`: a share of the requests under way, or of those of the last while. */
  retryBudget?: Readonly<{ percent: number; minConcurrency: number; intervalMs: number }>
  /** To the application itself, inside or in place of the mesh's own. */
  tls?: UpstreamTls
  /** Through an HTTP proxy, which the destination then is. */
  tunnel?: Readonly<{ method: 'CONNECT' | 'POST'; host: string; port: number }>
  proxyProtocol?: 'v1' | 'v2'
}>

export type LoadBalancer =
  | Readonly<{ kind: 'least-request' | 'round-robin' | 'random' | 'passthrough' }>
  | Readonly<{ kind: 'ring-hash'; minimumRingSize: number; keys: readonly HashKey[] }>
  | Readonly<{ kind: 'maglev'; tableSize: number; keys: readonly HashKey[] }>

/** The hashes of those that are there are combined; none is: random. */
export type HashKey =
  | Readonly<{ kind: 'header' | 'query'; name: string }>
  | Readonly<{ kind: 'source-ip' }>
  /** With a time to live (0: of the session) it is made for a client that has none. */
  | Readonly<{
      kind: 'cookie'
      name: string
      path?: string
      ttlMs?: number
      attributes?: readonly Readonly<{ name: string; value: string }>[]
    }>

export type LocalityPolicy =
  /** As the service's Address says (`trafficDistribution`), else all alike. */
  | Readonly<{ kind: 'service' }>
  /** Closest first by region, zone, subzone; `regions` says which region stands in for one. */
  | Readonly<{ kind: 'failover'; regions: readonly Readonly<{ from: string; to: string }>[] }>
  /** First those that have all labels in common with the waypoint (or the values given), then all but the last, … */
  | Readonly<{ kind: 'failover-labels'; labels: readonly Readonly<{ key: string; value?: string }>[] }>
  /** Percentages by where the waypoint is; `region/zone/*`, in the order in which they are looked at. */
  | Readonly<{
      kind: 'distribute'
      shares: readonly Readonly<{
        from: string
        to: readonly Readonly<{ locality: string; percent: number }>[]
      }>[]
    }>

/** Of one waypoint process. */
export type ConnectionLimits = Readonly<{
  connectTimeoutMs: number
  maxConnections: number
  /** Requests that wait for a connection. */
  maxPending: number
  maxRequests: number
  maxRetries: number
  /** 0: no limit. */
  maxRequestsPerConnection: number
  maxConcurrentStreams: number
  tcpIdleTimeoutMs: number
  httpIdleTimeoutMs: number
  /** 0: none. */
  maxConnectionDurationMs: number
  tcpKeepAlive?: Readonly<{ probes: number; timeMs: number; intervalMs: number }>
  http2KeepAlive?: Readonly<{ intervalMs: number; timeoutMs: number }>
}>

/** A number of 0 is off. */
export type OutlierPolicy = Readonly<{
  consecutive5xx: number
  consecutiveGatewayErrors: number
  /** Counted apart from what the upstream answers, rather than as a 5xx. */
  splitLocalOrigin: boolean
  consecutiveLocalOriginFailures: number
  intervalMs: number
  baseEjectionMs: number
  maxEjectionMs: number
  maxEjectionPercent: number
  /** Statuses that count in place of 5xx. */
  statuses?: readonly number[]
}>

export type UpstreamTls = Readonly<{
  mode: 'simple' | 'mutual'
  /** Not there: the authority of the request. */
  sni?: string
  /** One of them must be in the certificate (DNS names or URIs). None: the SNI must. */
  subjectAltNames: readonly string[]
  trust: TlsTrust
  /** A file of revocation lists, in the waypoint's container: one for each authority of a chain. */
  revocations?: string
  /** Mutual only. */
  client?: TlsClient
  insecureSkipVerify: boolean
}>
export type TlsTrust =
  /** Nobody: what was asked for cannot be read, or not be done. */
  | Readonly<{ kind: 'none'; reason: string }>
  | Readonly<{ kind: 'system' }>
  | Readonly<{ kind: 'pem'; pem: string }>
  /** In the waypoint's container. */
  | Readonly<{ kind: 'file'; path: string }>
  /** In the waypoint's namespace. */
  | Readonly<{ kind: 'secret'; name: string }>
export type TlsClient =
  | Readonly<{ kind: 'files'; certificate: string; key: string }>
  | Readonly<{ kind: 'secret'; name: string }>
