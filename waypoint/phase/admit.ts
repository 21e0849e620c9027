import type { Call, Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/**
 * Requests under way at once. Each costs some 20 KiB here, besides bodies, whose memory has its own bounds: these take
 * about a fifth of the gigabyte that a waypoint's pod is given.
 */
const maxRequests = 10_000

/** What the process has under way. One that takes everything serves nobody in the end: it says no while it still can. */
export class Load {
  active = 0
  limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  get full(): boolean {
    return this.active >= this.limit
  }
}

/** Of this process. */
export const processLoad = new Load(maxRequests)

/** A request is taken while there is room, and counts until the last byte of its answer (Envoy: circuit breakers, overload manager). */
export const admit: Phase = async (call, next) => {
  if (processLoad.full) return overloaded(call)
  processLoad.active++
  void call.exchange.ended.then(() => processLoad.active--)
  return next()
}

const overloaded = (call: Call) =>
  localReply(call, {
    status: 503,
    body: 'overloaded',
    flag: 'UO',
    details: 'overload',
    headers: { 'x-envoy-overloaded': 'true' },
  })
