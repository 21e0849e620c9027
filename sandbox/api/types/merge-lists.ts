import { canonical, isObject } from './json.ts'
import type { JsonObject } from './schema.ts'

/** The patch itself is wrong; never leaves strategic-merge-patch.ts. */
export class PatchError extends Error {}

type ListMerge = Readonly<{
  original: readonly unknown[]
  patch: readonly unknown[]
  /** Undefined for lists of scalars. */
  mergeKey: string | undefined
  mergeItem: (original: JsonObject, patch: JsonObject) => JsonObject
}>

/** Merges two lists by key (or as sets of scalars), obeying `$patch` items. */
export function mergeLists(merge: ListMerge): unknown[] {
  const { original, patch, mergeKey } = merge
  if (mergeKey === undefined || !patch.every((item) => isObject(item))) {
    const all = dedupe([...original, ...patch])
    return orderBy(all, patch, original, undefined)
  }
  const { items, removed, replaceAll } = readDirectives(patch, mergeKey)
  if (replaceAll) return items.map((item) => merge.mergeItem({}, item))
  const merged = original.filter((item) => !removed.has(identity(item, mergeKey)))
  const places = new Map<string, number>()
  merged.forEach((item, i) => places.set(identity(item, mergeKey), i))
  for (const item of items) {
    const id = identity(item, mergeKey)
    const place = places.get(id)
    const before = place === undefined ? {} : merged[place]
    const after = merge.mergeItem(isObject(before) ? before : {}, item)
    if (place === undefined) places.set(id, merged.push(after) - 1)
    else merged[place] = after
  }
  return orderBy(merged, items, original, mergeKey)
}

function readDirectives(patch: readonly unknown[], mergeKey: string) {
  const items: JsonObject[] = []
  const removed = new Set<string>()
  let replaceAll = false
  for (const item of patch) {
    if (!isObject(item)) continue
    const directive = item['$patch']
    if (directive === 'replace') replaceAll = true
    else if (directive !== undefined && directive !== 'delete' && directive !== 'merge')
      throw new PatchError(`invalid value for special key $patch: ${JSON.stringify(directive)}`)
    else if (!Object.hasOwn(item, mergeKey))
      throw new PatchError(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`)
    else if (directive === 'delete') removed.add(identity(item, mergeKey))
    else items.push(item)
  }
  return { items, removed, replaceAll }
}

/** What makes an item the same item; one without the key is like no other. */
const identity = (item: unknown, mergeKey: string | undefined): string => {
  if (mergeKey === undefined) return canonical(item)
  return isObject(item) && Object.hasOwn(item, mergeKey) ? canonical(item[mergeKey]) : ''
}

function dedupe(items: readonly unknown[]): unknown[] {
  const seen = new Set<string>()
  return items.filter((item) => {
    const id = canonical(item)
    return !seen.has(id) && seen.add(id)
  })
}

/**
 * Puts `items` in the order of `wanted`; items that it does not name keep their places relative to `old`.
 * Matches strategicpatch's normalizeElementOrder, which merges the two sorted halves by the server's order.
 */
export function orderBy(
  items: readonly unknown[],
  wanted: readonly unknown[],
  old: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const rank = ranks(wanted, mergeKey)
  const oldRank = ranks(old, mergeKey)
  const place = (table: ReadonlyMap<string, number>, item: unknown) =>
    table.get(identity(item, mergeKey)) ?? Infinity
  const named = items
    .filter((item) => rank.has(identity(item, mergeKey)))
    .toSorted((a, b) => place(rank, a) - place(rank, b))
  const others = items.filter((item) => !rank.has(identity(item, mergeKey)))
  const out: unknown[] = []
  let i = 0
  for (const item of named) {
    while (i < others.length && isBefore(place(oldRank, others[i]), place(oldRank, item)))
      out.push(others[i++])
    out.push(item)
  }
  return [...out, ...others.slice(i)]
}

/**
 * The old list as it counts for the order: new items take the places of deleted ones at its end. (strategicpatch edits
 * the old list in place while it merges, and then looks at it; clients have learnt to expect the result.)
 */
export function placesLeft(
  lists: Readonly<{
    old: readonly unknown[]
    patch: readonly unknown[]
    list: readonly unknown[]
    mergeKey: string | undefined
  }>,
): readonly unknown[] {
  if (lists.mergeKey === undefined) return lists.old // lists of scalars are not edited in place
  const ids = (items: readonly unknown[]) => new Set(items.map((item) => identity(item, lists.mergeKey)))
  const kept = ids(lists.list)
  const known = ids(lists.old)
  const left = lists.old.filter((item) => kept.has(identity(item, lists.mergeKey)))
  const added = lists.patch.filter((item) => {
    const id = identity(item, lists.mergeKey)
    return kept.has(id) && !known.has(id)
  })
  return [...left, ...added].slice(0, lists.old.length)
}

const isBefore = (a: number, b: number): boolean => Number.isFinite(b) && a < b

function ranks(items: readonly unknown[], mergeKey: string | undefined): ReadonlyMap<string, number> {
  const table = new Map<string, number>()
  items.forEach((item, i) => {
    const id = identity(item, mergeKey)
    if (!table.has(id)) table.set(id, i)
  })
  return table
}
