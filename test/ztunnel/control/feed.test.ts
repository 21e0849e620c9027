import t from 'tap'
import { Feed } from '../../../ztunnel/control/feed.ts'
import type { Batch } from '../../../ztunnel/worker/index.ts'

const batch = (typeUrl: string, names: readonly string[], removed: readonly string[] = []): Batch => ({
  typeUrl,
  upserts: names.map((name) => ({ name, version: '1', bytes: Buffer.from(name) })),
  removed,
})
const text = ({ typeUrl, upserts, removed }: Batch) =>
  `${typeUrl} ${[...upserts.map(({ name }) => `+${name}`), ...removed.map((name) => `-${name}`)].join(' ')}`

/** A worker that answers when it is told to. */
function slowWorker() {
  const sent: string[] = []
  const gates: PromiseWithResolvers<void>[] = []
  const failures: unknown[] = []
  const feed = new Feed(
    (batches) => {
      sent.push(batches.map(text).join(', '))
      const gate = Promise.withResolvers<void>()
      gates.push(gate)
      return gate.promise
    },
    (error) => failures.push(error),
  )
  const answer = async () => {
    gates.shift()?.resolve()
    await new Promise((done) => setImmediate(done))
  }
  return { feed, sent, gates, failures, answer }
}

t.test('changes go at once and in order while the worker keeps up', async (t) => {
  const { feed, sent } = slowWorker()
  feed.push(batch('T', ['a', 'b']))
  feed.push(batch('U', ['x'], ['y']))
  t.same(sent, ['T +a +b', 'U +x -y'])
  await feed.sent()
})

t.test('for one that lags they are merged: one change per resource, the last', async (t) => {
  const { feed, sent, answer } = slowWorker()
  for (let n = 0; n < 8; n++) feed.push(batch('T', [`n${n}`]))
  sent.splice(0)
  for (let n = 0; n < 1_000; n++) feed.push(batch('T', ['same', `n${n % 3}`], ['gone']))
  feed.push(batch('T', ['gone'], ['same']))
  feed.push(batch('U', ['x']))
  t.same(sent, [], 'nothing more is under way')
  let flushed = false
  const flush = feed.sent().then(() => (flushed = true))
  await Promise.resolve()
  t.notOk(flushed)
  await answer()
  t.same(sent, ['T +gone +n0 +n1 +n2 -same, U +x'], 'as one')
  await flush
})

t.test('a change that cannot be applied is told', async (t) => {
  const { feed, gates, failures } = slowWorker()
  feed.push(batch('T', ['a']))
  gates.shift()?.reject(new Error('a bug'))
  await new Promise((done) => setImmediate(done))
  t.match(failures, [{ message: 'a bug' }])
})
