import type { MetricName } from '#telemetry'
import type { Labels } from './labels.ts'
import { labelsFor, united, type Variants } from './variants.ts'

/** Sets of labels kept; about 2 KiB each. */
const maxRows = 4_096

/** Of one key: how it went, as a number where that says all. */
export type Outcome = string | number

type Entry<T> = Readonly<{ labels: Labels; variants: Variants | undefined; value: T }>
type Make = Readonly<{
  key: string
  outcome: Outcome
  labels: () => Labels
  /** Of all that are beyond the bound. */
  overflow: () => Labels
  variants?: Variants | undefined
}>

/** Counts by sets of labels: counting is adding to numbers, labels are rendered when somebody reads. */
export class Rows<T> {
  /** In the order in which they came. */
  readonly #entries: Entry<T>[] = []
  readonly #known = new Map<string, Map<Outcome, Entry<T>>>()
  readonly #create: () => T
  #overflow: Entry<T> | undefined
  #hasVariants = false

  constructor(create: () => T) {
    this.#create = create
  }

  /** The row of a key and an outcome that have been there before, and have no variants. */
  known(key: string, outcome: Outcome): T | undefined {
    return this.#known.get(key)?.get(outcome)?.value
  }

  /** The row of a key and an outcome; beyond the bound all new ones share one. */
  row({ key, outcome, labels, overflow, variants }: Make): T {
    const whole = variants ? `${key}|${JSON.stringify(variants)}` : key
    const ofKey = this.#known.get(whole) ?? new Map<Outcome, Entry<T>>()
    const known = ofKey.get(outcome)
    if (known) return known.value
    if (this.#entries.length >= maxRows) return (this.#overflow ??= this.#enter(overflow(), undefined)).value
    if (variants) this.#hasVariants = true
    const made = this.#enter(labels(), variants)
    this.#known.set(whole, ofKey.set(outcome, made))
    return made.value
  }

  /** What is told of one series, whose values `of` takes from the rows and `add` puts together. */
  told<V>(
    metric: MetricName,
    of: (row: T) => V,
    add: (a: V, b: V) => V,
  ): readonly { labels: Labels; value: V }[] {
    const all = this.#entries.flatMap(({ labels, variants, value }) => {
      const changed = labelsFor(metric, labels, variants)
      return changed === undefined ? [] : [{ labels: changed, value: of(value) }]
    })
    return this.#hasVariants ? united(all, add) : all
  }

  #enter(labels: Labels, variants: Variants | undefined): Entry<T> {
    const entry = { labels, variants, value: this.#create() }
    this.#entries.push(entry)
    return entry
  }
}

export const sum = (a: number, b: number): number => a + b
