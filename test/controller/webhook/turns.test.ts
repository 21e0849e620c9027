import t from 'tap'
import { Turns } from '../../../controller/webhook/turns.ts'

const never = new AbortController().signal
const mib = 1 << 20
/** A clock that stands still, so that only what is charged counts. */
const still = (together = 1_000 * mib) => {
  const clock = { ms: 0 }
  const pace = {
    perAddress: { burst: 4 * mib, perSecond: mib },
    together: { burst: together, perSecond: mib },
  }
  return { clock, turns: new Turns(pace, () => clock.ms) }
}

t.test('addresses have their turns one after the other, whoever came first', async (t) => {
  const { turns } = still()
  const order: string[] = []
  const ask = (address: string) =>
    turns.turn(address, 1, never).then((had) => order.push(`${address} ${had}`))
  await Promise.all(['a', 'a', 'a', 'b', 'a', 'c', 'b'].map(ask))
  t.strictSame(
    order,
    ['a', 'b', 'c', 'a', 'b', 'a', 'a'].map((address) => `${address} true`),
  )
})

t.test('between two turns everything else goes on', async (t) => {
  const { turns } = still()
  const order: string[] = []
  const turn = (n: number) =>
    turns.turn('a', 1, never).then(() => {
      order.push(`turn ${n}`)
      setImmediate(() => order.push(`what came up in turn ${n}`))
    })
  await Promise.all([turn(0), turn(1), turn(2)])
  t.ok(order.indexOf('what came up in turn 0') < order.indexOf('turn 2'), order.join(', '))
})

t.test('who has had more than its share waits until it is paid off, and nobody else does', async (t) => {
  const { turns, clock } = still()
  t.ok(turns.charge('a', 5 * mib), 'one MiB is owed: a second')
  const had: string[] = []
  const slow = turns.turn('a', 1, never).then((yes) => had.push(`a ${yes}`))
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  const quick = turns.turn('b', 1, never).then((yes) => had.push(`b ${yes}`))
  for (let n = 0; n < 4; n++) await new Promise(setImmediate)
  t.strictSame(had, ['b true'], 'at once')
  await quick
  clock.ms = 1_000
  await slow
  t.strictSame(had, ['b true', 'a true'])
})

t.test('what would come too late for the API server is not waited for', async (t) => {
  const { turns } = still()
  t.ok(turns.charge('a', 7 * mib))
  t.notOk(turns.charge('a', 1), 'and said at once')
  t.ok(turns.charge('b', 1))
  t.equal(await turns.turn('a', 1, never), false)
  t.equal(await turns.turn('b', 1, never), true)
})

t.test('who leaves does not wait any more, and what was its turn is another’s', async (t) => {
  const { turns } = still()
  const leaving = new AbortController()
  const left = turns.turn('a', 1, leaving.signal)
  const stays = turns.turn('a', 1, never)
  leaving.abort()
  t.strictSame(await Promise.all([left, stays]), [false, true])
  t.equal(await turns.turn('a', 1, leaving.signal), false, 'nor who has left already')
})

t.test('who has had least goes first, and not behind a crowd that is in a hurry', async (t) => {
  const { turns } = still(6 * mib)
  const had: string[] = []
  const ask = (address: string) =>
    turns.turn(address, mib, never).then((yes) => had.push(`${address} ${yes}`))
  const crowd = Array.from({ length: 20 }, (_, n) => `stranger ${n}`)
  for (const stranger of crowd) turns.charge(stranger, 3 * mib)
  const strangers = crowd.map(ask)
  for (let n = 0; n < 40; n++) await new Promise(setImmediate)
  const before = had.length
  t.ok(before < 20, `all together are at their pace after ${before}`)
  await ask('api server')
  t.equal(had[before], 'api server true')
  t.ok((await Promise.all(strangers)).length === 20 && had.some((line) => line.endsWith('false')))
})

t.test('what has taken longer than its length would say is paid for', async (t) => {
  const { turns, clock } = still()
  turns.charge('a', 4 * mib)
  turns.settle('a', 1, 16 << 10)
  const first = turns.turn('a', 1, never)
  t.equal(await first, true, 'as long as its length says')
  turns.settle('a', 100, mib)
  const had: string[] = []
  const waiting = turns.turn('a', 1, never).then((yes) => had.push(`a ${yes}`))
  for (let n = 0; n < 4; n++) await new Promise(setImmediate)
  t.strictSame(had, [])
  clock.ms = 1_000
  await waiting
  t.strictSame(had, ['a true'], 'half a MiB is paid off in half a second')
  const slow = still()
  slow.turns.charge('a', 3 * mib)
  slow.turns.settle('a', 60_000, 3 * mib)
  t.ok(slow.turns.charge('a', 0), 'one review never makes an address owe more than can be waited for')
})

t.test('a thousand strangers together have no more of us than there is for all', async (t) => {
  const { turns, clock } = still(3 * mib)
  const had: number[] = []
  for (let n = 0; n < 6; n++) turns.charge(`stranger ${n}`, 3 * mib)
  const asked = Array.from({ length: 6 }, (_, n) =>
    turns.turn(`stranger ${n}`, mib, never).then((yes) => (yes ? had.push(n) : undefined)),
  )
  await Promise.all(asked.slice(0, 3))
  for (let n = 0; n < 20; n++) await new Promise(setImmediate)
  t.strictSame(had, [0, 1, 2, 3], 'until something is owed')
  clock.ms = 10_000
  await Promise.all(asked)
  t.strictSame(had, [0, 1, 2, 3, 4, 5])
})

t.test('addresses without number are not remembered without end', async (t) => {
  const { turns, clock } = still()
  for (let n = 0; n < 10_000; n++) turns.charge(`stranger ${n}`, mib)
  t.notOk(turns.charge('stranger 10000', 1), 'those that are too many are one')
  clock.ms = 10_000_000
  t.ok(turns.charge('stranger 10001', 1), 'until others are forgotten')
})
