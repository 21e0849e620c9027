import { isRecord } from '#base'
import type { JsonObject } from './schema.ts'

/** Deeper objects are refused everywhere: every walk here recurses, and no real object comes near. */
export const MAX_DEPTH = 64

/** A JSON object, as opposed to an array or null. */
export const isObject = (value: unknown): value is JsonObject => isRecord(value) && !Array.isArray(value)

/** `__proto__` is the one key whose assignment does not make a property; it is dropped wherever objects are copied. */
export const isSafeKey = (key: string): boolean => key !== '__proto__'

/** An own property, never one inherited from Object.prototype. */
export const own = <T>(table: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined

/** Reads a path of own properties. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value
  for (const key of path) {
    if (!isObject(here)) return undefined
    here = own(here, key)
  }
  return here
}

export const stringAt = (value: unknown, ...path: readonly string[]): string | undefined => {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : undefined
}

export const objectAt = (value: unknown, ...path: readonly string[]): JsonObject | undefined => {
  const found = at(value, ...path)
  return isObject(found) ? found : undefined
}

export const listAt = (value: unknown, ...path: readonly string[]): readonly unknown[] => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** Whether the value nests at most `limit` levels. */
export function isWithinDepth(value: unknown, limit = MAX_DEPTH): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (limit <= 0) return false
  for (const child of Array.isArray(value) ? value : Object.values(value))
    if (!isWithinDepth(child, limit - 1)) return false
  return true
}

/** A deep copy without `__proto__` keys; the caller has checked the depth. */
export function clone<T>(value: T): T
export function clone(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => clone(item))
  if (!isObject(value)) return value
  const copy: JsonObject = {}
  for (const key of Object.keys(value)) if (isSafeKey(key)) copy[key] = clone(value[key])
  return copy
}

/** Same JSON: the order of keys does not matter, that of list items does. */
export function isEqualJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => isEqualJson(item, b[i]))
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqualJson(a[key], b[key]))
  )
}

/** JSON with sorted keys: equal values have equal text. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value) ?? 'null'
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}
