import fc from 'fast-check'
import t from 'tap'
import type { WorkloadUid } from '../../../ztunnel/state/index.ts'
import { tierOf, weighted } from '../../../ztunnel/state/weighted.ts'

type Item = { uid: WorkloadUid; weight: number }
const items = (weights: readonly number[]): Item[] =>
  weights.map((weight, n) => ({ uid: `w${n}` as WorkloadUid, weight }))
const tier = (list: readonly Item[]) =>
  tierOf(
    list,
    ({ uid }) => uid,
    ({ weight }) => weight,
  )

t.test('each is chosen exactly as often as its weight says, whoever is left out', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(9), { maxLength: 4 }),
      (weights, out) => {
        const list = items(weights)
        const without = new Set(out.map((n) => `w${n}` as WorkloadUid))
        const left = list.filter(({ uid }) => !without.has(uid))
        const total = left.reduce((sum, { weight }) => sum + weight, 0)
        const seen = new Map<string, number>()
        for (let n = 0; n < total; n++) {
          const one = weighted(tier(list), without, () => (n + 0.5) / total)
          if (one) seen.set(one.uid, (seen.get(one.uid) ?? 0) + 1)
        }
        const wanted = new Map(left.map(({ uid, weight }) => [uid, weight]))
        const same =
          wanted.size === seen.size && [...wanted].every(([uid, weight]) => seen.get(uid) === weight)
        if (!same) throw new Error(JSON.stringify([[...wanted], [...seen]]))
        if (total === 0 && weighted(tier(list), without, () => 0) !== undefined)
          throw new Error('from nothing')
      },
    ),
    { numRuns: 3_000 },
  )
  t.pass()
})

t.test('the ends of the dice stay inside, also with the largest weights', async (t) => {
  const list = items(Array.from({ length: 1_000 }, () => 2 ** 32 - 1))
  const last = new Set(['w999' as WorkloadUid])
  t.equal(weighted(tier(list), new Set(), () => 1 - 2 ** -53)?.uid, 'w999')
  t.equal(weighted(tier(list), last, () => 1 - 2 ** -53)?.uid, 'w998')
  t.equal(weighted(tier(list), last, () => 0)?.uid, 'w0')
  t.equal(
    weighted(tier([]), last, () => 0),
    undefined,
  )
})

t.test('a choice among many looks at few', async (t) => {
  let read = 0
  const list = items(Array.from({ length: 100_000 }, () => 1))
  const one = tier(list)
  const get = (sums: Float64Array, key: string) => {
    read++
    const value: unknown = Reflect.get(sums, key)
    return typeof value === 'function' ? value.bind(sums) : value
  }
  const watched = { ...one, sums: new Proxy(one.sums, { get }) }
  weighted(watched, new Set(), () => 0.37)
  t.ok(read < 40, `${read} reads of 100 000`)
})
