import { isObject, isSafeKey, own } from './json.ts'
import { resolve } from './definitions.ts'
import type { JsonObject, Schema } from './schema.ts'

const OBJECT_META: Schema = { $ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' }

/** What pruning dropped, by path; in the order of the object. */
type Pruned = Readonly<{ value: unknown; unknown: readonly string[] }>

/** Copies the value without the fields that the schema does not know, and without nulls where null means nothing. */
export function prune(schema: Schema, value: unknown): Pruned {
  const unknown: string[] = []
  return { value: pruneValue(schema, value, '', unknown), unknown }
}

function pruneValue(given: Schema, value: unknown, path: string, unknown: string[]): unknown {
  const schema = resolve(given, value)
  if (Array.isArray(value))
    return value.map((item: unknown, i) => pruneValue(schema.items ?? KEEP, item, `${path}[${i}]`, unknown))
  if (typeof value === 'number' && schema.format === 'quantity') return String(value)
  if (!isObject(value)) return value
  const out: JsonObject = {}
  for (const key of Object.keys(value)) {
    const inner = path === '' ? key : `${path}.${key}`
    const child = fieldSchema(schema, key)
    if (!child || !isSafeKey(key)) unknown.push(inner)
    else if (value[key] === '' && child.emptyIsUnset) continue
    else if (value[key] !== null || child.nullable === true || !isTyped(child))
      out[key] = pruneValue(child, value[key], inner, unknown)
  }
  return out
}

const KEEP: Schema = { 'x-kubernetes-preserve-unknown-fields': true }

/** The schema of one field of an object; undefined if the object has no such field. */
export function fieldSchema(schema: Schema, key: string): Schema | undefined {
  const named = own(schema.properties, key)
  if (named) return named
  if (schema['x-kubernetes-embedded-resource']) {
    if (key === 'apiVersion' || key === 'kind') return { type: 'string' }
    if (key === 'metadata') return OBJECT_META
  }
  if (isRecordSchema(schema.additionalProperties)) return schema.additionalProperties
  if (schema['x-kubernetes-preserve-unknown-fields'] || schema.additionalProperties === true) return KEEP
  return undefined
}

const isRecordSchema = (value: Schema | boolean | undefined): value is Schema => typeof value === 'object'

/** Free-form values may be null; everything that has a shape may not, unless it says so. */
const isTyped = (schema: Schema): boolean =>
  schema.type !== undefined || schema.$ref !== undefined || schema['x-kubernetes-int-or-string'] === true
