import t from 'tap'
import { Certificates, identityMetrics, type Sign, type SpiffeId } from '#identity'
import { Registry } from '#telemetry'
import { refreshInMs, skewMs } from '../../../lib/identity/renewal.ts'
import { handClock, hour, id, never, signer, silent } from './hand-clock.ts'

const day = 24 * hour
const minute = 60_000

function metered() {
  const registry = new Registry()
  const value = async (name: string) =>
    Number(new RegExp(`^${name} (.+)$`, 'm').exec(await registry.metrics())?.[1] ?? Number.NaN)
  return { metrics: identityMetrics(registry), value }
}

const from = Date.parse('2026-01-01T00:00:00Z')
const life = { notBefore: new Date(from), notAfter: new Date(from + day) }
const plans: [string, number, number][] = [
  ['one that has just begun waits half of its life', 0, day / 2],
  ['one that was back-dated waits a little less', 2 * minute, day / 2 - 2 * minute],
  ['one that begins in future waits no longer than half a life', -10 * minute, day / 2],
  ['one that begins next month waits no longer than half a life', -30 * day, day / 2],
  ['one past its half waits for a twentieth of its life', 13 * hour, 72 * minute],
  ['one close to its end waits for half of what is left', 23.5 * hour, 15 * minute],
  ['one past its end waits but a moment', 25 * hour, 1_000],
]
for (const [title, age, want] of plans)
  t.test(title, async (t) =>
    t.equal(
      refreshInMs(life, from + age, () => 0),
      want,
    ),
  )

t.test('skew is what a new certificate shows of two clocks', async (t) => {
  t.equal(skewMs(life, from + minute), 0)
  t.equal(skewMs(life, from - minute), minute)
  t.equal(skewMs(life, from + day + minute), -minute)
})

for (const [title, jumpMs] of [
  ['an hour forward', hour],
  ['13 hours forward', 13 * hour],
  ['a day forward', day],
  ['an hour back', -hour],
  ['a day back', -day],
] as const) {
  t.test(`a clock that is set ${title} neither starves nor floods the CA`, async (t) => {
    const { clock, advance, jump, waiting } = handClock()
    const calls: SpiffeId[] = []
    // The CA's clock is right, and for as long as ours is wrong it stays so.
    const began = clock.monotonic()
    const sign = signer(clock, calls, day, clock.monotonic)
    let n = 0
    using certificates = new Certificates({ sign, clock, log: silent, random: () => (n++ % 10) / 10 })
    const all = Array.from({ length: jumpMs === day ? 1 : 8 }, (_, i) => id(`w${i}`))
    for (const one of all) await certificates.get(one, never)
    t.equal(calls.length, all.length)
    jump(jumpMs)
    t.equal(calls.length, all.length, 'nothing in the same moment')
    let most = 0
    while (clock.monotonic() - began < day) {
      const before = calls.length
      await advance(Math.max(100, Math.min(...waiting(), hour)))
      most = Math.max(most, calls.length - before)
    }
    for (const one of all) {
      const times = calls.filter((who) => who === one).length
      // With a clock a day ahead every answer looks expired: one try each 150 s at most.
      // With one 13 hours ahead every answer looks half as old as it may get.
      const limit = jumpMs === day ? day / 150_000 / 0.8 + 10 : jumpMs === 13 * hour ? 21 : 4
      if (times < 2 || times > limit) t.fail(`${one} was fetched ${times} times`)
    }
    t.ok(most <= 8, `at most ${most} in one moment`)
  })
}

t.test('a clock that is behind the CA’s is named, and the certificate is used', async (t) => {
  const { clock } = handClock()
  const { metrics, value } = metered()
  const warned: unknown[] = []
  const log = { warn: (_: string, fields?: unknown) => void warned.push(fields) }
  const sign = signer(clock, [], day, () => clock.now() + 10 * minute)
  using certificates = new Certificates({ sign, clock, log, metrics })
  t.ok(await certificates.get(id('a'), never))
  t.match(warned, [
    { identity: id('a'), error: "not yet valid: our clock is at least 600 s behind the CA's" },
  ])
  t.equal(await value('lateen_clock_skew_seconds'), 600)
})

t.test('a clock that is ahead of the CA’s is named in the error', async (t) => {
  const { clock } = handClock()
  const { metrics, value } = metered()
  const sign = signer(clock, [], day, () => clock.now() - day - 10 * minute)
  using certificates = new Certificates({ sign, clock, log: silent, metrics })
  await t.rejects(certificates.get(id('a'), never), /our clock is at least 600 s ahead of the CA's/)
  t.equal(await value('lateen_clock_skew_seconds'), 600)
  t.equal(await value('lateen_certificate_renewal_failures_total'), 1)
})

t.test('two minutes either way are nobody’s business', async (t) => {
  for (const skew of [-2 * minute, 2 * minute]) {
    const { clock } = handClock()
    // Istio's CA sets the beginning back by two minutes.
    const sign = signer(clock, [], day, () => clock.now() + skew - 2 * minute)
    const log = { warn: () => t.fail('warned') }
    using certificates = new Certificates({ sign, clock, log })
    t.ok(await certificates.get(id('a'), never))
  }
})

t.test('a CA that fails for 40 % of the lifetime is noticed only by the metrics', async (t) => {
  const { clock, advance } = handClock()
  const { metrics, value } = metered()
  const calls: SpiffeId[] = []
  const good = signer(clock, calls)
  let away = false
  const sign: Sign = async (...args) => {
    if (away) throw new Error('away')
    return await good(...args)
  }
  using certificates = new Certificates({ sign, clock, log: silent, metrics, random: () => 0.5 })
  await certificates.get(id('a'), never)
  away = true
  let late = 0
  const end = clock.now() + (0.5 + 0.4) * day
  while (clock.now() < end) {
    await advance(minute)
    await certificates.get(id('a'), never)
    late = Math.max(late, await value('lateen_certificates_late'))
  }
  t.equal(late, 1, 'less than a quarter was left')
  t.ok((await value('lateen_certificate_renewal_failures_total')) > 200)
  t.equal(await value('lateen_certificates_available'), 1)
  away = false
  await advance(200_000)
  t.equal(calls.length, 2)
  t.equal(await value('lateen_certificates_late'), 0)
  t.equal(
    await value('lateen_certificate_next_expiry_timestamp_seconds'),
    Math.floor((certificates.current(id('a'))?.notAfter.getTime() ?? 0) / 1_000),
  )
})

t.test('the next try is never after the end of what is held', async (t) => {
  const { clock, advance, waiting } = handClock()
  const good = signer(clock, [], 10 * minute)
  let away = false
  const sign: Sign = async (...args) => {
    if (away) throw new Error('away')
    return await good(...args)
  }
  using certificates = new Certificates({ sign, clock, log: silent, random: () => 0.5 })
  const { notAfter } = await certificates.get(id('a'), never)
  away = true
  while (clock.now() < notAfter.getTime()) {
    const [next = 0] = waiting()
    t.ok(clock.now() + next <= notAfter.getTime(), `a try in ${next} ms`)
    await advance(Math.max(1, next))
  }
  t.equal(certificates.current(id('a')), undefined)
})

t.test(
  'when the roots change everything is fetched anew within seconds, and not in one moment',
  async (t) => {
    const { clock, advance } = handClock()
    const calls: SpiffeId[] = []
    let n = 0
    const renewed: unknown[] = []
    using certificates = new Certificates({
      sign: signer(clock, calls),
      clock,
      log: silent,
      random: () => (n++ % 10) / 10,
      renewed: (one) => void renewed.push(one),
    })
    for (let i = 0; i < 20; i++) await certificates.get(id(`w${i}`), never)
    const pending = certificates.get(id('late'), never)
    certificates.refreshAll()
    await pending
    let most = 0
    for (let ms = 0; ms <= 2_500; ms += 250) {
      const before = calls.length
      await advance(250)
      most = Math.max(most, calls.length - before)
    }
    t.equal(calls.length, 42, 'what was on its way is fetched again as well')
    t.equal(renewed.length, 42)
    t.ok(most <= 6, `${most} at once`)
  },
)

t.test(
  'who waits comes before what is prepared, and that before what gets old; the oldest first',
  async (t) => {
    const { clock, advance, settle } = handClock()
    const order: string[] = []
    const gates: (() => void)[] = []
    const good = signer(clock, [], hour)
    let isGated = false
    const sign: Sign = async (csr, who, signal) => {
      order.push(who.slice(who.lastIndexOf('/') + 1))
      if (isGated) await new Promise<void>((resolve) => gates.push(resolve))
      return await good(csr, who, signal)
    }
    using certificates = new Certificates({ sign, clock, log: silent, random: () => 0, maxParallel: 1 })
    for (const name of ['old1', 'old2']) {
      await certificates.get(id(name), never)
      await advance(1_000)
    }
    isGated = true
    order.length = 0
    certificates.prefetch(id('blocker'))
    await advance(hour / 2)
    certificates.prefetch(id('warm1'))
    await advance(1)
    certificates.prefetch(id('warm2'))
    void certificates.get(id('now'), never)
    const open = async () => {
      gates.shift()?.()
      await settle()
    }
    for (let i = 0; i < 6; i++) await open()
    t.same(order, ['blocker', 'now', 'warm1', 'warm2', 'old1', 'old2'])
  },
)

t.test('never more than eight requests at a time, and none of three hundred is lost', async (t) => {
  const { clock } = handClock()
  const calls: SpiffeId[] = []
  const answer = signer(clock, calls)
  let running = 0
  let most = 0
  const sign: Sign = async (...args) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
    return await answer(...args)
  }
  using certificates = new Certificates({ sign, clock, log: silent })
  for (let i = 0; i < 300; i++) certificates.prefetch(id(`w${i}`))
  while (certificates.dump().some(({ state }) => state !== 'available'))
    await new Promise((resolve) => setImmediate(resolve))
  t.equal(new Set(calls).size, 300)
  t.equal(most, 8)
})

t.test('beyond the limit of a node nothing is dropped in silence', async (t) => {
  const { clock } = handClock()
  const { metrics, value } = metered()
  const warned: unknown[] = []
  const log = { warn: (_: string, fields?: unknown) => void warned.push(fields) }
  using certificates = new Certificates({ sign: signer(clock, []), clock, log, metrics, maxIdentities: 1 })
  certificates.prefetch(id('a'))
  certificates.prefetch(id('b'))
  t.match(warned, [{ identity: id('b') }])
  t.equal(await value('lateen_certificates_not_prepared_total'), 1)
  await t.rejects(certificates.get(id('b'), never), { code: 'over-limit' })
  t.ok(await certificates.get(id('a'), never))
})
