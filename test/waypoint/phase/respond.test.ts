import t from 'tap'
import { HeaderList } from '#http'
import type { Answer, Call } from '../../../waypoint/phase/call.ts'
import { respond } from '../../../waypoint/phase/respond.ts'

/** As much of a call as an answer needs; its exchange tells what is done to it. */
function callOf(did: string[], given: { responded?: boolean; respond?: () => never }): Call {
  const exchange = {
    request: { method: 'GET', headers: new HeaderList() },
    responded: false,
    marks: { requestEndedAt: 0 },
    reset: (reason: string) => void did.push(`client ${reason}`),
    ...given,
  }
  const log = { error: (text: string) => void did.push(text) }
  return { exchange, parts: { log }, cookies: [], flags: [] } as unknown as Call
}

const upstream = (did: string[]): Answer => ({
  kind: 'upstream',
  status: 200,
  headers: new HeaderList(),
  response: {
    version: 'HTTP/1.1',
    head: { status: 200, headers: new HeaderList() },
    body: { length: undefined, received: 0, read: () => {}, resume: () => {}, discard: () => {} },
    reset: (reason) => void did.push(`upstream ${reason}`),
  },
})

t.test('an answer that cannot be written is broken off on both sides, and told', async (t) => {
  const did: string[] = []
  const refuses = () => {
    throw new Error('no such status')
  }
  await respond(callOf(did, { respond: refuses }), async () => upstream(did))
  t.strictSame(did, ['bug: an answer could not be written', 'upstream local-reset', 'client local-reset'])
})

t.test('one that comes when the client has had another is not waited for', async (t) => {
  const did: string[] = []
  await respond(callOf(did, { responded: true }), async () => upstream(did))
  t.strictSame(did, ['upstream local-reset'])
})

t.test('an answer without a date has the present one', async (t) => {
  let now = 0
  t.capture(Date, 'now', () => now)
  const dates: (string | undefined)[] = []
  const dated = async (at: string, headers = new HeaderList()) => {
    const call = callOf([], {})
    const told = (head: { headers: HeaderList }) => void dates.push(head.headers.get('date'))
    Object.assign(call.exchange, { body: { received: 1 }, respond: told })
    now = Date.parse(at)
    await respond(call, async () => ({ kind: 'local', status: 200, headers, body: '' }))
  }
  await dated('2026-01-02T03:04:05.000Z')
  await dated('2026-01-02T03:04:05.999Z')
  await dated('2026-01-02T03:04:06.000Z')
  await dated('2026-01-02T03:04:06.500Z', HeaderList.of({ date: 'its own' }))
  t.strictSame(dates, [
    'Fri, 02 Jan 2026 03:04:05 GMT',
    'Fri, 02 Jan 2026 03:04:05 GMT',
    'Fri, 02 Jan 2026 03:04:06 GMT',
    'its own',
  ])
})
