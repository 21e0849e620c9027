import type { HeaderList } from '#http'
import { applyHeaderOps, changedTarget, type HeaderOps } from '#routes'
import type { Answer, Call, Phase, Reply } from './call.ts'
import { localReply } from './local-reply.ts'
import { type AccessFacts, headerValue } from '../telemetry/index.ts'
import { factsOf } from './line-facts.ts'
import { normalRewrite } from './normal-path.ts'

/** Clients steer retries and timeouts with these; the upstream is none of them (facts: l7.md §3.1). */
const steering = [
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-upstream-rq-timeout-alt-response',
  'x-envoy-hedge-on-per-try-timeout',
]

/** What the rule and its destination change of the request, and then of the answer. */
export const transform: Phase = (call, next) => {
  const { route } = call
  if (!route || !('rule' in route) || !route.rule) return next(call)
  const { rule } = route
  const destination = 'destination' in route ? route.destination : undefined
  if (route.kind === 'forward') {
    // Before the rewrite: what a value repeats of the request is what the client sent (Envoy).
    change(call, call.request.headers, rule.requestHeaders)
    change(call, call.request.headers, destination?.requestHeaders)
    if (!rewrite(call, route)) return localReply(call, { status: 400, details: 'path_normalization_failed' })
  }
  const ofAnswer = [rule.responseHeaders, destination?.responseHeaders].filter(changesAny)
  return ofAnswer.length > 0 ? changed(call, next(call), ofAnswer) : next(call)
}

async function changed(call: Call, reply: Reply, all: readonly HeaderOps[]): Promise<Answer> {
  const answer = await reply
  if (answer.kind !== 'gone') for (const ops of all) change(call, answer.headers, ops, answer)
  return answer
}

const changesAny = (ops: HeaderOps | undefined): ops is HeaderOps =>
  ops !== undefined && ops.set.length + ops.add.length + ops.remove.length > 0

function change(
  call: Call,
  headers: HeaderList,
  ops: HeaderOps | undefined,
  answer: Answer = unanswered,
): void {
  if (!changesAny(ops)) return
  let facts: AccessFacts | undefined
  applyHeaderOps(headers, ops, (template) => headerValue(template)((facts ??= factsNow(call, answer))))
}
const unanswered: Answer = { kind: 'gone' }

/** As far as the request has gone. */
function factsNow(call: Call, answer: Answer): AccessFacts {
  const startTime = new Date(Date.now() - (performance.now() - call.exchange.marks.startedAt))
  const facts = factsOf(call, startTime, answer)
  // A request that is on its way is in its first try.
  return answer.kind === 'gone' ? { ...facts, tries: 1 } : { ...facts, responseCode: answer.status }
}

/** False where what is left of the path is none. */
function rewrite(call: Call, { authority, path }: Extract<Call['route'], { kind: 'forward' }>): boolean {
  const { request } = call
  const { headers } = request
  if (path) {
    const changed = normalRewrite(changedTarget(request.path, path))
    if (changed === undefined) return false
    headers.set('x-envoy-original-path', request.path)
    call.request = { ...call.request, path: changed }
  }
  if (authority !== undefined) {
    headers.set('x-envoy-original-host', request.authority)
    call.request = { ...call.request, authority }
  }
  return true
}

/** Whether there is any of them: most requests have none, and need not be asked about each. */
export function mayAsk({ flat }: HeaderList): boolean {
  for (let i = 0; i < flat.length; i += 2) if (flat[i]?.startsWith('x-envoy-')) return true
  return false
}

/** Taken off once they have been read. */
export function dropSteering({ request }: Call): void {
  for (const name of steering) request.headers.delete(name)
}
