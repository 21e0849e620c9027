import t from 'tap'
import { formatTime } from '../../../waypoint/telemetry/format-time.ts'

t.test('milliseconds have three digits, noon is PM and midnight AM', async (t) => {
  for (const ms of [0, 9, 10, 99, 100, 999]) {
    const time = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, ms))
    t.equal(formatTime(time, ''), time.toISOString())
  }
  for (const [hour, text] of [
    [0, '12 AM'],
    [11, '11 AM'],
    [12, '12 PM'],
    [13, '01 PM'],
  ] as const)
    t.equal(formatTime(new Date(Date.UTC(2026, 0, 2, hour)), '%I %p'), text)
})
