import t from 'tap'
import type { ExchangeEnd } from '../../../lib/http/exchange.ts'
import { ExchangeOutcome } from '../../../lib/http/exchange-end.ts'

const complete: ExchangeEnd = { kind: 'complete' }
const left: ExchangeEnd = { kind: 'broken', by: 'downstream', reason: 'remote-reset' }

t.test(
  'all that asked are told of an end once, in their order, and those that ask later at once',
  async (t) => {
    const outcome = new ExchangeOutcome()
    const told: string[] = []
    for (const who of ['a', 'b', 'c']) outcome.onEnd((end) => told.push(`${who} ${end.kind}`))
    outcome.settle(complete)
    outcome.settle(left)
    t.same(told, ['a complete', 'b complete', 'c complete'])
    outcome.onEnd((end) => told.push(`late ${end.kind}`))
    t.equal(told.at(-1), 'late complete')
    t.same(await outcome.ended, complete)
  },
)

t.test('who waits for a client to go hears of it before those that stop waiting at the end', async (t) => {
  const outcome = new ExchangeOutcome()
  const told: string[] = []
  const onGone = () => told.push('gone')
  outcome.gone.addEventListener('abort', onGone)
  outcome.onEnd(() => outcome.gone.removeEventListener('abort', onGone))
  outcome.settle(left)
  t.same(told, ['gone'])
  t.match(outcome.gone.reason, { message: /downstream is gone: remote-reset/ })
})

t.test('an end that is none of the client does not say that it has gone', async (t) => {
  for (const end of [complete, { ...left, by: 'local' } as const]) {
    const outcome = new ExchangeOutcome()
    outcome.settle(end)
    t.notOk(outcome.gone.aborted, end.kind)
  }
})
