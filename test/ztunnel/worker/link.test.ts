import { MessageChannel } from 'node:worker_threads'
import t from 'tap'
import { MeshError } from '#base'
import { Link } from '../../../ztunnel/worker/index.ts'

type Left = { add: { ask: readonly [number, number]; answer: number } }
type Right = { double: { ask: number; answer: number }; never: { ask: undefined; answer: undefined } }

function pair(test: { teardown(fn: () => void): unknown }) {
  const { port1, port2 } = new MessageChannel()
  test.teardown(() => port1.close())
  const left = new Link<Left, Right>(port1, { add: ([a, b]) => a + b })
  const right = new Link<Right, Left>(port2, {
    double: async (n) => {
      if (n < 0) throw new MeshError('over-limit', { message: 'too small', errno: 7 })
      if (n > 100) throw new TypeError('too large')
      return n * 2
    },
    never: () => new Promise(() => undefined),
  })
  return { left, right, port1 }
}

t.test('both sides ask and are answered, each question by its own answer', async (t) => {
  const { left, right } = pair(t)
  t.same(
    await Promise.all([left.ask('double', 1), left.ask('double', 2), right.ask('add', [3, 4])]),
    [2, 4, 7],
  )
})

t.test('an error arrives as what it was: with its code, or as a bug', async (t) => {
  const { left } = pair(t)
  await t.rejects(left.ask('double', -1), { code: 'over-limit', message: 'too small', errno: 7 })
  const bug = await left.ask('double', 101).catch((error: unknown) => error)
  t.notOk(bug instanceof MeshError)
  t.match(bug, { message: 'too large' })
})

t.test('a deadline ends the wait, and the late answer is nothing', async (t) => {
  const { left } = pair(t)
  await t.rejects(left.ask('never', undefined, 10), { code: 'timeout', message: /never/ })
  t.equal(await left.ask('double', 3), 6, 'others go on')
})

t.test(
  'whoever waits for the other side is told that it is gone, and so is whoever asks later',
  async (t) => {
    const { left } = pair(t)
    const waiting = left.ask('never', undefined)
    left.close(new MeshError('unavailable', { message: 'gone' }))
    await t.rejects(waiting, { message: 'gone' })
    await t.rejects(left.ask('double', 1), { message: 'gone' })
  },
)

t.test('what is asked of nobody is refused', async (t) => {
  const { port1 } = pair(t)
  const answer = new Promise((resolve) => port1.on('message', resolve))
  port1.postMessage({ kind: 'unheard', ask: undefined, id: 1 })
  t.match(await answer, { id: 1, failure: { code: 'protocol', message: /unheard/ } })
})

t.test('questions without an answer are bounded', async (t) => {
  const { left } = pair(t)
  const refused: unknown[] = []
  for (let n = 0; n < 16_390; n++)
    left.ask('never', undefined).catch((error: unknown) => {
      if (error instanceof MeshError && error.code === 'over-limit') refused.push(error)
    })
  await Promise.resolve().then(() => undefined)
  t.equal(refused.length, 16_390 - 16_384)
  left.close(new MeshError('unavailable'))
})
