import type { SocketAddress } from '#base'
import type { Exchange, HeaderList, HttpPool, HttpVersion, RequestHead, Response } from '#http'
import type { SpiffeId } from '#identity'
import type { Service, Workload } from '#mesh'
import type { Caller, RouteChoice } from '#routes'
import type { Logger } from '#telemetry'
import type { Permit, Permits } from '../permits.ts'
import type { PortPlan } from '../route/index.ts'
import type { Accepted } from '../target/index.ts'
import type { Cluster, Clusters, Host, Leaving } from '../upstream/index.ts'
import type { RequestLog, RequestMetrics, ToldTelemetry } from '../telemetry/index.ts'
import type { GrpcMessages } from './grpc-messages.ts'

/** What all requests of the process share. */
export type HttpParts = Readonly<{
  pool: HttpPool
  clusters: Clusters
  permits: Permits
  leaving: Leaving
  metrics: RequestMetrics
  accessLog: RequestLog
  /** What is different of the series of a request. */
  variants: ToldTelemetry['variants']
  log: Logger
  /** Ours. */
  identity: SpiffeId
  random: () => number
}>

/** What the requests of one connection share: who sends them, and what it asked for, as that is now. */
export type HttpFacts = Readonly<{
  peer: SpiffeId
  client: SocketAddress
  /** Where the connection came in. */
  local: SocketAddress
  source: Workload | undefined
  caller: Caller
  target: Accepted
  service: Service | undefined
  /** The routes of now; undefined: they cannot be read. */
  plan: () => PortPlan | undefined
  /** Why it is not served any more. */
  lost: string | undefined
}>

/** Where a request was sent. */
type Sent = Readonly<{ cluster: Cluster | undefined; host: Host; to: SocketAddress | undefined }>

/** One request on its way through the phases, which change it as they go. */
export type Call = {
  readonly exchange: Exchange
  readonly facts: HttpFacts
  readonly parts: HttpParts
  /** By what its client says of its body. */
  readonly isGrpc: boolean
  /** As it is now: normalised, rewritten, its own copy of the headers. */
  request: RequestHead & { headers: HeaderList }
  /** By leave of policies, from when it has been judged. */
  permit: Permit | undefined
  /** The policy that ended it. */
  revokedBy: string | undefined
  /** It was ended because nothing moved in it. */
  stalled: boolean
  /** Ends what goes on upstream. */
  cancel: (() => void) | undefined
  /** The routes that the request is judged by, to its end. */
  plan: PortPlan | undefined
  route: RouteChoice | undefined
  /** Envoy's response flags, in the order in which they were earned. */
  readonly flags: string[]
  details: string
  /** To be set by the answer. */
  readonly cookies: string[]
  sent: Sent | undefined
  tries: number
  /** Of the upstream: milliseconds from the request to its headers. */
  serviceMs: number | undefined
  transportFailure: string | undefined
  /** What the upstream was spoken to in; undefined where nothing was said to it. */
  upstreamVersion: HttpVersion | undefined
  status: number
  grpcStatus: string | undefined
  /** The messages of a call of gRPC that is sent on. */
  grpc: GrpcMessages | undefined
}

/** What a request is answered with. */
export type Answer =
  | Readonly<{ kind: 'local'; status: number; headers: HeaderList; body: string | Buffer }>
  | Readonly<{ kind: 'upstream'; status: number; headers: HeaderList; response: Response }>
  /** Nobody is there any more to be answered, or the answer is to be broken off. */
  | Readonly<{ kind: 'gone' }>

/** What comes of a request, now or later: who does not have to wait costs no promise. */
export type Reply = Answer | Promise<Answer>

/** The steps after one of them. */
export type Next = (call: Call) => Reply

/** One step of a request: it answers, or lets the next ones answer and looks at what they say. */
export type Phase = (call: Call, next: Next) => Reply
