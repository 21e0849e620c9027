import type { Exchange } from '#http'
import { admit } from './phase/admit.ts'
import { authenticate } from './phase/authenticate.ts'
import { authorise } from './phase/authorise.ts'
import type { Call, HttpFacts, HttpParts, Next, Phase } from './phase/call.ts'
import { route } from './phase/choose-route.ts'
import { cors } from './phase/cors.ts'
import { fault } from './phase/fault.ts'
import { isGrpcType } from './phase/local-reply.ts'
import { normalise } from './phase/normalise.ts'
import { record } from './phase/record.ts'
import { respond } from './phase/respond.ts'
import { transform } from './phase/transform.ts'
import { upstream } from './phase/upstream.ts'

/**
 * What a request goes through, in this order; each may answer, and those before it see the answer. A route is chosen
 * before faults, because they are its rule's; what it says is done at the end.
 */
const phases: readonly Phase[] = [
  record,
  respond,
  admit,
  normalise,
  authenticate,
  authorise,
  route,
  fault,
  cors,
  transform,
  upstream,
]

/** Each with those after it: put together once, not per request. */
const way = phases.reduceRight<Next>(
  (next, phase) => (call) => phase(call, next),
  () => ({ kind: 'gone' }),
)

/** Answers one request. Never rejects. */
export async function handleRequest(exchange: Exchange, facts: HttpFacts, parts: HttpParts): Promise<void> {
  const { request } = exchange
  const call: Call = {
    exchange,
    facts,
    parts,
    isGrpc: isGrpcType(request.headers.get('content-type')),
    request: { ...request, headers: request.headers.copy() },
    permit: undefined,
    revokedBy: undefined,
    stalled: false,
    cancel: undefined,
    plan: facts.plan(),
    route: undefined,
    flags: [],
    details: '',
    cookies: [],
    sent: undefined,
    tries: 0,
    serviceMs: undefined,
    transportFailure: undefined,
    upstreamVersion: undefined,
    status: 0,
    grpcStatus: undefined,
    grpc: undefined,
  }
  try {
    await way(call)
  } catch (error) {
    parts.log.error('bug: a request could not be recorded', { error })
    if (!exchange.responded) exchange.reset('local-reset')
  }
}
