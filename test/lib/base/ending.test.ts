import t from 'tap'
import { Ending, type EndSignal } from '../../../lib/base/ending.ts'

type Both = Readonly<{ signal: EndSignal; abort(reason: unknown): void }>
const kinds: Readonly<Record<string, () => Both>> = {
  'an AbortController': () => {
    const controller = new AbortController()
    return { signal: controller.signal, abort: (reason) => controller.abort(reason) }
  },
  'an ending': () => {
    const ending = new Ending()
    return { signal: ending, abort: (reason) => ending.abort(reason) }
  },
}

/** What is done, and who is told. */
const cases: readonly (readonly [
  title: string,
  run: (both: Both, tell: (who: string) => () => void) => void,
])[] = [
  [
    'those that listen are told once, in their order',
    ({ signal, abort }, tell) => {
      for (const who of ['a', 'b', 'c']) signal.addEventListener('abort', tell(who), { once: true })
      abort('first')
      abort('second')
    },
  ],
  [
    'one that listens twice is told once',
    ({ signal, abort }, tell) => {
      const [a, b] = [tell('a'), tell('b')]
      for (const one of [a, b, a, b]) signal.addEventListener('abort', one, { once: true })
      abort('now')
    },
  ],
  [
    'one that has left is not told',
    ({ signal, abort }, tell) => {
      const [a, b, c] = [tell('a'), tell('b'), tell('c')]
      for (const one of [a, b, c]) signal.addEventListener('abort', one, { once: true })
      signal.removeEventListener('abort', a)
      signal.removeEventListener('abort', tell('stranger'))
      signal.addEventListener('abort', tell('d'), { once: true })
      signal.removeEventListener('abort', c)
      abort('now')
    },
  ],
  [
    'who is taken off by another is not told',
    ({ signal, abort }, tell) => {
      const b = tell('b')
      const a = () => {
        tell('a')()
        signal.removeEventListener('abort', b)
      }
      for (const one of [a, b, tell('c')]) signal.addEventListener('abort', one, { once: true })
      abort('now')
    },
  ],
  [
    'who comes when it is over is not told',
    ({ signal, abort }, tell) => {
      signal.addEventListener('abort', () => signal.addEventListener('abort', tell('late')), { once: true })
      abort('now')
      signal.addEventListener('abort', tell('later'), { once: true })
    },
  ],
  [
    'the first place is free again',
    ({ signal, abort }, tell) => {
      const [a, b] = [tell('a'), tell('b')]
      signal.addEventListener('abort', a, { once: true })
      signal.removeEventListener('abort', a)
      signal.addEventListener('abort', b, { once: true })
      signal.addEventListener('abort', a, { once: true })
      abort('now')
    },
  ],
]

for (const [title, run] of cases)
  t.test(`${title}, as with an AbortController`, async (t) => {
    const seen = Object.values(kinds).map((make) => {
      const told: string[] = []
      const both = make()
      t.notOk(both.signal.aborted)
      run(both, (who) => () => told.push(who))
      return { told, aborted: both.signal.aborted, reason: both.signal.reason }
    })
    t.same(seen[1], seen[0])
    t.ok(seen[1]?.aborted)
  })
