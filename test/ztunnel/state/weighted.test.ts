import fc from 'fast-check'
import t from 'tap'
import type { WorkloadUid } from '../../../ztunnel/state/index.ts'
import { WeightedSet } from '../../../ztunnel/state/weighted.ts'
import '../../fakes/seed.ts'

type Item = { uid: WorkloadUid; weight: number }
const items = (weights: readonly number[]): Item[] =>
  weights.map((weight, n) => ({ uid: `w${n}` as WorkloadUid, weight }))
const setOf = (list: readonly Item[]) => {
  const set = new WeightedSet<Item>()
  for (const item of list) set.set(item.uid, item, item.weight)
  return set
}

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
          const one = setOf(list).choose(without, () => (n + 0.5) / total)
          if (one) seen.set(one.uid, (seen.get(one.uid) ?? 0) + 1)
        }
        const wanted = new Map(left.map(({ uid, weight }) => [uid, weight]))
        const same =
          wanted.size === seen.size && [...wanted].every(([uid, weight]) => seen.get(uid) === weight)
        if (!same) throw new Error(JSON.stringify([[...wanted], [...seen]]))
        if (total === 0 && setOf(list).choose(without, () => 0) !== undefined) throw new Error('from nothing')
      },
    ),
    { numRuns: 3_000 },
  )
  t.pass()
})

t.test('the ends of the dice stay inside, also with the largest weights', async (t) => {
  const list = items(Array.from({ length: 1_000 }, () => 2 ** 32 - 1))
  const last = new Set(['w999' as WorkloadUid])
  t.equal(setOf(list).choose(new Set(), () => 1 - 2 ** -53)?.uid, 'w999')
  t.equal(setOf(list).choose(last, () => 1 - 2 ** -53)?.uid, 'w998')
  t.equal(setOf(list).choose(last, () => 0)?.uid, 'w0')
  t.equal(
    setOf([]).choose(last, () => 0),
    undefined,
  )
})

t.test('whatever comes and goes: the choices are those of what is left', async (t) => {
  const change = fc.tuple(fc.nat(19), fc.nat(4))
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 60 }),
      fc.array(fc.nat(19), { maxLength: 3 }),
      (changes, out) => {
        const set = new WeightedSet<Item>()
        const left = new Map<WorkloadUid, number>()
        for (const [n, weight] of changes) {
          const uid = `w${n}` as WorkloadUid
          if (weight === 0) set.delete(uid)
          else set.set(uid, { uid, weight }, weight)
          if (weight === 0) left.delete(uid)
          else left.set(uid, weight)
        }
        if (set.size !== left.size) throw new Error(`${set.size} of ${left.size}`)
        const without = new Set(out.map((n) => `w${n}` as WorkloadUid))
        for (const uid of without) left.delete(uid)
        const total = [...left.values()].reduce((sum, weight) => sum + weight, 0)
        const seen = new Map<WorkloadUid, number>()
        for (let n = 0; n < total; n++) {
          const one = set.choose(without, () => (n + 0.5) / total)
          if (one) seen.set(one.uid, (seen.get(one.uid) ?? 0) + 1)
        }
        const same = seen.size === left.size && [...left].every(([uid, weight]) => seen.get(uid) === weight)
        if (!same) throw new Error(JSON.stringify([[...left], [...seen]]))
        if (total === 0 && set.choose(without, () => 0) !== undefined) throw new Error('from nothing')
      },
    ),
    { numRuns: 3_000 },
  )
  t.pass()
})
