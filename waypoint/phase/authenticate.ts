import type { Phase } from './call.ts'

/**
 * Who calls: the peer whose certificate the tunnel has proved, which is in `call.facts`. Tokens of end users are not
 * looked at, so rules that ask for a claim match nobody, and policies that ask for one are closed by the controller.
 */
export const authenticate: Phase = (call, next) => next(call)
