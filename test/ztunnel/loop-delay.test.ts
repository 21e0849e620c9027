import t from 'tap'
import { Registry } from '#telemetry'
import { newBeat, watchLoop } from '../../ztunnel/loop-delay.ts'
import { until } from '../fakes/until.ts'

t.test('a loop that turns is heard; how late it is can be read', async (t) => {
  const registry = new Registry()
  const beat = newBeat()
  const beats = () => new Int32Array(beat)[0] ?? 0
  {
    using _watch = watchLoop(registry, beat)
    await until(() => beats() > 0, 'a beat')
    const before = beats()
    const end = performance.now() + 700
    while (performance.now() < end); // holds the loop up
    t.equal(beats(), before, 'none while it stands still')
    await until(() => beats() > before, 'another')
  }
  const metrics = await registry.metrics()
  const count = (le: string) =>
    Number(new RegExp(`lateen_event_loop_delay_seconds_bucket{le="${le}"} (\\d+)`).exec(metrics)?.[1])
  t.ok(count('\\+Inf') > count('0.1'), 'the long wait is in a high bucket')
})
