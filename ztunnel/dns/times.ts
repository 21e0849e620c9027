/** How long things may take; tests replace them. */
export type Times = Readonly<{
  /** A stub resolver gives up after 5 s; it is told before. */
  deadlineMs: number
  /** Until another server, or the same from another port, is asked as well; the first goes on waiting. */
  nextAttemptMs: number
  /** A connection without a whole question, and without an answer that is waited for (ztunnel: 5 s). */
  idleMs: number
}>

export const standardTimes: Times = { deadlineMs: 4_800, nextAttemptMs: 1_500, idleMs: 5_000 }
