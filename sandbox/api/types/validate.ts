import { formatError } from './formats.ts'
import { resolve } from './definitions.ts'
import { canonical, isEqualJson, isObject, own } from './json.ts'
import { matchesPattern } from './pattern.ts'
import { fieldSchema } from './prune.ts'
import type { FieldError, FieldErrorReason, JsonObject, Schema } from './schema.ts'

/** More causes than this say nothing new; it also bounds the work for the answer. */
const MAX_ERRORS = 100

type Report = (field: string, reason: FieldErrorReason, message: string) => void

/** Checks a pruned and defaulted value against its schema; wording as kube-openapi's. */
export function validate(schema: Schema, value: unknown, field = ''): readonly FieldError[] {
  const errors: FieldError[] = []
  check(schema, value, field, (path, reason, message) => {
    if (errors.length < MAX_ERRORS) errors.push({ field: path || '<root>', reason, message })
  })
  return errors
}

const isValid = (schema: Schema, value: unknown, field: string): boolean =>
  validate(schema, value, field).length === 0

function check(given: Schema, value: unknown, field: string, report: Report): void {
  const schema = resolve(given, value)
  if (value === null && schema.nullable) return
  if (!checkType(schema, value, field, report)) return
  if (value === '' && schema.nonEmpty) report(field, 'FieldValueRequired', 'Required value')
  if (schema.enum?.length && !schema.enum.some((one) => isEqualJson(one, value)))
    report(field, 'FieldValueNotSupported', notSupported(value, schema.enum))
  if (typeof value === 'string') checkString(schema, value, field, report)
  else if (typeof value === 'number') checkNumber(schema, value, field, report)
  else if (Array.isArray(value)) checkList(schema, value, field, report)
  else if (isObject(value)) checkObject(schema, value, field, report)
  checkCombined(schema, value, field, report)
}

function checkType(schema: Schema, value: unknown, field: string, report: Report): boolean {
  const actual = typeOf(value)
  if (schema['x-kubernetes-int-or-string']) {
    if (actual === 'integer' || actual === 'string') return true
    report(field, 'FieldValueTypeInvalid', wrongType(field, 'integer,string', actual))
    return false
  }
  if (schema.type === undefined || schema.type === actual) return true
  if (schema.type === 'number' && actual === 'integer') return true
  report(field, 'FieldValueTypeInvalid', wrongType(field, schema.type, actual))
  return false
}

const wrongType = (field: string, wanted: string, actual: string) =>
  `Invalid value: "${actual}": ${inBody(field)} must be of type ${wanted}: "${actual}"`

const inBody = (field: string) => (field === '' ? 'in body' : `${field} in body`)

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

const notSupported = (value: unknown, allowed: readonly unknown[]) =>
  `Unsupported value: ${show(value)}: supported values: ${allowed.map(show).join(', ')}`

/** Values in messages are quoted as JSON and cut: they come from the client. */
export const show = (value: unknown): string => (JSON.stringify(value) ?? 'null').slice(0, 256)

function checkString(schema: Schema, value: string, field: string, report: Report): void {
  const length =
    schema.maxLength === undefined && schema.minLength === undefined ? 0 : Array.from(value).length
  const invalid = (what: string) =>
    report(field, 'FieldValueInvalid', `Invalid value: ${show(value)}: ${what}`)
  if (schema.maxLength !== undefined && length > schema.maxLength)
    report(field, 'FieldValueTooLong', `Too long: may not be more than ${schema.maxLength} bytes`)
  if (schema.minLength !== undefined && length < schema.minLength)
    invalid(`${inBody(field)} should be at least ${schema.minLength} chars long`)
  if (schema.pattern !== undefined && !matchesPattern(schema.pattern, value))
    invalid(`${inBody(field)} should match '${schema.pattern}'`)
  const wrong = formatError(schema.format, value)
  if (wrong) invalid(`${inBody(field)} must be of type ${wrong}: ${show(value)}`)
}

function checkNumber(schema: Schema, value: number, field: string, report: Report): void {
  const invalid = (what: string) =>
    report(field, 'FieldValueInvalid', `Invalid value: ${value}: ${inBody(field)} should be ${what}`)
  const { minimum, maximum, multipleOf } = schema
  if (maximum !== undefined && (schema.exclusiveMaximum ? value >= maximum : value > maximum))
    invalid(`less than ${schema.exclusiveMaximum ? '' : 'or equal to '}${maximum}`)
  if (minimum !== undefined && (schema.exclusiveMinimum ? value <= minimum : value < minimum))
    invalid(`greater than ${schema.exclusiveMinimum ? '' : 'or equal to '}${minimum}`)
  if (multipleOf !== undefined && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9)
    invalid(`a multiple of ${multipleOf}`)
  const isInt32 = value >= -2_147_483_648 && value <= 2_147_483_647
  if (schema.format === 'int32' && !isInt32) invalid('in the range of int32')
}

function checkList(schema: Schema, value: readonly unknown[], field: string, report: Report): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    report(
      field,
      'FieldValueTooMany',
      `Too many: ${value.length}: must have at most ${schema.maxItems} items`,
    )
  if (schema.minItems !== undefined && value.length < schema.minItems)
    report(
      field,
      'FieldValueInvalid',
      `Invalid value: ${value.length}: ${inBody(field)} should have at least ${schema.minItems} items`,
    )
  checkUnique(schema, value, field, report)
  const items = schema.items
  if (items) value.forEach((item, i) => check(items, item, `${field}[${i}]`, report))
}

function checkUnique(schema: Schema, value: readonly unknown[], field: string, report: Report): void {
  const type = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  if ((type !== 'map' && type !== 'set' && !schema.uniqueItems) || schema.mayRepeat) return
  const seen = new Set<string>()
  value.forEach((item, i) => {
    const identity = type === 'map' ? keyFields(item, keys) : item
    const text = canonical(identity)
    if (seen.has(text)) report(`${field}[${i}]`, 'FieldValueDuplicate', `Duplicate value: ${show(identity)}`)
    seen.add(text)
  })
}

function keyFields(item: unknown, keys: readonly string[]): JsonObject {
  const fields: JsonObject = {}
  if (isObject(item)) for (const key of keys) if (Object.hasOwn(item, key)) fields[key] = item[key]
  return fields
}

function checkObject(schema: Schema, value: JsonObject, field: string, report: Report): void {
  const count = Object.keys(value).length
  if (schema.maxProperties !== undefined && count > schema.maxProperties)
    report(field, 'FieldValueTooMany', `Too many: ${count}: must have at most ${schema.maxProperties} items`)
  if (schema.minProperties !== undefined && count < schema.minProperties)
    report(
      field,
      'FieldValueInvalid',
      `Invalid value: ${count}: ${inBody(field)} should have at least ${schema.minProperties} properties`,
    )
  for (const key of schema.required ?? [])
    if (!Object.hasOwn(value, key)) report(child(field, key), 'FieldValueRequired', 'Required value')
  if (schema['x-kubernetes-embedded-resource'])
    for (const key of ['apiVersion', 'kind'])
      if (!Object.hasOwn(value, key))
        report(child(field, key), 'FieldValueRequired', 'Required value: must not be empty')
  for (const key of Object.keys(value)) {
    const inner = fieldSchema(schema, key)
    if (inner) check(inner, own(value, key), child(field, key), report)
  }
}

const child = (field: string, key: string) => (field === '' ? key : `${field}.${key}`)

function checkCombined(schema: Schema, value: unknown, field: string, report: Report): void {
  const invalid = (what: string) =>
    report(
      field,
      'FieldValueInvalid',
      `Invalid value: ${show(isObject(value) ? '' : value)}: "${field}" ${what}`,
    )
  for (const part of schema.allOf ?? []) check(part, value, field, report)
  if (schema.anyOf && !schema.anyOf.some((part) => isValid(part, value, field)))
    invalid('must validate at least one schema (anyOf)')
  if (schema.oneOf) {
    const count = schema.oneOf.filter((part) => isValid(part, value, field)).length
    if (count !== 1)
      invalid(`must validate one and only one schema (oneOf). Found ${count === 0 ? 'none' : count} valid`)
  }
  if (schema.not && isValid(schema.not, value, field)) invalid('must not validate the schema (not)')
}
