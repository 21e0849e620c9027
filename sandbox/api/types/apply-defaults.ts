import { isDependentDefault, setDependentDefaults } from './dependent-defaults.ts'
import { resolve } from './definitions.ts'
import { clone, isObject, own } from './json.ts'
import type { JsonObject, Schema } from './schema.ts'

/** Fills in defaults below the value, in place: the value is the caller's own copy. */
export function applyDefaults(given: Schema, value: unknown): void {
  const schema = resolve(given, value)
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) applyDefaults(schema.items, item)
    return
  }
  if (!isObject(value)) return
  // First what depends on the absence of fields, then the fixed values.
  if (isDependentDefault(given.$ref)) setDependentDefaults(given.$ref, value)
  for (const [key, field] of Object.entries(schema.properties ?? {})) setDefault(value, key, field)
  for (const key of Object.keys(value)) {
    const child = own(schema.properties, key) ?? mapValue(schema)
    if (child) applyDefaults(child, value[key])
  }
}

function setDefault(object: JsonObject, key: string, field: Schema): void {
  const fallback = field.default ?? (field.$ref === undefined ? undefined : resolve(field).default)
  if (fallback === undefined) return
  const present = Object.hasOwn(object, key) && object[key] !== undefined
  if (!present || (object[key] === null && field.nullable !== true)) object[key] = clone(fallback)
}

const mapValue = (schema: Schema): Schema | undefined =>
  typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined
