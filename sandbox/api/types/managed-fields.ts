import {
  difference,
  EMPTY,
  type FieldSet,
  formatPath,
  intersection,
  isSameSet,
  pathsOf,
  union,
  unionAll,
  withoutFields,
} from './field-set.ts'
import { clone, isEqualJson, isObject, isWithinDepth, objectAt } from './json.ts'
import {
  capUpdaters,
  type Entry,
  entriesOf,
  isReset,
  isSameOwner,
  takeFrom,
  withEntries,
} from './manager-entries.ts'
import { defaulted } from './prepare.ts'
import { prune } from './prune.ts'
import { apiVersionOf, type JsonObject, type KindType, type Schema } from './schema.ts'
import {
  type Comparison,
  compare,
  mergeTyped,
  removeItems,
  toFieldSet,
  withNamedFields,
} from './typed-walk.ts'

/** One field that somebody else owns with another value; `message` is Kubernetes' wording of the cause. */
export type ApplyConflict = Readonly<{ manager: string; field: string; message: string }>

export type ApplyRequest = Readonly<{
  kind: KindType
  live: JsonObject | undefined
  applied: JsonObject
  manager: string
  force: boolean
  /** '' for the main resource, 'status', 'scale' … */
  subresource: string
  now: string
}>

export type Applied =
  | Readonly<{ object: JsonObject }>
  | Readonly<{ conflicts: readonly ApplyConflict[] }>
  | Readonly<{ reject: string }>

/** Metadata that belongs to the server, and so to no manager. */
const SERVER_METADATA: readonly string[] = [
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'clusterName',
  'generation',
  'managedFields',
  'resourceVersion',
]
const STRIPPED: FieldSet = new Map([
  ['f:apiVersion', { member: true, children: EMPTY }],
  ['f:kind', { member: true, children: EMPTY }],
  [
    'f:metadata',
    {
      member: true,
      children: new Map(SERVER_METADATA.map((key) => [`f:${key}`, { member: true, children: EMPTY }])),
    },
  ],
])

/** Merges an applied configuration into the live object, or names everyone who stands against it. */
export function serverSideApply(request: ApplyRequest): Applied {
  const { kind, manager, subresource, now } = request
  if (!isWithinDepth(request.applied)) return { reject: 'the applied configuration is nested too deeply' }
  const applied = writable(request, prune(kind.schema, request.applied).value)
  const live = withEntries(request.live ?? {}, [])
  const known = entriesOf(request.live)
  const entries = known.length === 0 && request.live ? beforeFirstApply(request, live) : known
  const owner: Entry = {
    manager,
    operation: 'Apply',
    apiVersion: apiVersionOf(kind),
    subresource,
    time: now,
    fields: owned(request, toFieldSet(kind.schema, applied)),
  }
  const last = entries.find((entry) => isSameOwner(entry, owner))
  const others = entries.filter((entry) => entry !== last)
  const merged = mergeTyped(kind.schema, live, applied)
  const after = last ? pruneAbandoned(kind.schema, merged, { last, all: [...others, owner] }) : merged
  // What emptied containers leave behind counts for their owners, but is not stored.
  const stored = prune(kind.schema, after).value
  if (!isObject(stored)) return { reject: 'the applied configuration is no object' }
  const changes = filtered(request, compare(kind.schema, live, after))
  const touched = union(changes.modified, changes.added)
  if (!request.force) {
    const conflicts = others.flatMap((entry) => conflictsWith(entry, intersection(entry.fields, touched)))
    if (conflicts.length > 0) return { conflicts }
  }
  const rest = takeFrom(others, undefined, union(touched, changes.removed))
  // Defaults inside an atomic list go when it is applied again, and come back when the object is prepared.
  const isUnchanged =
    last !== undefined && isSameSet(last.fields, owner.fields) && isEqualJson(live, defaulted(kind, stored))
  const self = isUnchanged ? { ...owner, time: last.time } : owner
  return { object: withEntries(clone(stored), [...rest, self]) }
}

/** Objects that nobody has tracked so far: all of it belongs to whoever wrote it before. */
function beforeFirstApply(request: ApplyRequest, live: JsonObject): readonly Entry[] {
  const everything = compare(request.kind.schema, emptyOf(request.kind), live)
  return [
    {
      manager: 'before-first-apply',
      operation: 'Update',
      apiVersion: apiVersionOf(request.kind),
      subresource: '',
      time: request.now,
      fields: owned(request, everything.added),
    },
  ]
}

/** Go's zero object of a built-in kind has these already, so that nobody owns the field itself. */
const emptyOf = (kind: KindType): JsonObject => (kind.custom ? {} : { metadata: {}, spec: {}, status: {} })

type Scope = Pick<ApplyRequest, 'kind' | 'subresource'>

/** What a write to this part of the object can own at all; the rest is reset by the server. */
function owned(scope: Scope, set: FieldSet): FieldSet {
  return difference(
    withoutFields(set, (field) => isForeign(scope, field)),
    STRIPPED,
  )
}

function filtered(scope: Scope, changes: Comparison): Comparison {
  const keep = (set: FieldSet) => withoutFields(set, (field) => isForeign(scope, field))
  return { removed: keep(changes.removed), modified: keep(changes.modified), added: keep(changes.added) }
}

function isForeign({ kind, subresource }: Scope, field: string): boolean {
  if (!kind.status) return false
  if (subresource === 'status') return kind.custom ? field !== 'status' : field === 'spec'
  return field === 'status'
}

/**
 * Removes what this manager applied last time, does not apply now, and nobody else owns.
 * Matches structured-merge-diff's prune: removed first, then whatever others own inside is kept after all.
 */
function pruneAbandoned(
  schema: Schema,
  merged: unknown,
  owners: Readonly<{ last: Entry; all: readonly Entry[] }>,
): unknown {
  const named = (set: FieldSet) => withNamedFields(schema, set)
  const last = named(owners.last.fields)
  const everything = named(toFieldSet(schema, merged))
  const withoutLast = named(toFieldSet(schema, removeItems(schema, merged, last) ?? {}))
  const managed = named(unionAll(owners.all.map((entry) => entry.fields)))
  const unowned = difference(everything, union(withoutLast, managed))
  const withOwned = named(toFieldSet(schema, removeItems(schema, merged, unowned) ?? {}))
  return removeItems(schema, merged, intersection(difference(everything, withOwned), last)) ?? {}
}

function conflictsWith(entry: Entry, fields: FieldSet): readonly ApplyConflict[] {
  const message = `conflict with ${describe(entry)}`
  return [...pathsOf(fields)].map((path) => ({ manager: entry.manager, field: formatPath(path), message }))
}

function describe(entry: Entry): string {
  const who = JSON.stringify(entry.manager)
  const part = entry.subresource === '' ? who : `${who} with subresource ${JSON.stringify(entry.subresource)}`
  if (entry.operation === 'Apply') return part
  return `${part} using ${entry.apiVersion}${entry.time === undefined ? '' : ` at ${entry.time}`}`
}

/** Without what belongs to another subresource, and what of metadata a configuration may carry along, but not set. */
function writable(scope: Scope, whole: unknown): JsonObject {
  if (!isObject(whole)) return {}
  const applied = Object.fromEntries(Object.entries(whole).filter(([key]) => !isForeign(scope, key)))
  const metadata = objectAt(applied, 'metadata')
  if (!metadata) return applied
  const kept = Object.entries(metadata).filter(
    ([key]) => key === 'name' || key === 'namespace' || !SERVER_METADATA.includes(key),
  )
  return { ...applied, metadata: Object.fromEntries(kept) }
}

export type UpdateRecord = Readonly<{
  kind: KindType
  before: JsonObject | undefined
  after: JsonObject
  manager: string
  subresource: string
  now: string
}>

/** Create, update and patch: whoever changes a field owns it from then on, and nobody else does. */
export function recordUpdate(record: UpdateRecord): JsonObject {
  const { kind, before, after } = record
  if (!isWithinDepth(after)) return after
  const known = entriesForUpdate(record)
  // An object that is not tracked stays so until its first apply, unless it is new.
  if (before && known.length === 0) return withEntries(after, [])
  const old = before ? withEntries(before, []) : emptyOf(kind)
  const changes = filtered(record, compare(kind.schema, old, withEntries(after, [])))
  const touched = union(changes.modified, changes.added)
  const others = takeFrom(known, undefined, union(touched, changes.removed))
  const fields = owned(record, touched)
  if (fields.size === 0) return withEntries(after, others)
  const owner: Entry = {
    manager: record.manager || 'unknown',
    operation: 'Update',
    apiVersion: apiVersionOf(kind),
    subresource: record.subresource,
    time: record.now,
    fields,
  }
  const previous = others.find((entry) => isSameOwner(entry, owner))
  const self: Entry = { ...owner, fields: union(previous?.fields ?? EMPTY, fields) }
  return withEntries(after, capUpdaters([...others.filter((entry) => entry !== previous), self]))
}

/** A client may edit managedFields itself, but not through a subresource, and not lose them by ignorance. */
function entriesForUpdate({ before, after, subresource }: UpdateRecord): readonly Entry[] {
  if (subresource !== '') return entriesOf(before)
  if (isReset(after)) return []
  const given = entriesOf(after)
  return given.length > 0 ? given : entriesOf(before)
}
