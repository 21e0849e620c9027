import { status } from '@grpc/grpc-js'
import { isRecord, MeshError } from '#base'
import type { Termination } from './metrics.ts'

/** What a server that goes away in good order leaves behind. */
const routine: ReadonlySet<unknown> = new Set([status.UNKNOWN, status.CANCELLED, status.DEADLINE_EXCEEDED])
const closing = ['transport is closing', 'received prior goaway']

/** Why a stream that failed did so, in ztunnel's words (xds/client.rs; facts: ztunnel.md §4.1). */
export function terminationOf(error: unknown, wasOpen: boolean): Termination {
  if (!wasOpen) return 'ConnectionError'
  const cause = error instanceof MeshError ? error.cause : error
  if (!isRecord(cause)) return 'Error'
  const { code, message } = cause
  if (routine.has(code)) return 'Reconnect'
  const text = typeof message === 'string' ? message : ''
  return code === status.UNAVAILABLE && closing.some((sign) => text.includes(sign)) ? 'Reconnect' : 'Error'
}
