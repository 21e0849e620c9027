import type { Permitted } from '../permits.ts'
import type { Answer, Call, Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/**
 * May the caller do this at all? Judged per request: a policy that arrives in between counts from the next one on, and
 * ends those that are on their way and may not be any more.
 */
export const authorise: Phase = (call, next) => {
  const { exchange, facts, parts } = call
  if (facts.lost !== undefined) return localReply(call, { status: 503, flag: 'NC', details: facts.lost })
  call.permit = parts.permits.open({
    asker: { peer: facts.peer, remote: facts.client },
    target: facts.target,
    revoke: (by) => {
      call.revokedBy = by
      call.cancel?.()
      exchange.reset('local-reset')
    },
    // A WebSocket may be as quiet as it likes.
    stream: exchange.request.upgrade === undefined ? streamOf(call) : undefined,
  })
  const refusedBy = parts.permits.refusal(call.permit)
  return refusedBy === undefined ? next(call) : denied(call, refusedBy)
}

const streamOf = (call: Call): NonNullable<Permitted['stream']> => ({
  moved: () => call.exchange.receivedBytes + call.exchange.sentBytes + (call.exchange.responded ? 1 : 0),
  stalled: () => {
    const { exchange, cancel } = call
    call.stalled = true
    if (exchange.responded || !cancel) exchange.reset('timeout')
    cancel?.()
  },
})

/** Envoy's answer to whom a policy refuses. */
export const denied = (call: Call, by: string): Answer =>
  localReply(call, { status: 403, body: 'RBAC: access denied', details: deniedBy(by) })

/** In its access log. */
export const deniedBy = (by: string): string => `rbac_access_denied_matched_policy[${by}]`
