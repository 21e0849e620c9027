import { messageOf } from '#base'
import { Counter, type Registry } from 'prom-client'
import type { Logger } from './log.ts'

type Process = Readonly<{
  on(event: 'uncaughtException' | 'unhandledRejection', listener: (error: unknown) => void): unknown
}>

/**
 * What gets as far as this is a bug in the handling of one connection or timer: it is logged with its stack and
 * counted, and the other pods of the node keep their connections. To be called once the start is over: a bug during
 * the start ends the process, as Node does by itself.
 */
export function surviveBugs(registry: Registry, log: Logger, on: Process = process): void {
  const bugs = new Counter({
    name: 'lateen_bugs_total',
    help: 'Errors that nothing handled; must be 0 (unstable)',
    labelNames: ['kind'],
    registers: [registry],
  })
  const survive = (kind: string) => (error: unknown) => {
    bugs.inc({ kind })
    log.error('bug', { kind, error: error instanceof Error ? error.stack : messageOf(error) })
  }
  on.on('uncaughtException', survive('exception'))
  on.on('unhandledRejection', survive('rejection'))
}
