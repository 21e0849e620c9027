import type { Fields, Logger } from '#telemetry'

/** Lines about connections of one pod that failed: at most this many at once, and then so many in a second. */
const limits = {
  /** Ended before anything was known: garbage, scans, wrong certificates. A stranger can make any number of them. */
  warn: { burst: 50, perSecond: 10 },
  /** Refused or broken. */
  error: { burst: 500, perSecond: 100 },
} as const
/** Lines that were left out are summed up this often. */
const summaryMs = 1_000

/**
 * A log that nobody outside can flood: beyond the limits failures are counted, and told as one line with their number.
 * What succeeded always has its line.
 */
export function limitedLog(
  log: Logger,
  leftOut: (count: number) => void,
  now = performance.now.bind(performance),
): Logger {
  const [warn, error] = (['warn', 'error'] as const).map((level) => {
    const { burst, perSecond } = limits[level]
    let tokens: number = burst
    let last = now()
    let missed = 0
    const summarise = () => {
      leftOut(missed)
      log[level]('connections failed', { count: missed, error: 'too many to log each' })
      missed = 0
    }
    return (message: string, fields?: Fields) => {
      const at = now()
      tokens = Math.min(burst, tokens + ((at - last) * perSecond) / 1000)
      last = at
      if (tokens >= 1) {
        tokens--
        return log[level](message, fields)
      }
      if (missed++ === 0) setTimeout(summarise, summaryMs).unref()
    }
  })
  return warn && error ? { ...log, warn, error } : log
}
