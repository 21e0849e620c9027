import { EventEmitter } from 'node:events'
import t from 'tap'
import { Registry, startLogging, surviveBugs } from '#telemetry'

t.test('a bug is logged with its stack and counted', async (t) => {
  const lines: string[] = []
  const registry = new Registry()
  const proc = new EventEmitter()
  const log = startLogging({ write: (line) => void lines.push(line) }).root('ztunnel')
  surviveBugs(registry, log, proc)
  proc.emit('uncaughtException', new Error('oh'))
  proc.emit('unhandledRejection', 'ah')
  t.match(lines, [
    /bug\tkind="exception" error="Error: oh\\n .*bugs\.test/,
    /bug\tkind="rejection" error="ah"/,
  ])
  const metrics = await registry.metrics()
  t.match(metrics, 'lateen_bugs_total{kind="exception"} 1')
  t.match(metrics, 'lateen_bugs_total{kind="rejection"} 1')
})
