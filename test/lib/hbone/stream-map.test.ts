import fc from 'fast-check'
import t from 'tap'
import { ReceiveWindow } from '../../../lib/hbone/flow.ts'
import { Stream } from '../../../lib/hbone/stream.ts'
import { StreamMap } from '../../../lib/hbone/stream-map.ts'

const streamOf = (id: number) => new Stream(id, 0, new ReceiveWindow(0), 0, 0)

t.test('it is a Map, whatever comes and goes', async () => {
  const ids = fc.integer({ min: 0, max: 200 }).map((n) => 2 * n + 1)
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 600 }), (turns) => {
      const [map, oracle] = [new StreamMap(), new Map<number, Stream>()]
      for (const id of turns) {
        const known = oracle.get(id)
        if (known) {
          map.delete(known)
          oracle.delete(id)
        } else {
          const stream = streamOf(id)
          map.add(stream)
          oracle.set(id, stream)
        }
        if (map.size !== oracle.size) return false
      }
      const same = Array.from({ length: 202 }, (_, i) => i).every(
        (i) => map.get(2 * i + 1) === oracle.get(2 * i + 1),
      )
      return same && map.values().length === oracle.size && map.values().every(({ id }) => oracle.has(id))
    }),
    { numRuns: 500 },
  )
})

t.test('numbers that all want the same place find others, and are found', async (t) => {
  const map = new StreamMap()
  const streams = Array.from({ length: 200 }, (_, i) => streamOf(1 + i * 4096))
  for (const stream of streams) map.add(stream)
  for (const stream of streams.filter((_, i) => i % 3 === 0)) map.delete(stream)
  t.ok(streams.every((stream, i) => map.get(stream.id) === (i % 3 === 0 ? undefined : stream)))
  const [first] = streams
  if (first) map.delete(first)
  t.equal(map.size, 133, 'one that is not there is taken out of nothing')
})
