import type { MetricName } from '#telemetry'
import type { Labels } from './labels.ts'
import { labelsFor, united, type Variants } from './variants.ts'

/** Sets of labels kept; about 2 KiB each. */
const maxRows = 4_096

type Entry<T> = Readonly<{ labels: Labels; variants: Variants | undefined; value: T }>
type Make = Readonly<{
  key: string
  labels: () => Labels
  /** Of all that are beyond the bound. */
  overflow: () => Labels
  variants?: Variants | undefined
}>

/** Counts by sets of labels: counting is adding to numbers, labels are rendered when somebody reads. */
export class Rows<T> {
  readonly #rows = new Map<string, Entry<T>>()
  readonly #create: () => T
  #hasVariants = false

  constructor(create: () => T) {
    this.#create = create
  }

  /** The row of a key; beyond the bound all new keys share one. */
  row({ key, labels, overflow, variants }: Make): T {
    const whole = variants ? `${key}|${JSON.stringify(variants)}` : key
    const known = this.#rows.get(whole)
    if (known) return known.value
    if (this.#rows.size >= maxRows) return this.#at('overflow', overflow(), undefined)
    if (variants) this.#hasVariants = true
    return this.#at(whole, labels(), variants)
  }

  /** What is told of one series, whose values `of` takes from the rows and `add` puts together. */
  told<V>(
    metric: MetricName,
    of: (row: T) => V,
    add: (a: V, b: V) => V,
  ): readonly { labels: Labels; value: V }[] {
    const all = [...this.#rows.values()].flatMap(({ labels, variants, value }) => {
      const changed = labelsFor(metric, labels, variants)
      return changed === undefined ? [] : [{ labels: changed, value: of(value) }]
    })
    return this.#hasVariants ? united(all, add) : all
  }

  #at(key: string, labels: Labels, variants: Variants | undefined): T {
    const known = this.#rows.get(key)
    if (known) return known.value
    const value = this.#create()
    this.#rows.set(key, { labels, variants, value })
    return value
  }
}

export const sum = (a: number, b: number): number => a + b
