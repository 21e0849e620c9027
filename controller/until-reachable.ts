import { messageOf, retry } from '#base'
import type { Logger } from '#telemetry'

/** The API server may still be starting: asked again until it answers or says no for good. */
export const untilReachable = <T>(
  what: string,
  log: Logger,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> =>
  retry(attempt, {
    signal,
    attempts: Infinity,
    capMs: 5_000,
    onRetry: (error, waitMs) =>
      log.warn('waiting for the API server', { what, error: messageOf(error), waitMs: Math.round(waitMs) }),
  })
