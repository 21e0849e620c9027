import type { WorkloadUid } from './mesh.ts'

/** Things with the running sum of their weights: a choice is one binary search. */
export type Tier<T> = Readonly<{
  items: readonly T[]
  sums: Float64Array
  /** Where each one is; made when the first one has to be left out. */
  places: () => ReadonlyMap<WorkloadUid, number>
}>

/** Weights are whole numbers above 0, their sum below 2^53. */
export function tierOf<T>(
  items: readonly T[],
  uidOf: (item: T) => WorkloadUid,
  weightOf: (item: T) => number,
): Tier<T> {
  let sum = 0
  const sums = Float64Array.from(items, (item) => (sum += weightOf(item)))
  let places: ReadonlyMap<WorkloadUid, number> | undefined
  return { items, sums, places: () => (places ??= new Map(items.map((item, n) => [uidOf(item), n]))) }
}

/** One by weight among those that are not in `without`; the work grows with `without`, not with the items. */
export function weighted<T>(
  tier: Tier<T>,
  without: ReadonlySet<WorkloadUid>,
  random: () => number,
): T | undefined {
  const { items, sums } = tier
  const all = sums[sums.length - 1] ?? 0
  if (without.size === 0) return items[indexOf(sums, pointOf(all, random))]
  const left = placesOf(tier, without)
  const startOf = (n: number) => (n === 0 ? 0 : (sums[n - 1] ?? 0))
  const weightOf = (n: number) => (sums[n] ?? 0) - startOf(n)
  const total = left.reduce((rest, n) => rest - weightOf(n), all)
  if (total <= 0) return undefined
  // A point on the line without the gaps, moved past each gap that begins before it.
  let point = pointOf(total, random)
  for (const n of left) {
    if (point < startOf(n)) break
    point += weightOf(n)
  }
  return items[indexOf(sums, point)]
}

/** A whole number in [0, total), whatever rounding does to the product. */
const pointOf = (total: number, random: () => number) => Math.min(Math.floor(random() * total), total - 1)

function placesOf<T>(tier: Tier<T>, uids: ReadonlySet<WorkloadUid>): number[] {
  const places = tier.places()
  const found: number[] = []
  for (const uid of uids) {
    const place = places.get(uid)
    if (place !== undefined) found.push(place)
  }
  return found.sort((a, b) => a - b)
}

/** First index whose running sum is above `point`. */
function indexOf(sums: Float64Array, point: number): number {
  let low = 0
  let high = sums.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sums[middle] ?? 0) > point) high = middle
    else low = middle + 1
  }
  return low
}
