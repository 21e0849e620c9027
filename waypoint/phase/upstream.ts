import { redirectLocation } from '#routes'
import type { Phase } from './call.ts'
import { forward } from './forward.ts'
import { localReply } from './local-reply.ts'

/** Does what the rule says: sends the request on, or answers. */
export const upstream: Phase = (call) => {
  const { route } = call
  switch (route?.kind) {
    case 'forward':
      return forward(call, route)
    case 'redirect': {
      const location = redirectLocation(route.redirect, route.rule.match, call.request)
      return localReply(call, {
        status: route.redirect.status,
        headers: { location },
        details: 'direct_response',
      })
    }
    case 'respond':
      return localReply(call, { status: route.action.status, body: route.body, details: 'direct_response' })
    case 'refuse':
      if (route.flag === 'NC')
        return localReply(call, { status: route.status, flag: 'NC', details: 'cluster_not_found' })
      return localReply(call, { status: route.status, details: 'direct_response' })
    case 'not-found':
    case undefined:
      return localReply(call, { status: 404, flag: 'NR', details: 'route_not_found' })
  }
}
