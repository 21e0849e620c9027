import t from 'tap'
import { startLogging } from '#telemetry'
import { limitedLog } from '../../../ztunnel/proxy/limited-log.ts'
import { eventually } from '../../fakes/mesh-world.ts'

t.test('a flood of failures becomes a few lines and a sum; what succeeds always has its line', async (t) => {
  const lines: { level: string; message: string; count?: number }[] = []
  const logs = startLogging({ format: 'json', write: (line) => lines.push(JSON.parse(line)) })
  let leftOut = 0
  let now = 0
  const log = limitedLog(
    logs.root('access'),
    (count) => (leftOut += count),
    () => now,
  )
  const count = (level: string) =>
    lines.filter((line) => line.level === level && line.count === undefined).length
  for (let i = 0; i < 10_000; i++) {
    log.warn('connection failed', { i })
    log.error('connection complete', { i })
    if (i < 1000) log.info('connection complete', { i })
  }
  t.same([count('warn'), count('error'), count('info')], [50, 500, 1000])
  await eventually(() => lines.some((line) => line.level === 'warn' && line.count !== undefined), 'the sum')
  await eventually(() => lines.some((line) => line.level === 'error' && line.count !== undefined), 'the sum')
  t.match(
    lines.filter((line) => line.count !== undefined).map((line) => [line.level, line.message, line.count]),
    [
      ['warn', 'connections failed', 9950],
      ['error', 'connections failed', 9500],
    ],
  )
  t.equal(leftOut, 19_450, 'and a metric')
  now += 1000
  for (let i = 0; i < 100; i++) log.warn('connection failed')
  t.equal(count('warn'), 60, 'ten more a second later')
  now += 3_600_000
  for (let i = 0; i < 100; i++) log.warn('connection failed')
  t.equal(count('warn'), 110, 'but no more than the burst after a quiet hour')
})
