import { Counter, type Registry } from 'prom-client'
import type { LogControl } from './log.ts'

/** Counts the lines that the log had to drop. */
export function logMetrics(registry: Registry, logs: Pick<LogControl, 'dropped'>): void {
  let counted = 0
  const lines: Counter = new Counter({
    name: 'lateen_log_lines_dropped_total',
    help: 'Log lines lost because their reader is slow, gone or out of space (unstable)',
    registers: [registry],
    collect: () => {
      const dropped = logs.dropped()
      lines.inc(dropped - counted)
      counted = dropped
    },
  })
}
