import { isDeepStrictEqual } from 'node:util'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import { type Change, type Collection, Table } from './collection.ts'
import { Dependencies, type Fetch } from './dependencies.ts'

/** `equal`: when a row is no news. */
export type DeriveOptions<Out> = Readonly<{ log?: Logger; equal?: (a: Out, b: Out) => boolean }>

/** Output rows as a pure function of one input row and of what it fetched, under the input's key. Undefined: no row. */
export const derive = <In, Out>(
  name: string,
  input: Collection<In>,
  transform: (row: In, fetch: Fetch, key: string) => Out | undefined,
  options: DeriveOptions<Out> = {},
): Collection<Out> =>
  deriveKeyed<In, Out>(
    name,
    input,
    (row, fetch, key) => {
      const out = transform(row, fetch, key)
      return out === undefined ? [] : [[key, out]]
    },
    options,
  )

/** `derive` for any number of rows per input row; `keyOf` must never be the same for rows of two input rows. */
export const deriveMany = <In, Out>(
  name: string,
  input: Collection<In>,
  transform: (row: In, fetch: Fetch, key: string) => readonly Out[],
  { keyOf, ...options }: DeriveOptions<Out> & Readonly<{ keyOf: (row: Out) => string }>,
): Collection<Out> =>
  deriveKeyed(
    name,
    input,
    (row, fetch, key) => transform(row, fetch, key).map((out) => [keyOf(out), out]),
    options,
  )

/** The rows of one input row; a transform that throws (it should not) leaves its last good rows, and the log says so. */
function deriveKeyed<In, Out>(
  name: string,
  input: Collection<In>,
  transform: (row: In, fetch: Fetch, key: string) => readonly (readonly [string, Out])[],
  { log, equal = isDeepStrictEqual }: DeriveOptions<Out>,
): Collection<Out> {
  const table = new Table<Out>(name, (out) => {
    if (table.get(out) === undefined) return []
    const key = ownerOf(out)
    return [{ from: input, how: 'input', keys: [key] }, ...dependencies.origins(key)]
  })
  const dependencies = new Dependencies((keys) => recompute(keys))
  /** Output key → input key, where they differ. A row that moves to another input row in one batch is not removed by its old one. */
  const owner = new Map<string, string>()
  const ownerOf = (out: string): string => owner.get(out) ?? out
  const own = (out: string, key: string) => void (out === key ? owner.delete(out) : owner.set(out, key))
  /** Of input rows with any other output than one row under their own key. */
  const outputs = new Map<string, readonly string[]>()

  const compute = (key: string): readonly (readonly [string, Out])[] | undefined => {
    const row = input.get(key)
    if (row === undefined) {
      dependencies.forget(key)
      return []
    }
    try {
      return dependencies.recording(key, (fetch) => transform(row, fetch, key))
    } catch (error) {
      log?.error('a row cannot be derived; its last good state stays', { name, key, error: messageOf(error) })
      return undefined
    }
  }

  const recompute = (keys: Iterable<string>) => {
    const changes = new Map<string, Change<Out>>()
    const set = (key: string, row: Out | undefined) => changes.set(key, { key, old: table.get(key), row })
    const isThere = (key: string) => {
      const change = changes.get(key)
      return (change ? change.row : table.get(key)) !== undefined
    }
    for (const key of keys) {
      const rows = compute(key)
      if (rows === undefined) continue
      const before = outputs.get(key) ?? (isThere(key) ? [key] : [])
      for (const [out, row] of rows) {
        own(out, key)
        set(out, row)
      }
      const produced = rows.map(([out]) => out)
      for (const gone of before) {
        if (produced.includes(gone) || ownerOf(gone) !== key) continue
        owner.delete(gone)
        set(gone, undefined)
      }
      const isUsual = produced.length === 0 || (produced.length === 1 && produced[0] === key)
      if (isUsual) outputs.delete(key)
      else outputs.set(key, produced)
    }
    table.apply([...changes.values()].filter(({ old, row }) => isDifferent(old, row, equal)))
  }

  input.subscribe((changes) => recompute(changes.map(({ key }) => key)))
  void input.synced.then(() => dependencies.synced()).then(() => table.markSynced())
  return table.collection
}

const isDifferent = <T>(old: T | undefined, row: T | undefined, equal: (a: T, b: T) => boolean) =>
  old === undefined || row === undefined ? old !== row : !equal(old, row)

/** All rows of several collections. Where two have the same key, the earlier collection's row is seen. */
export function join<T>(name: string, inputs: readonly Collection<T>[]): Collection<T> {
  const holder = (key: string) => inputs.find((input) => input.get(key) !== undefined)
  const table = new Table<T>(name, (key) => {
    const from = holder(key)
    return from === undefined ? [] : [{ from, how: 'input', keys: [key] }]
  })
  const winner = (key: string) => holder(key)?.get(key)
  for (const input of inputs) {
    input.subscribe((changes) =>
      table.apply(
        changes
          .map(({ key }) => ({ key, old: table.get(key), row: winner(key) }))
          .filter(({ old, row }) => old !== row),
      ),
    )
  }
  void Promise.all(inputs.map(({ synced }) => synced)).then(() => table.markSynced())
  return table.collection
}
