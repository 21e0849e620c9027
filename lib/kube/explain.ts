/** As much of a collection as tracing takes, whatever its rows are. */
export type Traceable = Readonly<{
  name: string
  get(key: string): unknown
  keys(): readonly string[]
  origins?: (key: string) => readonly Origin[]
}>

/** One question that a row asked while it was computed. `keys` are those of the answers; a scan reads everything. */
export type Origin = Readonly<{
  from: Traceable
  how: 'input' | 'key' | 'index' | 'scan'
  keys: readonly string[]
}>

/** A row with what it was computed from, down to objects that came from outside. */
export type Explanation = Readonly<{
  collection: string
  key: string
  /** False: it was asked for, and is not there. Should it come, the row above is computed again. */
  exists: boolean
  from: readonly Readonly<{
    how: Origin['how']
    collection: string
    rows: readonly Explanation[]
    more: number
  }>[]
}>

/** No chain of our collections is longer. */
const maxDepth = 12
/** Rows shown of one answer; a namespace may have thousands. */
const maxRows = 50

/** The inputs that a row came from, for whoever wonders why it is as it is. Costs a look through all dependencies. */
export function explainRow(collection: Traceable, key: string, depth = maxDepth): Explanation {
  const origins = depth > 0 ? (collection.origins?.(key) ?? []) : []
  return {
    collection: collection.name,
    key,
    exists: collection.get(key) !== undefined,
    from: origins.map(({ from, how, keys }) => ({
      how,
      collection: from.name,
      rows: keys.slice(0, maxRows).map((each) => explainRow(from, each, depth - 1)),
      more: Math.max(0, keys.length - maxRows),
    })),
  }
}
