import { difference, type FieldSet, fromFieldsV1, toFieldsV1, unionAll } from './field-set.ts'
import { isObject, listAt, objectAt, stringAt } from './json.ts'
import type { JsonObject } from './schema.ts'

/** One owner of fields; who it is is all but `time` and `fields` (and, of an Apply, the version). */
export type Entry = Readonly<{
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion: string
  subresource: string
  time: string | undefined
  fields: FieldSet
}>

/** Kubernetes' own bound on the owners by Update; older ones are put together. */
const MAX_UPDATERS = 10
const ANCIENT = 'ancient-changes'

export const isSameOwner = (a: Entry, b: Entry): boolean =>
  a.manager === b.manager &&
  a.operation === b.operation &&
  a.subresource === b.subresource &&
  (a.operation === 'Apply' || a.apiVersion === b.apiVersion)

/** The entries of an object; what is no entry is passed over. */
export function entriesOf(object: JsonObject | undefined): readonly Entry[] {
  return listAt(object, 'metadata', 'managedFields').flatMap((raw) => {
    const operation = stringAt(raw, 'operation')
    const fields = objectAt(raw, 'fieldsV1')
    if ((operation !== 'Apply' && operation !== 'Update') || !fields) return []
    return [
      {
        manager: stringAt(raw, 'manager') ?? 'unknown',
        operation,
        apiVersion: stringAt(raw, 'apiVersion') ?? '',
        subresource: stringAt(raw, 'subresource') ?? '',
        time: stringAt(raw, 'time'),
        fields: fromFieldsV1(fields),
      },
    ]
  })
}

/** Whether a client asked to forget all owners: `managedFields: [{}]`. */
export function isReset(object: JsonObject): boolean {
  const list = listAt(object, 'metadata', 'managedFields')
  return list.length === 1 && isObject(list[0]) && Object.keys(list[0]).length === 0
}

/** The object with these entries as its managedFields. */
export function withEntries(object: JsonObject, entries: readonly Entry[]): JsonObject {
  const { managedFields: _, ...metadata } = objectAt(object, 'metadata') ?? {}
  const list = entries.filter((entry) => entry.fields.size > 0).toSorted(byAge)
  return {
    ...object,
    metadata: list.length > 0 ? { ...metadata, managedFields: list.map(encode) } : metadata,
  }
}

const encode = (entry: Entry): JsonObject => ({
  manager: entry.manager,
  operation: entry.operation,
  apiVersion: entry.apiVersion,
  ...(entry.time !== undefined && { time: entry.time }),
  fieldsType: 'FieldsV1',
  fieldsV1: toFieldsV1(entry.fields),
  ...(entry.subresource !== '' && { subresource: entry.subresource }),
})

const byAge = (a: Entry, b: Entry): number =>
  compareText(a.operation, b.operation) ||
  compareText(a.time ?? '', b.time ?? '') ||
  compareText(a.manager, b.manager) ||
  compareText(a.apiVersion, b.apiVersion) ||
  compareText(a.subresource, b.subresource)

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Takes paths from everybody but `self`. */
export const takeFrom = (
  entries: readonly Entry[],
  self: Entry | undefined,
  taken: FieldSet,
): readonly Entry[] =>
  entries.map((entry) => (entry === self ? entry : { ...entry, fields: difference(entry.fields, taken) }))

/** Puts the oldest updaters together until there are few enough. */
export function capUpdaters(entries: readonly Entry[]): readonly Entry[] {
  const updaters = entries
    .filter((entry) => entry.operation === 'Update' && entry.fields.size > 0)
    .toSorted(byAge)
  const surplus = updaters.length - MAX_UPDATERS
  const newest = updaters[surplus]
  if (surplus <= 0 || !newest) return entries
  const old = new Set(updaters.slice(0, surplus + 1))
  const ancient: Entry = {
    manager: ANCIENT,
    operation: 'Update',
    apiVersion: newest.apiVersion,
    subresource: '',
    time: newest.time,
    fields: unionAll([...old].map((entry) => entry.fields)),
  }
  return [...entries.filter((entry) => !old.has(entry)), ancient]
}
