import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { silent } from '#telemetry'
import { Child } from '../../sandbox/child.ts'
import { until } from '../fakes/until.ts'

/** A child of a shell script, stopped at the end of the test. */
function start(test: { teardown(free: () => unknown): void }, script: string, logs?: string) {
  const dir = mkdtempSync(join(tmpdir(), 'lateen-child-'))
  const stop = new AbortController()
  const child = new Child({
    name: 'x',
    command: ['sh', '-c', script],
    env: process.env,
    logFile: join(logs ?? dir, 'x.log'),
    log: silent,
    signal: stop.signal,
    onChange: () => undefined,
  })
  const end = async () => {
    stop.abort()
    await child.end()
  }
  test.teardown(async () => {
    await end()
    rmSync(dir, { recursive: true, force: true })
  })
  return { child, end }
}

t.test('what ends with an error is started again, and is known to fail', async (t) => {
  const { child } = start(t, 'exit 3')
  await until(() => child.state.failures >= 2, 'two failures')
  t.match(child.state, { lastEnd: 'exit 3' })
  t.ok(child.state.restarts >= 2)
})

t.test('an orderly end is no failure', async (t) => {
  const { child } = start(t, 'exit 0')
  await until(() => child.state.restarts >= 1, 'a restart')
  t.match(child.state, { failures: 0, lastEnd: 'exit 0' })
})

t.test('a log that cannot be written keeps the child from starting and harms nobody else', async (t) => {
  const { child, end } = start(t, 'sleep 60', '/no/such/directory')
  await until(() => child.state.failures >= 2, 'two failures')
  t.match(child.state, { pid: undefined, lastEnd: /ENOENT/ })
  await end()
})
