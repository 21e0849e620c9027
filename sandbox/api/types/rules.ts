import { isEqualJson, isObject, listAt, objectAt, stringAt } from './json.ts'
import { labelValueError, qualifiedNameError } from './names.ts'
import type { FieldError, JsonObject } from './schema.ts'
import { show } from './validate.ts'

/** Collects causes; every rule of a built-in kind writes here. */
export type Causes = FieldError[]

export const required = (causes: Causes, field: string, detail = ''): void => {
  causes.push({
    field,
    reason: 'FieldValueRequired',
    message: detail ? `Required value: ${detail}` : 'Required value',
  })
}

export const invalid = (causes: Causes, field: string, value: unknown, detail: string): void => {
  causes.push({ field, reason: 'FieldValueInvalid', message: `Invalid value: ${show(value)}: ${detail}` })
}

export const forbidden = (causes: Causes, field: string, detail: string): void => {
  causes.push({ field, reason: 'FieldValueForbidden', message: `Forbidden: ${detail}` })
}

export const duplicate = (causes: Causes, field: string, value: unknown): void => {
  causes.push({ field, reason: 'FieldValueDuplicate', message: `Duplicate value: ${show(value)}` })
}

/** Checks one string by a rule of names.ts, if it is there. */
export function checkName(
  causes: Causes,
  field: string,
  value: unknown,
  errorOf: (text: string) => string | undefined,
): void {
  if (typeof value !== 'string' || value === '') return
  const error = errorOf(value)
  if (error) invalid(causes, field, value, error)
}

export function checkPort(causes: Causes, field: string, value: unknown): void {
  if (typeof value !== 'number' || value < 1 || value > 65_535)
    invalid(causes, field, value, 'must be between 1 and 65535, inclusive')
}

export function checkLabels(causes: Causes, field: string, labels: JsonObject | undefined): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    checkLabelKey(causes, field, key)
    const error = typeof value === 'string' ? labelValueError(value) : undefined
    if (error) invalid(causes, field, value, error)
  }
}

function checkLabelKey(causes: Causes, field: string, key: string): void {
  const error = key === '' ? 'name part must be non-empty' : qualifiedNameError(key)
  if (error) invalid(causes, field, key, error)
}

/** Label selectors of apps and networking kinds. */
export function checkSelector(causes: Causes, field: string, selector: JsonObject | undefined): void {
  checkLabels(causes, `${field}.matchLabels`, objectAt(selector, 'matchLabels'))
  listAt(selector, 'matchExpressions').forEach((expression, i) => {
    const path = `${field}.matchExpressions[${i}]`
    const operator = stringAt(expression, 'operator')
    const count = listAt(expression, 'values').length
    checkLabelKey(causes, `${path}.key`, stringAt(expression, 'key') ?? '')
    if ((operator === 'In' || operator === 'NotIn') && count === 0)
      required(causes, `${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'")
    if ((operator === 'Exists' || operator === 'DoesNotExist') && count > 0)
      forbidden(
        causes,
        `${path}.values`,
        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      )
    if (operator !== undefined && !['In', 'NotIn', 'Exists', 'DoesNotExist'].includes(operator))
      invalid(causes, `${path}.operator`, operator, 'not a valid selector operator')
  })
}

/** Whether a label selector object selects the labels; operators as checked above. */
export function selectorMatches(selector: JsonObject | undefined, labels: JsonObject | undefined): boolean {
  const has = (key: string) => labels !== undefined && Object.hasOwn(labels, key)
  for (const [key, value] of Object.entries(objectAt(selector, 'matchLabels') ?? {}))
    if (!has(key) || labels?.[key] !== value) return false
  return listAt(selector, 'matchExpressions').every((expression) => {
    const key = stringAt(expression, 'key') ?? ''
    const listed = has(key) && listAt(expression, 'values').includes(labels?.[key])
    switch (stringAt(expression, 'operator')) {
      case 'In':
        return listed
      case 'NotIn':
        return !listed
      case 'Exists':
        return has(key)
      default:
        return !has(key)
    }
  })
}

/** `old` is undefined on create. */
export function checkImmutable(
  causes: Causes,
  field: string,
  path: readonly string[],
  object: JsonObject,
  old: JsonObject | undefined,
): void {
  if (!old) return
  const before = read(old, path)
  const after = read(object, path)
  if (before !== undefined && !isEqualJson(before, after))
    invalid(causes, field, after ?? null, 'field is immutable')
}

const read = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>(
    (here, key) => (isObject(here) && Object.hasOwn(here, key) ? here[key] : undefined),
    value,
  )
