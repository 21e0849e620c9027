import type { Patched } from './json-patch.ts'
import { clone, canonical, isObject, isSafeKey, isWithinDepth, listAt } from './json.ts'
import { resolve } from './definitions.ts'
import { mergeLists, orderBy, PatchError, placesLeft } from './merge-lists.ts'
import { fieldSchema } from './prune.ts'
import type { JsonObject, KindType, Schema } from './schema.ts'

const ORDER = '$setElementOrder/'
const DELETE = '$deleteFromPrimitiveList/'

/** Merges as Kubernetes' strategicpatch does; a patch that cannot be understood is a reject. */
export function strategicMergePatch(kind: KindType, live: JsonObject, patch: unknown): Patched {
  if (!isObject(patch)) return { reject: 'a strategic merge patch must be an object' }
  if (!isWithinDepth(patch)) return { reject: 'the patch is nested too deeply' }
  if (kind.custom) return { reject: 'strategic merge patch is not supported for custom resources' }
  try {
    return { object: mergeObjects(kind.schema, clone(live), clone(patch)) }
  } catch (error) {
    if (error instanceof PatchError) return { reject: error.message }
    throw error
  }
}

/** Both values are the caller's own copies. */
function mergeObjects(given: Schema | undefined, original: JsonObject, patch: JsonObject): JsonObject {
  const schema = given && resolve(given, original)
  const directive = patch['$patch']
  if (directive === 'replace') return without(patch, ['$patch'])
  if (directive === 'delete') return {}
  if (directive !== undefined && directive !== 'merge')
    throw new PatchError(`invalid value for special key $patch: ${JSON.stringify(directive)}`)
  const target = retain(original, patch)
  const before: JsonObject = { ...target }
  for (const key of Object.keys(patch))
    if (!key.startsWith('$') && isSafeKey(key)) mergeField(childSchema(schema, key), target, key, patch[key])
  for (const key of Object.keys(patch)) {
    if (key.startsWith(DELETE)) deletePrimitives(target, key.slice(DELETE.length), patch[key])
    if (key.startsWith(ORDER)) reorder(schema, { target, before, patch }, key.slice(ORDER.length))
  }
  return target
}

const childSchema = (schema: Schema | undefined, key: string): Schema | undefined =>
  schema && fieldSchema(schema, key)

function mergeField(given: Schema | undefined, target: JsonObject, key: string, value: unknown): void {
  if (value === null) {
    delete target[key]
    return
  }
  const schema = given && resolve(given, value)
  const strategies = schema?.['x-kubernetes-patch-strategy']?.split(',') ?? []
  const here = Object.hasOwn(target, key) ? target[key] : undefined
  if (isObject(value)) {
    const base = isObject(here) && !strategies.includes('replace') ? here : {}
    target[key] = mergeObjects(schema, base, value)
  } else if (Array.isArray(value) && strategies.includes('merge'))
    target[key] = mergeLists({
      original: Array.isArray(here) ? here : [],
      patch: value,
      mergeKey: schema?.['x-kubernetes-patch-merge-key'],
      mergeItem: (original, item) => mergeObjects(schema?.items, original, item),
    })
  else target[key] = value
}

/** `$retainKeys` names all keys that may stay: it makes a union switch its member. */
function retain(original: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch['$retainKeys']
  if (keys === undefined) return original
  if (!Array.isArray(keys)) throw new PatchError('$retainKeys must be a list')
  for (const key of Object.keys(patch))
    if (!key.startsWith('$') && patch[key] !== null && !keys.includes(key))
      throw new PatchError(
        `$retainKeys list must contain all fields that are present in the patch, missing ${key}`,
      )
  return without(
    original,
    Object.keys(original).filter((key) => !keys.includes(key)),
  )
}

function deletePrimitives(target: JsonObject, key: string, values: unknown): void {
  if (!Array.isArray(values)) throw new PatchError(`${DELETE}${key} must be a list`)
  const list = Object.hasOwn(target, key) ? target[key] : undefined
  const doomed = new Set(values.map((value) => canonical(value)))
  if (Array.isArray(list)) target[key] = list.filter((item: unknown) => !doomed.has(canonical(item)))
}

type Merged = Readonly<{ target: JsonObject; before: JsonObject; patch: JsonObject }>

/** Items named in the order come in that order; the server's own keep their places relative to the old list. */
function reorder(schema: Schema | undefined, merged: Merged, key: string): void {
  const order = merged.patch[`${ORDER}${key}`]
  if (!Array.isArray(order)) throw new PatchError(`${ORDER}${key} must be a list`)
  const list = Object.hasOwn(merged.target, key) ? merged.target[key] : undefined
  if (!Array.isArray(list)) return
  const field = childSchema(schema, key)
  const mergeKey = field && resolve(field)['x-kubernetes-patch-merge-key']
  const own = (object: JsonObject): readonly unknown[] => listAt(object, key)
  const old = placesLeft({ old: own(merged.before), patch: own(merged.patch), list, mergeKey })
  merged.target[key] = orderBy(list, order, old, mergeKey)
}

const without = (object: JsonObject, keys: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)))
