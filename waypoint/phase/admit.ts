import { Load } from '../load.ts'
import type { Call, Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/**
 * Requests under way at once. Each costs some 20 KiB here, besides bodies, whose memory has its own bounds: these take
 * about a fifth of the gigabyte that a waypoint's pod is given.
 */
const maxRequests = 10_000

/** Of this process. */
export const processLoad = new Load(maxRequests)

/** A request is taken while there is room, and counts until the last byte of its answer (Envoy: circuit breakers, overload manager). */
export const admit: Phase = (call, next) => {
  const { peer } = call.facts
  if (!processLoad.enter(peer)) return overloaded(call)
  call.exchange.onEnd(() => processLoad.leave(peer))
  return next(call)
}

const overloaded = (call: Call) =>
  localReply(call, {
    status: 503,
    body: 'overloaded',
    flag: 'UO',
    details: 'overload',
    headers: { 'x-envoy-overloaded': 'true' },
  })
