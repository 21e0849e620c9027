import t from 'tap'
import { workQueue } from '#kube'

const signal = new AbortController().signal

t.test('many requests for a key before it starts are one; one during a run is one more', async (t) => {
  const runs: string[] = []
  let again = true
  await using queue = workQueue({
    name: 'q',
    signal,
    reconcile: async (key) => {
      runs.push(key)
      if (key === 'a' && again) {
        again = false
        queue.add('a')
        queue.add('a')
      }
    },
  })
  for (const key of ['a', 'b', 'a', 'a']) queue.add(key)
  await queue.idle()
  t.strictSame(runs, ['a', 'b', 'a'])
})

t.test('a failed key comes back; the others do not wait for it', async (t) => {
  const runs: string[] = []
  await using queue = workQueue({
    name: 'q',
    signal,
    baseMs: 20,
    reconcile: async (key) => {
      runs.push(key)
      if (key === 'bad' && runs.filter((k) => k === 'bad').length < 3) throw new Error('not yet')
    },
  })
  queue.add('bad')
  queue.add('good')
  await queue.idle()
  t.strictSame(runs, ['bad', 'good', 'bad', 'bad'])
})

t.test('never two runs of one key at once, never more than asked for in all', async (t) => {
  const now = new Set<string>()
  let most = 0
  await using queue = workQueue({
    name: 'q',
    signal,
    concurrency: 2,
    reconcile: async (key) => {
      t.notOk(now.has(key), key)
      now.add(key)
      most = Math.max(most, now.size)
      queue.add('a')
      await new Promise(setImmediate)
      now.delete(key)
      if (most > 5) throw new Error('too many')
    },
  })
  let left = 5
  for (const key of ['a', 'b', 'c', 'd']) queue.add(key)
  while (left-- > 0) await new Promise(setImmediate)
  t.equal(most, 2)
})

t.test('ends with its signal: what waits is dropped, what runs is told', async (t) => {
  const stop = new AbortController()
  let told = false
  const queue = workQueue({
    name: 'q',
    signal: stop.signal,
    reconcile: (_key, s) =>
      new Promise((_, reject) => {
        s.addEventListener('abort', () => {
          told = true
          reject(new Error('aborted'))
        })
      }),
  })
  queue.add('a')
  queue.add('b')
  await new Promise(setImmediate)
  stop.abort()
  await queue[Symbol.asyncDispose]()
  t.ok(told)
})
