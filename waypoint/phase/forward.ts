import { sleep, type SocketAddress } from '#base'
import type { Body, SendOutcome } from '#http'
import {
  backoffMs,
  type DestinationPolicy,
  grpcTimeout,
  type RetryPolicy,
  retryRoom,
  shouldRetry,
  splitAuthority,
  type Timeouts,
  timeoutsOf,
  type TryOutcome,
  withAskedRetries,
  withAskedTimeouts,
} from '#routes'
import {
  askedHost,
  type Cluster,
  defaultPolicy,
  endpointAddress,
  type Host,
  isAnyAddress,
  isAnyName,
  namedHost,
  newHost,
  ReplayBody,
} from '../upstream/index.ts'
import { denied } from './authorise.ts'
import type { Answer, Call, Reply } from './call.ts'
import { watchRequest } from './grpc-messages.ts'
import { isGrpc, localReply, upstreamFailure } from './local-reply.ts'
import { mirrorTo } from './mirror.ts'
import { hashFor } from './request-hash.ts'
import { dropSteering, mayAsk } from './transform.ts'
import { type Attempt, failureWords, tryOnce, tryOutcome } from './try.ts'
import { Deadline } from './deadline.ts'

type Choice = Extract<Call['route'], { kind: 'forward' }>

/** Where the tries of one request go, and by what rules. */
type Sending = Readonly<{
  call: Call
  policy: DestinationPolicy
  /** Undefined where the address of a workload was asked for. */
  cluster: Cluster | undefined
  choose(tried: readonly Host[]): Host | undefined
  retry: RetryPolicy
  perTryMs: number
  body: ReplayBody | undefined
  /** Copies of the body are to be made when it is whole. */
  mirrors: boolean
  deadline: Deadline
  /** Of the answer when the time is over. */
  lateStatus: 204 | 504
}>

/** Sends the request on, as often as its rule allows, within the time that it allows. */
export function forward(call: Call, choice: Choice): Reply {
  const { exchange, facts, parts } = call
  const told = call.plan?.policyOf(choice.to) ?? defaultPolicy(choice.to.service, choice.to.port)
  const { target } = facts
  const cluster = target.kind === 'workload' ? undefined : parts.clusters.of(choice.to, told)
  const policy = cluster?.policy ?? told
  if (target.kind === 'service' && !cluster)
    return localReply(call, { status: 503, flag: 'NC', details: 'cluster_not_found' })
  const fixed = fixedHost(call, cluster, policy)
  if (fixed === 'none') return localReply(call, { status: 404, flag: 'NR', details: 'route_not_found' })
  const { retry, timeoutMs, perTryTimeoutMs: perTryMs, lateStatus } = askedOf(call, choice)
  const hasBody = exchange.body.length !== 0
  const mirrors = choice.action.mirrors.length > 0
  const source = isGrpc(call) ? watchRequest(call, exchange.body) : exchange.body
  const body = hasBody ? new ReplayBody(source, retry.attempts > 0 || mirrors) : undefined
  const deadline = new Deadline(timeoutMs, exchange.gone)
  call.cancel = () => deadline.cancel()
  // The clock starts when the whole request is here (facts: l7.md §3.2).
  if (body) body.onWhole(() => deadline.start())
  else deadline.start()
  if (mirrors) mirrorTo(call, choice, body)
  const hash = cluster && hashFor(call, policy)
  // Who hashes wants the same host again (Istio).
  const avoids = retry.avoidPreviousHosts && !('keys' in policy.loadBalancer)
  const choose = (tried: readonly Host[]) =>
    fixed ??
    cluster?.choose({
      hash,
      tried: avoids && tried.length > 0 ? new Set(tried) : undefined,
      leaving: retry.otherLocalities ? tried : undefined,
    })
  exchange.onEnd(() => deadline.stop())
  if (body) void exchange.ended.then(() => body.finish())
  return tries({ call, policy, cluster, choose, retry, perTryMs, body, mirrors, deadline, lateStatus })
}

type Asked = Readonly<{ retry: RetryPolicy; lateStatus: Sending['lateStatus'] }> & Timeouts

/** What the rule says of tries and times, and the caller, whose words go no further. */
function askedOf(call: Call, { action }: Choice): Asked {
  const { request } = call
  const asksNothing = !isGrpc(call) && !mayAsk(request.headers)
  // Copied first: that is fast, copying to what has something already is not.
  if (asksNothing) return { ...timeoutsOf(action), retry: action.retry, lateStatus: 504 }
  const retry = withAskedRetries(action.retry, request)
  const timeouts = withAskedTimeouts(action, request, isGrpc(call))
  const lateStatus = request.headers.has('x-envoy-upstream-rq-timeout-alt-response') ? 204 : 504
  dropSteering(call)
  return { ...timeouts, retry, lateStatus }
}

/** The one host that a request can go to, where it is not one of a cluster's: a pod, or what the client has used of names and addresses. */
function fixedHost(
  { facts: { target }, parts, request }: Call,
  cluster: Cluster | undefined,
  { destination }: DestinationPolicy,
): Host | undefined | 'none' {
  if (target.kind === 'workload') return newHost(target.workload, target.to.port, 0)
  if (cluster && isAnyAddress(cluster.service) && target.service.key === cluster.service.key)
    return askedHost(cluster.service, destination.port, target.judged, parts.leaving)
  if (!cluster || !isAnyName(cluster.service)) return undefined
  const { host } = splitAuthority(request.authority)
  return namedHost(cluster.service, destination.port, host, parts.leaving.network) ?? 'none'
}

/** A request's place among the retries that its destination may have at once: from the decision until what comes of it is known. */
class RetryPlace {
  readonly #cluster: Cluster | undefined
  #isTaken = false

  constructor(cluster: Cluster | undefined) {
    this.#cluster = cluster
  }

  take(): void {
    if (this.#isTaken || !this.#cluster) return
    this.#isTaken = true
    this.#cluster.retries++
  }

  leave(): void {
    if (this.#isTaken && this.#cluster) this.#cluster.retries--
    this.#isTaken = false
  }

  [Symbol.dispose](): void {
    this.leave()
  }
}

async function tries(sending: Sending): Promise<Answer> {
  const { call, cluster, choose, retry, body, deadline, policy } = sending
  const tried: Host[] = []
  using place = new RetryPlace(cluster)
  for (;;) {
    call.tries++
    const host = choose(tried)
    if (!host)
      return localReply(call, {
        status: 503,
        body: 'no healthy upstream',
        flag: 'UH',
        details: 'no_healthy_upstream',
      })
    const to = endpointAddress(host, cluster?.service, call.parts.leaving.address)
    // The endpoint's own policies, asked about who really calls.
    const refusedBy = to && call.permit?.reach(host.workload, to, cluster)
    if (refusedBy !== undefined) return denied(call, refusedBy)
    tellTime(sending)
    const attempt = await attemptOn(sending, host, to)
    place.leave()
    if (isOver(call)) return overBefore(call, attempt.outcome)
    const ending = tryOutcome(attempt)
    const room = !cluster || retryRoom(policy, cluster.measure())
    const decision = shouldRetry(retry, ending, {
      tries: call.tries,
      replayable: body?.replayable !== false,
      responded: call.exchange.responded,
      room,
    })
    if (!decision.retry) {
      if (decision.why === 'exhausted') call.flags.push('URX')
      if (decision.why === 'no-room') call.flags.push('UO')
      if (!sending.mirrors) body?.settle()
      return answerOf(sending, attempt, ending)
    }
    drop(attempt.outcome)
    tried.push(host)
    place.take()
    const waitMs = backoffMs(retry, call.tries, call.parts.random)
    await sleep(waitMs, deadline.signal).catch(() => undefined)
    if (isOver(call)) return overBefore(call)
    if (deadline.expired) return timedOut(sending, 'response_timeout')
    if (ending.kind === 'per-try-timeout') call.request.headers.set('x-envoy-is-timeout-retry', 'true')
    else call.request.headers.delete('x-envoy-is-timeout-retry')
  }
}

/** How long the upstream has for this try; gRPC has a field of its own for that. */
function tellTime({ call, perTryMs, deadline: { left } }: Sending): void {
  const ms = perTryMs > 0 ? Math.min(perTryMs, left ?? perTryMs) : left
  if (ms === undefined) return
  const { headers } = call.request
  headers.set('x-envoy-expected-rq-timeout-ms', `${ms}`)
  if (isGrpc(call)) headers.set('grpc-timeout', grpcTimeout(ms))
}

const isOver = ({ exchange, revokedBy, stalled }: Call) =>
  exchange.gone.aborted || revokedBy !== undefined || stalled

/** It has ended before its answer; one that stood still is told (facts: l7.md §3.2). */
function overBefore(call: Call, outcome?: SendOutcome): Answer {
  if (outcome) drop(outcome)
  if (!call.stalled) return { kind: 'gone' }
  const status = call.exchange.marks.requestEndedAt > 0 ? 504 : 408
  return localReply(call, { status, body: 'stream timeout', flag: 'SI', details: 'stream_idle_timeout' })
}

/** What changes nothing, however often it is asked (RFC 9110 §9.2.1). */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/**
 * A kept connection that ends as the request is written says nothing about the request, nor about the host: one that may
 * be repeated is sent once more, whatever the rule says of retries (RFC 9112 §9.3.1; every client of HTTP does so).
 */
const isRepeated = ({ call, body }: Sending, { outcome, cause }: Attempt): boolean =>
  outcome.kind === 'failure' &&
  outcome.stale === true &&
  cause === undefined &&
  safeMethods.has(call.request.method) &&
  call.request.upgrade === undefined &&
  body?.replayable !== false &&
  !call.exchange.responded

/** One try: counted on its host, and told to outlier detection. `first`: it may be repeated. */
async function attemptOn(
  sending: Sending,
  host: Host,
  to: SocketAddress | undefined,
  first = true,
): Promise<Attempt> {
  const { call, cluster, policy, body, deadline, perTryMs } = sending
  const next: Body | undefined = body?.next()
  host.active++
  cluster?.began()
  const onWhole = body && ((run: () => void) => body.onWhole(run))
  const attempt = await tryOnce({ call, host, to, cluster, policy, body: next, deadline, perTryMs, onWhole })
  const over = () => {
    host.active--
    if (cluster) cluster.requests--
  }
  const { outcome } = attempt
  if (outcome.kind === 'response') {
    const { status, headers } = outcome.response.head
    const grpc = headers.get('grpc-status')
    const grpcStatus = grpc === undefined ? undefined : Number(grpc)
    cluster?.report(host, { kind: 'response', status, grpcStatus })
    call.exchange.onEnd(over)
  } else {
    over()
    if (first && isRepeated(sending, attempt)) return attemptOn(sending, host, to, false)
    const isHosts = outcome.reason !== 'pool-overflow' && outcome.reason !== 'local-reset'
    const isLate = attempt.cause === 'timeout' || attempt.cause === 'per-try-timeout'
    if (isHosts || isLate) cluster?.report(host, { kind: 'local-failure' })
  }
  return attempt
}

function drop(outcome: SendOutcome): void {
  if (outcome.kind === 'response') outcome.response.reset('local-reset')
}

function answerOf(sending: Sending, { outcome }: Attempt, ending: TryOutcome): Answer {
  const { call } = sending
  if (outcome.kind === 'response') {
    call.details = 'via_upstream'
    const { response } = outcome
    return { kind: 'upstream', status: response.head.status, headers: response.head.headers, response }
  }
  if (ending.kind === 'timeout') return timedOut(sending, 'response_timeout')
  if (ending.kind === 'per-try-timeout') return timedOut(sending, 'upstream_per_try_timeout')
  return upstreamFailure(call, failureWords(outcome.reason))
}

function timedOut({ call, lateStatus: status }: Sending, details: string): Answer {
  const body = status === 204 ? '' : 'upstream request timeout'
  return localReply(call, { status, body, flag: 'UT', details })
}
