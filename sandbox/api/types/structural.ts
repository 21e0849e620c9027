import { isObject, listAt } from './json.ts'
import { patternError } from './pattern.ts'
import type { FieldError, Schema } from './schema.ts'

/** What the check of one CRD schema found besides errors. */
type StructuralReport = { readonly errors: FieldError[]; celRules: number }

const FORBIDDEN = ['$ref', 'definitions', 'dependencies', 'patternProperties', 'additionalItems'] as const
const NOT_IN_VALUE_VALIDATION = [
  'description',
  'type',
  'default',
  'additionalProperties',
  'nullable',
  'title',
] as const
const TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean']

/** Whether a CRD's schema is structural, as apiextensions' schema.NewStructural and ValidateStructural ask. */
export function checkStructural(schema: Schema, field: string): StructuralReport {
  const report: StructuralReport = { errors: [], celRules: 0 }
  if (schema.type === undefined) required(report, `${field}.type`, 'must not be empty at the root')
  else if (schema.type !== 'object')
    invalid(report, `${field}.type`, schema.type, 'must be object at the root')
  else checkNode(schema, field, report)
  return report
}

function checkNode(schema: Schema, field: string, report: StructuralReport): void {
  if (!isObject(schema)) return
  const isLoose =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  if (schema.type === undefined && !isLoose)
    required(report, `${field}.type`, 'must not be empty for specified object fields')
  checkKeywords(schema, field, report)
  checkListType(schema, field, report)
  report.celRules += listAt(schema, 'x-kubernetes-validations').length
  if (schema.properties && schema.additionalProperties)
    forbidden(
      report,
      `${field}.additionalProperties`,
      'additionalProperties and properties are mutual exclusive',
    )
  for (const [key, child] of Object.entries(schema.properties ?? {}))
    checkNode(child, `${field}.properties[${key}]`, report)
  if (typeof schema.additionalProperties === 'object')
    checkNode(schema.additionalProperties, `${field}.additionalProperties`, report)
  if (schema.type === 'array' && !isObject(schema.items))
    required(report, `${field}.items`, 'must be specified')
  else if (schema.items) checkNode(schema.items, `${field}.items`, report)
  checkJunctors(schema, field, report)
}

function checkKeywords(schema: Schema, field: string, report: StructuralReport): void {
  checkForbidden(schema, field, report)
  if (schema.uniqueItems)
    forbidden(
      report,
      `${field}.uniqueItems`,
      'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
    )
  if (schema.type !== undefined && !TYPES.includes(schema.type))
    report.errors.push({
      field: `${field}.type`,
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(schema.type)}: supported values: ${TYPES.map((t) => `"${t}"`).join(', ')}`,
    })
}

function checkListType(schema: Schema, field: string, report: StructuralReport): void {
  const keys = schema['x-kubernetes-list-map-keys']
  if (schema['x-kubernetes-list-type'] !== 'map') return
  if (!keys || keys.length === 0) {
    required(
      report,
      `${field}.x-kubernetes-list-map-keys`,
      'must not be empty if x-kubernetes-list-type is map',
    )
    return
  }
  for (const key of keys) {
    const property = schema.items?.properties?.[key]
    if (!property)
      invalid(
        report,
        `${field}.x-kubernetes-list-map-keys`,
        keys,
        'entries must all be names of item properties',
      )
    else if (!schema.items?.required?.includes(key) && property.default === undefined)
      required(
        report,
        `${field}.items.properties[${key}].default`,
        'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
      )
  }
}

function checkJunctors(schema: Schema, field: string, report: StructuralReport): void {
  for (const key of ['allOf', 'anyOf', 'oneOf'] as const)
    schema[key]?.forEach((part, i) => checkValueValidation(schema, part, `${field}.${key}[${i}]`, report))
  if (schema.not) checkValueValidation(schema, schema.not, `${field}.not`, report)
}

/** Inside allOf, anyOf, oneOf and not, only values may be judged: the shape is fixed outside. */
function checkValueValidation(outer: Schema, part: Schema, field: string, report: StructuralReport): void {
  if (!isObject(part)) return
  for (const key of NOT_IN_VALUE_VALIDATION) {
    const isIntOrString = key === 'type' && outer['x-kubernetes-int-or-string'] === true
    if (Object.hasOwn(part, key) && !isIntOrString)
      forbidden(report, `${field}.${key}`, 'must be empty to be structural')
  }
  checkForbidden(part, field, report)
  if (part.items !== undefined && !isObject(part.items))
    forbidden(report, `${field}.items`, 'items must be a schema object and not an array')
  checkJunctors(part, field, report)
  for (const [key, child] of Object.entries(part.properties ?? {}))
    checkValueValidation(outer.properties?.[key] ?? {}, child, `${field}.properties[${key}]`, report)
  if (isObject(part.items)) checkValueValidation(outer.items ?? {}, part.items, `${field}.items`, report)
}

function checkForbidden(schema: Schema, field: string, report: StructuralReport): void {
  for (const key of FORBIDDEN)
    if (Object.hasOwn(schema, key)) forbidden(report, `${field}.${key}`, `${key} is not supported`)
  const wrong = schema.pattern === undefined ? undefined : patternError(schema.pattern)
  if (wrong) invalid(report, `${field}.pattern`, schema.pattern, wrong)
}

const required = (report: StructuralReport, field: string, detail: string) =>
  report.errors.push({ field, reason: 'FieldValueRequired', message: `Required value: ${detail}` })

const forbidden = (report: StructuralReport, field: string, detail: string) =>
  report.errors.push({ field, reason: 'FieldValueForbidden', message: `Forbidden: ${detail}` })

const invalid = (report: StructuralReport, field: string, value: unknown, detail: string) =>
  report.errors.push({
    field,
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(value) ?? 'null'}: ${detail}`,
  })
