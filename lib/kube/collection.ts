import type { Origin } from './explain.ts'
import { Groups } from './groups.ts'

/** What became of one row: `old` undefined = new row, `row` undefined = removed. */
export type Change<T> = Readonly<{ key: string; old: T | undefined; row: T | undefined }>

/** Told of what has changed. */
export type Listener<T> = (changes: readonly Change<T>[]) => void

/** A table of rows by key that tells of each real difference. Rows are immutable: they are replaced, never edited. */
export type Collection<T> = Readonly<{
  name: string
  get(key: string): T | undefined
  /** All rows, in the order of their keys. */
  list(): readonly T[]
  /** In the same order. */
  keys(): readonly string[]
  size(): number
  /** Rows by a property of theirs, kept up to date before any listener hears of a change. */
  indexBy(valuesOf: (row: T) => readonly string[]): Index<T>
  /** Calls with every row already held (if any), then with each batch of changes. */
  subscribe(listener: Listener<T>): Disposable
  /** Resolves when what was there at the start has been taken in. */
  synced: Promise<void>
  /** True from then on. */
  isSynced(): boolean
  /** What a row was computed from; absent where rows come from outside. See `explainRow`. */
  origins?: (key: string) => readonly Origin[]
}>

/** Finds rows without a scan. */
export type Index<T> = Readonly<{
  of: Collection<T>
  valuesOf: (row: T) => readonly string[]
  /** In the order of their keys. */
  lookup(value: string): readonly T[]
  /** The keys of these. */
  keys(value: string): readonly string[]
}>

/** The one place where rows are held; the owner writes, everybody else has the `Collection`. */
export class Table<T> {
  readonly collection: Collection<T>
  readonly #rows = new Map<string, T>()
  readonly #indexes: Listener<T>[] = []
  readonly #listeners = new Set<Listener<T>>()
  readonly #synced = Promise.withResolvers<void>()
  #isSynced = false
  #sorted: readonly T[] | undefined

  constructor(name: string, origins?: (key: string) => readonly Origin[]) {
    this.collection = {
      name,
      get: (key) => this.#rows.get(key),
      list: () => this.#list(),
      keys: () => [...this.#rows.keys()].sort(),
      size: () => this.#rows.size,
      indexBy: (valuesOf) => this.#indexBy(valuesOf),
      subscribe: (listener) => this.#subscribe(listener),
      synced: this.#synced.promise,
      isSynced: () => this.#isSynced,
      ...(origins === undefined ? {} : { origins }),
    }
  }

  get(key: string): T | undefined {
    return this.#rows.get(key)
  }

  keys(): readonly string[] {
    return [...this.#rows.keys()]
  }

  /** Takes the changes in, then tells the listeners in the order in which they subscribed. */
  apply(changes: readonly Change<T>[]): void {
    if (changes.length === 0) return
    for (const { key, row } of changes) {
      if (row === undefined) this.#rows.delete(key)
      else this.#rows.set(key, row)
    }
    this.#sorted = undefined
    for (const index of this.#indexes) index(changes)
    const told = [...this.#listeners] // one that subscribes meanwhile is given the rows as they are now
    for (const listener of told) listener(changes)
  }

  markSynced(): void {
    this.#isSynced = true
    this.#synced.resolve()
  }

  #list(): readonly T[] {
    this.#sorted ??= [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
    return this.#sorted
  }

  #held(): readonly Change<T>[] {
    return [...this.#rows].map(([key, row]) => ({ key, old: undefined, row }))
  }

  #subscribe(listener: Listener<T>): Disposable {
    this.#listeners.add(listener)
    const held = this.#held()
    if (held.length > 0) listener(held)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #indexBy(valuesOf: (row: T) => readonly string[]): Index<T> {
    const keysOf = new Groups()
    const update: Listener<T> = (changes) => {
      for (const { key, old, row } of changes) {
        if (old !== undefined) for (const value of valuesOf(old)) keysOf.remove(value, key)
        if (row !== undefined) for (const value of valuesOf(row)) keysOf.add(value, key)
      }
    }
    update(this.#held())
    this.#indexes.push(update)
    const keys = (value: string) => [...keysOf.of(value)].sort()
    const lookup = (value: string) =>
      keys(value)
        .map((key) => this.#rows.get(key))
        .filter((row) => row !== undefined)
    return { of: this.collection, valuesOf, lookup, keys }
  }
}

/** A collection that never changes; for settings and for tests. */
export function fixed<T>(name: string, rows: Readonly<Record<string, T>>): Collection<T> {
  const table = new Table<T>(name)
  table.apply(Object.entries(rows).map(([key, row]) => ({ key, old: undefined, row })))
  table.markSynced()
  return table.collection
}
