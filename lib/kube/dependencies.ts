import type { Change, Collection, Index } from './collection.ts'
import type { Origin } from './explain.ts'
import { type Question, Questions } from './questions.ts'

/** Reads other collections; each read is remembered, and the row is computed again when its answer may have changed. */
export type Fetch = {
  /** Every row that passes the test; all rows without one. Costs a scan: prefer `by`. */
  <T>(from: Collection<T>, where?: (row: T) => boolean): readonly T[]
  one<T>(from: Collection<T>, key: string): T | undefined
  by<T>(index: Index<T>, value: string): readonly T[]
}

/** What the dependents of one collection asked it for. */
type Asked<T> = {
  readonly keys: Questions
  readonly values: Map<Index<T>, Questions>
  readonly tests: Map<(row: T) => boolean, string>
}

/** Who fetched what, so that a change finds exactly the rows that may see it. */
export class Dependencies {
  readonly #invalidate: (dependents: Iterable<string>) => void
  /** By collection; each value is the `Asked` of its key's row type, which only `#of` adds and reads. */
  readonly #asked = new Map<unknown, unknown>()
  readonly #askedOf: ((dependent: string) => readonly Origin[])[] = []
  readonly #synced: Promise<void>[] = []
  /** Of each dependent; one that asked for nothing is not in it. */
  readonly #questions = new Map<string, readonly Question[]>()

  constructor(invalidate: (dependents: Iterable<string>) => void) {
    this.#invalidate = invalidate
  }

  /** Runs `compute` for one dependent and remembers what it fetches in place of what it fetched before. */
  recording<R>(dependent: string, compute: (fetch: Fetch) => R): R {
    this.forget(dependent)
    const questions: Question[] = []
    const all = <T>(from: Collection<T>, where: (row: T) => boolean = () => true) => {
      const test = (row: T) => where(row) // an identity of its own, even if two rows share a predicate
      const { tests } = this.#of(from)
      tests.set(test, dependent)
      questions.push({ withdraw: () => tests.delete(test) })
      return from.list().filter(where)
    }
    const one = <T>(from: Collection<T>, key: string) => {
      questions.push(this.#of(from).keys.ask(key, dependent))
      return from.get(key)
    }
    const by = <T>(index: Index<T>, value: string) => {
      const { values } = this.#of(index.of)
      const ofIndex = values.get(index) ?? new Questions()
      values.set(index, ofIndex)
      questions.push(ofIndex.ask(value, dependent))
      return index.lookup(value)
    }
    try {
      return compute(Object.assign(all, { one, by }))
    } finally {
      // Also of one that failed: what it asked until then may be what failed it.
      if (questions.length > 0) this.#questions.set(dependent, [...new Set(questions)].slice()) // as long as it is
    }
  }

  forget(dependent: string): void {
    for (const question of this.#questions.get(dependent) ?? []) question.withdraw(dependent)
    this.#questions.delete(dependent)
  }

  /** What a dependent asked for when it was last computed. Looks through everything: for people, not for programs. */
  origins(dependent: string): readonly Origin[] {
    return [...this.#askedOf].flatMap((askedOf) => askedOf(dependent))
  }

  /** Resolves when everything that was ever fetched from is synced. */
  async synced(): Promise<void> {
    for (let awaited = 0; awaited < this.#synced.length; awaited++) await this.#synced[awaited]
  }

  #of<T>(collection: Collection<T>): Asked<T> {
    const found = this.#asked.get(collection)
    if (found) return found as Asked<T>
    const asked: Asked<T> = { keys: new Questions(), values: new Map(), tests: new Map() }
    this.#asked.set(collection, asked)
    this.#askedOf.push((dependent) => originsIn(collection, asked, dependent))
    this.#synced.push(collection.synced)
    collection.subscribe((changes) => {
      const hit = affected(asked, changes)
      if (hit.size > 0) this.#invalidate(hit)
    })
    return asked
  }
}

/** The dependents whose answer can differ: what they asked for fits the row as it was, or as it is. */
function affected<T>({ keys, values, tests }: Asked<T>, changes: readonly Change<T>[]): Set<string> {
  const hit = new Set<string>()
  for (const { key, old, row } of changes) {
    for (const dependent of keys.askers(key)) hit.add(dependent)
    for (const side of [old, row]) {
      if (side === undefined) continue
      for (const [{ valuesOf }, questions] of values)
        for (const value of valuesOf(side))
          for (const dependent of questions.askers(value)) hit.add(dependent)
      for (const [test, dependent] of tests) if (!hit.has(dependent) && test(side)) hit.add(dependent)
    }
  }
  return hit
}

function originsIn<T>(from: Collection<T>, { keys, values, tests }: Asked<T>, dependent: string): Origin[] {
  const by = [...values].flatMap(([index, questions]) =>
    questions.of(dependent).map((value): Origin => ({ from, how: 'index', keys: index.keys(value) })),
  )
  const scans = [...tests.values()].filter((who) => who === dependent)
  return [
    ...keys.of(dependent).map((key): Origin => ({ from, how: 'key', keys: [key] })),
    ...by,
    ...scans.map((): Origin => ({ from, how: 'scan', keys: [] })),
  ]
}
