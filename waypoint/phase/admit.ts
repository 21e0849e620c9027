import { usualCapacity } from '../capacity.ts'
import { Load } from '../load.ts'
import type { Call, Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/** Requests of this process. */
export const processLoad = new Load(usualCapacity.requests)

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
