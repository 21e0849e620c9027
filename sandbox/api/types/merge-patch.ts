import { clone, isObject, isSafeKey, isWithinDepth } from './json.ts'
import type { Patched } from './json-patch.ts'
import type { JsonObject } from './schema.ts'

/** Merges objects key by key; null deletes; lists and scalars are replaced. */
export function mergePatch(live: JsonObject, patch: unknown): Patched {
  if (!isObject(patch)) return { reject: 'a merge patch must be an object' }
  if (!isWithinDepth(patch)) return { reject: 'the patch is nested too deeply' }
  return { object: merge(clone(live), patch) }
}

function merge(target: JsonObject, patch: JsonObject): JsonObject {
  for (const key of Object.keys(patch)) {
    if (!isSafeKey(key)) continue
    const value = patch[key]
    if (value === null) delete target[key]
    else if (isObject(value)) target[key] = merge(childOf(target, key), value)
    else target[key] = clone(value)
  }
  return target
}

function childOf(target: JsonObject, key: string): JsonObject {
  const child = Object.hasOwn(target, key) ? target[key] : undefined
  return isObject(child) ? child : {}
}
