import t from 'tap'
import { MeshError } from '#base'
import { Certificates, type Sign, type SpiffeId } from '#identity'
import { handClock, hour, id, never, signer, silent } from './hand-clock.ts'

t.test('an identity is fetched once, however many ask', async (t) => {
  const { clock } = handClock()
  const calls: SpiffeId[] = []
  using certificates = new Certificates({ sign: signer(clock, calls), clock, log: silent })
  const all = await Promise.all([1, 2, 3].map(() => certificates.get(id('a'), never)))
  t.equal(new Set(all).size, 1)
  t.equal(await certificates.get(id('a'), never), all[0])
  t.strictSame(calls, [id('a')])
})

t.test('a certificate is renewed at half of its life, spread by up to a tenth', async (t) => {
  for (const [random, hours] of [
    [0, 12],
    [0.5, 10.8],
  ] as const) {
    const { clock, advance, waiting } = handClock()
    const calls: SpiffeId[] = []
    using certificates = new Certificates({
      sign: signer(clock, calls),
      clock,
      log: silent,
      random: () => random,
    })
    const first = await certificates.get(id('a'), never)
    t.equal(Math.round((waiting()[0] ?? 0) / 60_000), hours * 60)
    await advance(hours * hour + 1000)
    t.equal(calls.length, 2)
    t.not(await certificates.get(id('a'), never), first)
  }
})

t.test('an old certificate serves while the CA is away, until it has expired', async (t) => {
  const { clock, advance } = handClock()
  const calls: SpiffeId[] = []
  const good = signer(clock, calls)
  let away = false
  const warned: unknown[] = []
  const sign: Sign = async (...args) => {
    if (away) throw new MeshError('identity-unavailable', { message: 'away' })
    return await good(...args)
  }
  const log = { warn: (_: string, fields?: unknown) => void warned.push(fields) }
  using certificates = new Certificates({ sign, clock, log, random: () => 0.5 })
  const first = await certificates.get(id('a'), never)
  away = true
  await advance(13 * hour)
  t.equal(await certificates.get(id('a'), never), first)
  t.equal(warned.length, 1)
  await advance(12 * hour)
  await t.rejects(certificates.get(id('a'), never), { code: 'identity-unavailable' })
  away = false
  await advance(200_000)
  t.not(await certificates.get(id('a'), never), first)
})

t.test('after a failure the waits double, and those who ask meanwhile are told at once', async (t) => {
  const { clock, advance, waiting } = handClock()
  let calls = 0
  const sign: Sign = async () => {
    calls++
    throw new Error('no')
  }
  using certificates = new Certificates({ sign, clock, log: silent, random: () => 0.5 })
  await t.rejects(certificates.get(id('a'), never), { code: 'identity-unavailable' })
  await t.rejects(certificates.get(id('a'), never), { code: 'identity-unavailable' })
  t.equal(calls, 1, 'asking does not hurry the CA')
  const waits: number[] = []
  for (let i = 0; i < 10; i++) {
    waits.push(waiting()[0] ?? 0)
    await advance(waiting()[0] ?? 0)
  }
  t.strictSame(waits.slice(0, 4), [1000, 2000, 4000, 8000])
  t.equal(waits.at(-1), 150_000)
  t.strictSame(certificates.dump(), [{ id: id('a'), state: 'unavailable', error: 'no' }])
})

t.test('requests are limited, and one that is waited for overtakes those that are not', async (t) => {
  const { clock, settle } = handClock()
  const calls: SpiffeId[] = []
  const good = signer(clock, calls)
  const gates: (() => void)[] = []
  const sign: Sign = async (...args) => {
    await new Promise<void>((resolve) => gates.push(resolve))
    return await good(...args)
  }
  using certificates = new Certificates({ sign, clock, log: silent, maxParallel: 2 })
  for (const name of ['a', 'b', 'c', 'd', 'e']) certificates.prefetch(id(name))
  const wanted = certificates.get(id('e'), never) // prepared already, and now needed
  await settle()
  t.equal(gates.length, 2)
  gates[0]?.()
  await settle()
  gates[2]?.()
  t.equal((await wanted).id, id('e'), 'before c and d')
})

t.test('a waiter may leave, a forgotten identity is not renewed, and no dump shows a key', async (t) => {
  const { clock, waiting } = handClock()
  const calls: SpiffeId[] = []
  using certificates = new Certificates({ sign: signer(clock, calls), clock, log: silent })
  const stop = new AbortController()
  const left = certificates.get(id('a'), stop.signal)
  stop.abort(new Error('gone'))
  await t.rejects(left, { message: 'gone' })
  await certificates.get(id('a'), never)
  t.notMatch(JSON.stringify(certificates.dump()), 'PRIVATE')
  t.equal(waiting().length, 1)
  certificates.forget(id('a'))
  t.equal(waiting().length, 0)
  t.strictSame(certificates.dump(), [])
})

t.test('an expired answer is a failure with its pauses, however many ask', async (t) => {
  const { clock, waiting } = handClock()
  const calls: SpiffeId[] = []
  using certificates = new Certificates({ sign: signer(clock, calls, -1), clock, log: silent })
  for (let n = 0; n < 3; n++) await t.rejects(certificates.get(id('a'), never), /expired/)
  t.equal(calls.length, 1)
  t.equal(waiting().length, 1, 'the next try')
})
