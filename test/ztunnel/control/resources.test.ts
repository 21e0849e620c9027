import t from 'tap'
import { HeldResources } from '../../../ztunnel/control/resources.ts'

const resource = (name: string, bytes: number | string) => ({
  name,
  version: '1',
  bytes: typeof bytes === 'string' ? Buffer.from(bytes) : new Uint8Array(bytes),
})
const held = (of: HeldResources) =>
  of
    .batches()
    .flatMap(({ typeUrl, upserts }) =>
      upserts.map(({ name, bytes }) => `${typeUrl} ${name} ${Buffer.from(bytes).toString()}`),
    )

t.test('what was accepted last is what a new worker is told', async (t) => {
  const resources = new HeldResources()
  const whole = Buffer.from('..one..')
  const part = { ...resource('a', 0), bytes: whole.subarray(2, 5) }
  const shared = resources.apply({ typeUrl: 'T', upserts: [part, resource('b', 'two')], removed: [] })
  t.ok(
    shared.upserts.every(({ bytes }) => bytes.buffer instanceof SharedArrayBuffer),
    'in shared memory',
  )
  resources.apply({ typeUrl: 'U', upserts: [resource('a', 'other')], removed: [] })
  resources.apply({ typeUrl: 'T', upserts: [resource('c', 'three')], removed: ['b', 'unknown'] })
  resources.apply({ typeUrl: 'T', upserts: [resource('a', 'new')], removed: ['a'] })
  t.same(held(resources), ['T c three', 'T a new', 'U a other'])
})

t.test('the memory of what is gone is given back', async (t) => {
  const resources = new HeldResources()
  const names = Array.from({ length: 1_000 }, (_, n) => `r${n}`)
  resources.apply({ typeUrl: 'T', upserts: names.map((name) => resource(name, 1_024)), removed: [] })
  for (let n = 0; n < 20; n++)
    for (const name of names.slice(0, 500))
      resources.apply({ typeUrl: 'T', upserts: [resource(name, 1_024)], removed: [] })
  const { live, allocated } = resources.bytes
  t.equal(live, 1_000 * 1_024)
  t.ok(allocated <= 2 * live + (1 << 20), `${allocated} bytes for ${live}`)
  t.equal(held(resources).length, 1_000)
  resources.apply({ typeUrl: 'T', upserts: [], removed: names })
  t.equal(resources.bytes.live, 0)
})
