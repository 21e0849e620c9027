import { h2Code } from '#hbone'
import type { ResetReason } from '../exchange.ts'

/** What a reset by the other end means to us. */
export function reasonOf(code: number, remote: boolean, connectionLost: boolean): ResetReason {
  if (remote && code === h2Code.refusedStream) return 'refused-stream'
  if (connectionLost) return 'connection-termination'
  if (remote) return 'remote-reset'
  return code === h2Code.enhanceYourCalm ? 'overflow' : 'protocol-error'
}

/** What we say when we break a stream off. */
export function codeOf(reason: ResetReason): number {
  switch (reason) {
    case 'refused-stream':
      return h2Code.refusedStream
    case 'protocol-error':
      return h2Code.protocolError
    case 'overflow':
      return h2Code.enhanceYourCalm
    case 'local-reset':
    case 'timeout':
      return h2Code.cancel
    case 'remote-reset':
    case 'connection-termination':
      return h2Code.internalError
  }
}

/**
 * The same of an answer. CANCEL is a client's word: from a server some clients (Node's) take it for an ordinary end, and half
 * an answer for a whole one. Envoy says the same.
 */
export const answerCodeOf = (reason: ResetReason): number =>
  reason === 'timeout' || reason === 'local-reset' ? h2Code.internalError : codeOf(reason)
