/**
 * What a waypoint must know of a service's routes: the one model that all front ends compile to and the data plane obeys.
 * It travels as JSON in an xDS resource named like the service's Address. The compiler fills in every default (usual.ts);
 * none is left to the reader. Durations are integer milliseconds, 0 is off. Order is precedence: first match wins.
 */

import type { DestinationPolicy } from './destination-policy.ts'

/** xDS type URL of `ServiceRoutes`. */
export const serviceRoutesTypeUrl = 'type.googleapis.com/lateen.dev.ServiceRoutes'
/** The version of this model; a payload of another one is not understood. */
export const modelVersion = 1

/** What a waypoint subscribes to: the routes of all services that are bound to it. Not a possible name of a service. */
export const waypointKey = (namespace: string, name: string): string => `waypoint:${namespace}/${name}`

/** Everything about one service, whole in itself: policies of the destinations of its rules included. */
export type ServiceRoutes = Readonly<{
  version: typeof modelVersion
  /** `namespace/hostname`, the name of the resource and of the service's Address. */
  service: string
  /** One per port of the service, in order of their numbers. */
  ports: readonly PortRoutes[]
  /** Exactly one per destination that the rules can choose; see `policyKey`. */
  policies: readonly DestinationPolicy[]
}>

/** What is spoken on a port, as its owner declared it; `auto` is to be found out. `http` is HTTP of any version. */
export type Protocol = 'http' | 'tls' | 'tcp' | 'auto'

/** What more than BASE is done to paths before anybody looks at them: `//` is `/`; first, what is escaped as one is a slash. */
export type PathSpelling = 'merge-slashes' | 'decode-and-merge-slashes'

/** A port without routes has one rule that matches everything and forwards to the service itself. */
export type PortRoutes = Readonly<{
  /** Of the service. */
  port: number
  protocol: Protocol
  /** Not there: as Istio's BASE has it. */
  paths?: PathSpelling
  /** For HTTP requests. No rule matches: 404, NR. */
  http: readonly HttpRule[]
  /** For connections that are not HTTP, those with an SNI first. No rule matches: closed. */
  l4: readonly L4Rule[]
}>

/** Which object a part comes from, for logs, status and explanations. */
export type Origin = Readonly<{
  kind:
    | 'HTTPRoute'
    | 'GRPCRoute'
    | 'TLSRoute'
    | 'TCPRoute'
    | 'VirtualService'
    | 'DestinationRule'
    | 'Service'
    | 'ServiceEntry'
  /** `namespace/name`. */
  name: string
  /** Of the rule in its object, from 0. */
  rule?: number
  /** Of the match in its rule, from 0. */
  match?: number
}>

// HTTP

export type HttpRule = Readonly<{
  /** What logs call it: the name of the rule where it has one. */
  name: string
  origin: Origin
  /** All parts of it must hold; one that is not there holds. */
  match: HttpMatch
  action: HttpAction
  /** Applied to what is sent upstream; nothing for redirects and direct responses. */
  requestHeaders: HeaderOps
  /** Applied to what is sent back, after the upstream's own headers. */
  responseHeaders: HeaderOps
  fault?: Fault
  cors?: Cors
}>

/** The port is that of the `PortRoutes`. Names of headers are in lower case. */
export type HttpMatch = Readonly<{
  path?: PathMatch
  /** Exact and prefix only. */
  ignorePathCase?: boolean
  method?: TextMatch
  scheme?: TextMatch
  /** The host that the client named, its port included if it named one. */
  authority?: TextMatch
  headers?: readonly HeaderMatch[]
  query?: readonly QueryMatch[]
  claims?: readonly ClaimMatch[]
  source?: SourceMatch
}>

/** On the path without its query. */
export type PathMatch =
  /** `/a` is `/a`. */
  | Readonly<{ kind: 'exact'; value: string }>
  /** `/a` is `/a`, `/a/`, `/a/b`, never `/ab`. Without a slash at its end; `/` is everything. */
  | Readonly<{ kind: 'segments'; value: string }>
  /** `/a` is `/ab` too. */
  | Readonly<{ kind: 'prefix'; value: string }>
  /** RE2, of the whole path. */
  | Readonly<{ kind: 'regex'; value: string }>

/** A regex is RE2's and of the whole text. */
export type TextMatch = Readonly<{ kind: 'exact' | 'prefix' | 'suffix' | 'regex'; value: string }>
export type PresenceMatch = TextMatch | Readonly<{ kind: 'present' }>

/** Several values of one header are judged as one text, joined by commas. */
export type HeaderMatch = Readonly<{
  name: string
  value: PresenceMatch
  /** Holds where `value` does not. */
  negated?: boolean
  /** A header that is not there counts as an empty one (for `value`, before the negation). */
  missingIsEmpty?: boolean
}>
/** Of a parameter that is there several times the first value counts. Names are case sensitive. */
export type QueryMatch = Readonly<{ name: string; value: PresenceMatch }>
/** A claim of the JWT that was verified; of a list any member. */
export type ClaimMatch = Readonly<{ path: readonly string[]; value: PresenceMatch; negated?: boolean }>
/** By the caller's identity as its certificate proves it, and the workload that the mesh knows by it. */
export type SourceMatch = Readonly<{
  namespace?: string
  /** `spiffe://…`, exact. */
  principal?: string
  labels?: Readonly<Record<string, string>>
}>

export type HttpAction = Forward | Redirect | Respond | NotFound

export type Forward = Readonly<{
  kind: 'forward'
  /** One is drawn by weight for each request. None, or weights of 0 only: 500. */
  destinations: readonly WeightedDestination[]
  rewrite?: Rewrite
  mirrors: readonly Mirror[]
  /** From the request's last byte to the response's, retries included. */
  timeoutMs: number
  retry: RetryPolicy
}>

export type WeightedDestination = Readonly<{
  weight: number
  to: Destination | InvalidDestination
  /** After those of the rule. */
  requestHeaders: HeaderOps
  responseHeaders: HeaderOps
  /** Each part in place of the rule's. */
  rewrite?: Rewrite
  /** In place of forwarding (a redirect of one backend). */
  redirect?: Redirect
}>

/** Where to: endpoints come from the Address of the service. */
export type Destination = Readonly<{
  kind: 'service'
  /** `namespace/hostname`. */
  service: string
  /** Of that service. */
  port: number
  subset?: string
}>

/** A share of the traffic that was asked for something that is not there. HTTP: the status; otherwise a reset. */
export type InvalidDestination = Readonly<{
  kind: 'invalid'
  status: number
  /** Envoy's response flag: NC for a subset that nobody defined. */
  flag?: 'NC'
  /** For people. */
  reason: string
}>

export type Rewrite = Readonly<{ authority?: string; path?: PathRewrite }>
/** The query is kept. */
export type PathRewrite =
  | Readonly<{ kind: 'full'; value: string }>
  /** In place of what the rule's `segments` or `prefix` match matched, by the rules of that kind. */
  | Readonly<{ kind: 'prefix'; value: string }>
  /** RE2; every occurrence; `\1` in the substitution is the first group. */
  | Readonly<{ kind: 'regex'; pattern: string; substitution: string }>

/** What is not said is as the client asked. */
export type Redirect = Readonly<{
  kind: 'redirect'
  status: number
  scheme?: string
  /** Without a port. */
  host?: string
  /** A number; the default of the scheme, which is not written; or the one in the client's authority, if any. */
  port: number | 'scheme' | 'request'
  path?: Exclude<PathRewrite, Readonly<{ kind: 'regex' }>>
}>

/** A response of the waypoint's own. */
export type Respond = Readonly<{
  kind: 'respond'
  status: number
  /** Base64. */
  body?: string
  /** Why, if it is not what the user wrote: an unreadable part, an extension that is not there. */
  problem?: string
}>

/** As if no rule had matched, and no later one is looked at. */
type NotFound = Readonly<{ kind: 'not-found' }>

/** In the order remove, set, add for one name is never needed: a name is in one list only. Names are in lower case. */
export type HeaderOps = Readonly<{
  set: readonly HeaderValue[]
  add: readonly HeaderValue[]
  remove: readonly string[]
}>
/** `template`: Envoy's `%…%` operators are to be filled in; otherwise the value is as it stands. */
export type HeaderValue = Readonly<{ name: string; value: string; template?: boolean }>

/** Millionths of what comes by: 0 never, 1 000 000 always. */
export type PartsPerMillion = number

export type Mirror = Readonly<{ to: Destination | InvalidDestination; ppm: PartsPerMillion }>

export type Fault = Readonly<{
  delay?: Readonly<{ ppm: PartsPerMillion; delayMs: number }>
  abort?: Readonly<{ ppm: PartsPerMillion; with: FaultStatus }>
}>
export type FaultStatus = Readonly<{ kind: 'http' | 'grpc'; status: number }>

export type RetryCondition =
  | '5xx'
  | 'gateway-error'
  | 'reset'
  | 'reset-before-request'
  | 'connect-failure'
  | 'envoy-ratelimited'
  | 'retriable-4xx'
  | 'refused-stream'
  /** Of `statuses`. */
  | 'retriable-status-codes'
  /** Of `headers`. */
  | 'retriable-headers'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'internal'
  | 'resource-exhausted'
  | 'unavailable'

export type RetryPolicy = Readonly<{
  /** After the first try; 0: none. */
  attempts: number
  on: readonly RetryCondition[]
  statuses: readonly number[]
  /** Names, in lower case; only callers ask for them. */
  headers?: readonly string[]
  /** One try; 0: only the rule's timeout. */
  perTryTimeoutMs: number
  backoffBaseMs: number
  backoffMaxMs: number
  avoidPreviousHosts: boolean
  /** May leave the locality after two tries. */
  otherLocalities: boolean
}>

export type Cors = Readonly<{
  allowOrigins: readonly CorsOrigin[]
  allowMethods: readonly string[]
  allowHeaders: readonly string[]
  exposeHeaders: readonly string[]
  maxAgeSeconds?: number
  allowCredentials: boolean
  /** What a preflight of an origin that is not allowed gets: an answer without CORS headers, or the upstream's. */
  unmatchedPreflights: 'answer' | 'forward'
  /** `*` among methods and headers: the word itself, or what was asked for (for requests with credentials). */
  wildcards: 'verbatim' | 'echo'
}>
export type CorsOrigin = TextMatch | Readonly<{ kind: 'any' }>

// Connections

export type L4Rule = Readonly<{
  name: string
  origin: Origin
  match: L4Match
  destinations: readonly WeightedTarget[]
}>
export type L4Match = Readonly<{
  /** Names of the client hello, in lower case; `*.x` is any name below x. Not there: also connections without TLS. */
  sni?: readonly string[]
  source?: SourceMatch
}>
/** One is drawn by weight for each connection. None, or weights of 0 only, or an invalid one: reset. */
export type WeightedTarget = Readonly<{ weight: number; to: Destination | InvalidDestination }>

/** What a policy is found by. */
export const policyKey = ({ service, port, subset = '' }: Destination): string =>
  `${service}|${port}|${subset}`
