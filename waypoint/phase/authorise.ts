import type { Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/** May the caller do this at all? Judged per request: a policy that arrives in between counts from the next one on. */
export const authorise: Phase = async (call, next) => {
  const refusedBy = call.facts.refusedBy()
  if (refusedBy === undefined) return next()
  return localReply(call, {
    status: 403,
    body: 'RBAC: access denied',
    details: `rbac_access_denied_matched_policy[${refusedBy}]`,
  })
}
