import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultValues } from './default-values.ts'
import { asGo } from './go-rules.ts'
import { isObject } from './json.ts'
import type { Schema } from './schema.ts'

let loaded: Readonly<Record<string, Schema>> | undefined
const merged = new WeakMap<Schema, Schema>()

/** All definitions of the built-in kinds, with the defaults that Kubernetes keeps in code. */
function definitions(): Readonly<Record<string, Schema>> {
  loaded ??= withDefaults(readDefinitions())
  return loaded
}

/** The schema of one definition; a name that is not in the data is a bug in our tables. */
export function definition(name: string): Schema {
  const found = Object.hasOwn(definitions(), name) ? definitions()[name] : undefined
  if (!found) throw new Error(`no definition ${name}`)
  return found
}

/** Follows `$ref`; what the field itself says wins. Of alternatives, takes the one that `value` looks like. */
export function resolve(schema: Schema, value?: unknown): Schema {
  if (schema.$ref === undefined) return schema
  let whole = merged.get(schema)
  if (!whole) {
    const { $ref, ...field } = schema
    whole = { ...definition($ref), ...field }
    merged.set(schema, whole)
  }
  return whole.anyOf && whole.type === undefined ? resolve(branchFor(whole.anyOf, value)) : whole
}

/** JSONSchemaPropsOrBool and its sisters: Go decodes them by looking at the first byte. */
function branchFor(branches: readonly Schema[], value: unknown): Schema {
  const fits = branches.find((branch) => {
    if (Array.isArray(value)) return branch.type === 'array'
    if (typeof value === 'boolean') return branch.type === 'boolean'
    return isObject(value) && branch.$ref !== undefined
  })
  return fits ?? branches[0] ?? {}
}

function readDefinitions(): Record<string, Schema> {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'data/definitions.json'), 'utf8')) as Record<
    string,
    Schema
  >
}

function withDefaults(table: Record<string, Schema>): Readonly<Record<string, Schema>> {
  for (const [name, fields] of Object.entries(defaultValues)) {
    const known = table[name]
    if (!known?.properties) throw new Error(`defaults for ${name}, which is not in the data`)
    const properties: Record<string, Schema> = { ...known.properties }
    for (const [field, value] of Object.entries(fields)) {
      const schema = properties[field]
      if (!schema) throw new Error(`default for ${name}.${field}, which is not in the data`)
      properties[field] = { ...schema, default: value }
    }
    table[name] = { ...known, properties }
  }
  for (const [name, schema] of Object.entries(table)) table[name] = asGo(name, schema)
  return table
}
