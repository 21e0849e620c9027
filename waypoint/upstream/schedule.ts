/** Earliest deadline first over weighted items, as Envoy's round robin has it: each comes as often as its weight says. */
export class Schedule<T> {
  readonly #heap: { item: T; deadline: number; order: number }[] = []
  readonly #weightOf: (item: T) => number
  #now = 0
  #order = 0

  /** `weightOf` is asked whenever an item is put back, so that a weight may depend on what goes on. */
  constructor(items: readonly T[], weightOf: (item: T) => number, random: () => number) {
    this.#weightOf = weightOf
    for (const item of items) this.#put(item, random())
  }

  get size(): number {
    return this.#heap.length
  }

  next(): T | undefined {
    const [first] = this.#heap
    if (!first) return undefined
    this.#take()
    this.#now = first.deadline
    this.#put(first.item, 1)
    return first.item
  }

  /** `part` of its turn: at the beginning everyone starts somewhere in it. */
  #put(item: T, part: number): void {
    const weight = Math.max(this.#weightOf(item), Number.EPSILON)
    const entry = { item, deadline: this.#now + part / weight, order: this.#order++ }
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (!above || !isBefore(entry, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = entry
  }

  #take(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const [a, b] = [heap[left], heap[left + 1]]
      const least = b && a && isBefore(b, a) ? left + 1 : left
      const child = heap[least]
      if (!child || !isBefore(child, last)) break
      heap[at] = child
      at = least
    }
    heap[at] = last
  }
}

type Entry = Readonly<{ deadline: number; order: number }>
const isBefore = (a: Entry, b: Entry) =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order)
