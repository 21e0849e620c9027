import { usualCapacity } from '../capacity.ts'
import { Load } from '../load.ts'
import type { Call, Phase } from './call.ts'
import { localReply } from './local-reply.ts'

/** Requests of this process. */
export const processLoad = new Load(usualCapacity.requests)

/**
 * Their heads, in bytes, each of which is there twice: as it came, and as it goes on. Ten thousand usual ones are some tens
 * of megabytes, as many of the largest (60 KiB) were more than a pod has.
 */
export const headLoad = new Load(64 << 20)

/** A request is taken while there is room, and counts until the last byte of its answer (Envoy: circuit breakers, overload manager). */
export const admit: Phase = (call, next) => {
  const { peer } = call.facts
  const bytes = sizeOf(call)
  if (!enterBoth(peer, bytes)) return overloaded(call)
  call.exchange.onEnd(() => leaveBoth(peer, bytes))
  return next(call)
}

function enterBoth(peer: string, bytes: number): boolean {
  if (!processLoad.enter(peer)) return false
  if (headLoad.enter(peer, bytes)) return true
  processLoad.leave(peer)
  return false
}

function leaveBoth(peer: string, bytes: number): void {
  processLoad.leave(peer)
  headLoad.leave(peer, bytes)
}

/** What a request's head holds, more or less. */
export function sizeOf({ exchange: { request } }: Pick<Call, 'exchange'>): number {
  const { flat } = request.headers
  let bytes = request.path.length + request.authority.length
  for (const text of flat) bytes += text.length
  return bytes
}

const overloaded = (call: Call) =>
  localReply(call, {
    status: 503,
    body: 'overloaded',
    flag: 'UO',
    details: 'overload',
    headers: { 'x-envoy-overloaded': 'true' },
  })
