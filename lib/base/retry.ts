import type { EndSignal } from './ending.ts'
import { isRetryable } from './mesh-error.ts'

/** How often, and how far apart. */
export type Backoff = Readonly<{
  signal: AbortSignal
  /** Total tries, `Infinity` to go on until `signal` fires. */
  attempts?: number
  /** Wait after the first failure, in ms; doubled after each further one. */
  baseMs?: number
  capMs?: number
  /** In [0, 1); injected by tests. */
  random?: () => number
  /** Which errors may be tried again; by default those whose code says so. */
  retryable?: (error: unknown) => boolean
  onRetry?: (error: unknown, waitMs: number) => void
}>

/** Exponential wait before try `n + 1`, in ms, jittered to ±20 % and capped. */
export function backoffMs(
  n: number,
  { baseMs = 100, capMs = 15_000, random = Math.random }: Partial<Backoff>,
) {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(n - 1, 30))
  return full * (0.8 + 0.4 * random())
}

/** The longest that a timer takes, about 25 days; a longer one would fire at once. */
export const maxTimerMs = 2 ** 31 - 1

/** `ms` as timers take it: whole, from 0 to `maxTimerMs`; for ever is as long as they can. */
export const timerMs = (ms: number): number => (ms > 0 ? Math.min(Math.ceil(ms), maxTimerMs) : 0)

/** Waits `ms`, at most `maxTimerMs`; rejects at once with the reason of `signal` when it fires. */
export function sleep(ms: number, signal: EndSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, timerMs(ms))
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** `promise`, unless `signal` fires first, which does not stop it: others may wait for it too. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Runs `attempt` until it succeeds, fails for good, or the tries or the signal end. */
export async function retry<T>(attempt: (signal: AbortSignal) => Promise<T>, options: Backoff): Promise<T> {
  const { signal, attempts = 5, retryable = isRetryable } = options
  for (let n = 1; ; n++) {
    signal.throwIfAborted()
    try {
      return await attempt(signal)
    } catch (error) {
      if (signal.aborted || n >= attempts || !retryable(error)) throw error
      const waitMs = backoffMs(n, options)
      options.onRetry?.(error, waitMs)
      await sleep(waitMs, signal)
    }
  }
}
