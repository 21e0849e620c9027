import { chooseRoute } from '#routes'
import type { Phase } from './call.ts'

/** Which rule has the request. What it says is done by the phases after this one. */
export const route: Phase = (call, next) => {
  const { facts, parts, request } = call
  call.route = chooseRoute(facts.plan.table, request, facts.caller, parts.random)
  return next()
}
