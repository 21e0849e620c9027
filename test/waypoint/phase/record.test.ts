import t from 'tap'
import { type ExchangeEnd, HeaderList } from '#http'
import type { Answer, Call } from '../../../waypoint/phase/call.ts'
import { record } from '../../../waypoint/phase/record.ts'
import type { AccessFacts } from '../../../waypoint/telemetry/index.ts'

const local: Answer = { kind: 'local', status: 200, headers: new HeaderList(), body: '' }

/** As much of a call as is told of it, and when it ends. */
function callOf(did: string[], accessLog: (line: AccessFacts) => boolean) {
  let over: ExchangeEnd | undefined
  const waiting: ((end: ExchangeEnd) => void)[] = []
  const address = { address: '10.0.0.1', port: 80 }
  const exchange = {
    version: 'HTTP/2',
    request: { headers: new HeaderList() },
    marks: { startedAt: 1, requestEndedAt: 2, respondedAt: 3, endedAt: 4 },
    onEnd: (told: (end: ExchangeEnd) => void) => void (over ? told(over) : waiting.push(told)),
  }
  const call = {
    exchange,
    parts: {
      accessLog,
      variants: () => undefined,
      metrics: { record: ({ flags }: { flags: string }) => void did.push(`counted ${flags}`) },
      log: { error: (text: string) => void did.push(text) },
    },
    facts: { target: { kind: 'workload' }, local: address, client: address },
    request: { headers: new HeaderList() },
    permit: { close: () => void did.push('closed') },
    flags: [],
    status: 200,
  } as unknown as Call
  const end = (how: ExchangeEnd) => {
    over = how
    for (const told of waiting.splice(0)) told(how)
  }
  return { call, end }
}

t.test('a request is told of once, when it has ended and not when it is answered', async (t) => {
  const did: string[] = []
  const { call, end } = callOf(did, ({ responseFlags }) => did.push(`logged ${responseFlags}`) > 0)
  t.equal(await record(call, async () => local), local)
  t.strictSame(did, [])
  end({ kind: 'complete' })
  t.strictSame(did, ['closed', 'counted -', 'logged '])
})

t.test('one whose client goes before the answer is told of when it is known what became of it', async (t) => {
  const did: string[] = []
  const { call, end } = callOf(did, ({ responseFlags }) => did.push(`logged ${responseFlags}`) > 0)
  const answered = Promise.withResolvers<Answer>()
  const recorded = record(call, () => answered.promise)
  end({ kind: 'broken', by: 'downstream', reason: 'connection-termination' })
  t.strictSame(did, [])
  answered.resolve({ kind: 'gone' })
  await recorded
  t.strictSame(did, ['closed', 'counted DC', 'logged DC'])
})

t.test('a log that fails is told of, and whatever ends the request goes on', async (t) => {
  const did: string[] = []
  const { call, end } = callOf(did, () => {
    throw new Error('no line')
  })
  await record(call, async () => local)
  t.doesNotThrow(() => end({ kind: 'complete' }))
  t.strictSame(did, ['closed', 'counted -', 'bug: a request could not be recorded'])
})
