import t from 'tap'
import { exclusively } from '../../sandbox/exclusively.ts'

const name = `test-${process.pid}`
const { signal } = new AbortController()

t.test('commands for one instance wait for each other, also after one that failed', async (t) => {
  const story: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = exclusively(
    name,
    async () => {
      story.push('first begins')
      await gate.promise
      story.push('first fails')
      throw new Error('no')
    },
    signal,
  )
  const second = exclusively(name, async () => void story.push('second'), signal)
  const other = exclusively(`${name}-b`, async () => void story.push('another instance'), signal)
  await other
  t.notOk(story.includes('second'))
  gate.resolve()
  await t.rejects(first, /no/)
  await second
  t.same(story.slice(-2), ['first fails', 'second'])
})

t.test('who waits too long, or is told to stop, says so', async (t) => {
  const gate = Promise.withResolvers<void>()
  const holder = exclusively(name, () => gate.promise, signal)
  const never = async () => void t.fail('must not run')
  await t.rejects(exclusively(name, never, signal, 100), {
    code: 'unavailable',
    message: /being brought up or down by another command/,
  })
  await t.rejects(exclusively(name, never, AbortSignal.abort(new Error('enough'))), /enough/)
  gate.resolve()
  await holder
})
