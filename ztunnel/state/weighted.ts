import type { WorkloadUid } from '#mesh'

/** Room of a new set; it doubles when it is full. */
const firstRoom = 8

/**
 * Things with weights, by uid. To put one in, to take one out and to choose one takes the logarithm of how many there
 * are: a tree of partial sums over numbered slots (Fenwick's). Weights are whole numbers above 0, their sum below 2^53.
 */
export class WeightedSet<T> {
  readonly #slotOf = new Map<WorkloadUid, number>()
  readonly #free: number[] = []
  #items: (T | undefined)[] = []
  #weights = new Float64Array(firstRoom)
  /** `#sums[i]` is the weight of the slots that end with slot i-1, as many as the lowest bit of i says. */
  #sums = new Float64Array(firstRoom + 1)
  #total = 0

  get size(): number {
    return this.#slotOf.size
  }

  set(uid: WorkloadUid, item: T, weight: number): void {
    this.delete(uid)
    const slot = this.#free.pop() ?? this.#items.length
    if (slot >= this.#weights.length) this.#grow()
    this.#slotOf.set(uid, slot)
    this.#items[slot] = item
    this.#weights[slot] = weight
    this.#add(slot, weight)
  }

  delete(uid: WorkloadUid): void {
    const slot = this.#slotOf.get(uid)
    if (slot === undefined) return
    this.#slotOf.delete(uid)
    this.#add(slot, -this.#weightAt(slot))
    this.#weights[slot] = 0
    this.#items[slot] = undefined
    this.#free.push(slot)
  }

  /** One by weight among those that are not in `without`; the work grows with `without`, not with the items. */
  choose(without: ReadonlySet<WorkloadUid>, random: () => number): T | undefined {
    const gaps = without.size === 0 ? [] : this.#slotsOf(without)
    const total = gaps.reduce((rest, slot) => rest - this.#weightAt(slot), this.#total)
    if (total <= 0) return undefined
    // A point on the line without the gaps, moved past each gap that begins before it. Whole, whatever rounding does.
    let point = Math.min(Math.floor(random() * total), total - 1)
    for (const slot of gaps) {
      if (point < this.#before(slot)) break
      point += this.#weightAt(slot)
    }
    return this.#items[this.#slotAt(point)]
  }

  #weightAt(slot: number): number {
    return this.#weights[slot] ?? 0
  }

  #slotsOf(uids: ReadonlySet<WorkloadUid>): number[] {
    const slots: number[] = []
    for (const uid of uids) {
      const slot = this.#slotOf.get(uid)
      if (slot !== undefined) slots.push(slot)
    }
    return slots.sort((a, b) => a - b)
  }

  #add(slot: number, weight: number): void {
    this.#total += weight
    for (let i = slot + 1; i < this.#sums.length; i += i & -i) this.#sums[i] = (this.#sums[i] ?? 0) + weight
  }

  /** The weight of all slots before this one. */
  #before(slot: number): number {
    let sum = 0
    for (let i = slot; i > 0; i -= i & -i) sum += this.#sums[i] ?? 0
    return sum
  }

  /** The slot in which the point lies: the last one with no more than `point` before it that has a weight. */
  #slotAt(point: number): number {
    let slot = 0
    let left = point
    for (let step = this.#weights.length; step > 0; step >>= 1) {
      const sum = this.#sums[slot + step]
      if (sum === undefined || sum > left) continue
      slot += step
      left -= sum
    }
    return slot
  }

  #grow(): void {
    const weights = new Float64Array(this.#weights.length * 2)
    weights.set(this.#weights)
    this.#weights = weights
    this.#sums = new Float64Array(weights.length + 1)
    this.#total = 0
    for (const [slot, weight] of weights.entries()) if (weight > 0) this.#add(slot, weight)
  }
}
