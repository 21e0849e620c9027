import { chooseRoute } from '#routes'
import type { Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/** Which rule has the request. What it says is done by the phases after this one. */
export const route: Phase = (call, next) => {
  const { facts, parts, plan, request } = call
  if (!plan) return localReply(call, { status: 503, flag: 'NC', details: 'routes_unreadable' })
  call.route = chooseRoute(plan.table, request, facts.caller, parts.random)
  return next(call)
}
