import type { Labels } from './labels.ts'

/** Sets of labels kept; about 2 KiB each. */
const maxRows = 4_096

/** Counts by sets of labels: counting is adding to numbers, labels are rendered when somebody reads. */
export class Rows<T> {
  readonly #rows = new Map<string, Readonly<{ labels: Labels; value: T }>>()
  readonly #create: () => T

  constructor(create: () => T) {
    this.#create = create
  }

  /** The row of a key; beyond the bound all new keys share one. */
  row(key: string, labels: () => Labels, overflow: () => Labels): T {
    const known = this.#rows.get(key)
    if (known) return known.value
    if (this.#rows.size >= maxRows) return this.#at('overflow', overflow())
    return this.#at(key, labels())
  }

  entries(): Iterable<Readonly<{ labels: Labels; value: T }>> {
    return this.#rows.values()
  }

  #at(key: string, labels: Labels): T {
    const known = this.#rows.get(key)
    if (known) return known.value
    const value = this.#create()
    this.#rows.set(key, { labels, value })
    return value
  }
}
