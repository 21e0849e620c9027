import { applyDefaults } from './apply-defaults.ts'
import { checkBuiltin } from './builtin-rules.ts'
import { clone, isWithinDepth, MAX_DEPTH } from './json.ts'
import { checkMetadata } from './metadata-rules.ts'
import { prune } from './prune.ts'
import { apiVersionOf, type FieldError, type JsonObject, type KindType } from './schema.ts'
import { validate } from './validate.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/** `errors` are the causes of a 422; `unknown` the messages of a strict decoding error (400) or of warnings. */
export type Prepared = Readonly<{
  object: JsonObject
  errors: readonly FieldError[]
  unknown: readonly string[]
}>

/** `old` is the stored object on updates: immutable fields are compared with it. */
export function prepare(
  kind: KindType,
  object: JsonObject,
  options: { fieldValidation: FieldValidation; old?: JsonObject | undefined },
): Prepared {
  if (!isWithinDepth(object)) return { object: {}, errors: [tooDeep], unknown: [] }
  const pruned = prune(kind.schema, object)
  const whole = pruned.value as JsonObject
  whole['apiVersion'] ??= apiVersionOf(kind)
  whole['kind'] ??= kind.kind
  applyDefaults(kind.schema, whole)
  const unknown =
    options.fieldValidation === 'Ignore' ? [] : pruned.unknown.map((path) => `unknown field "${path}"`)
  const shape = validate(kind.schema, whole).filter((error) => kind.custom || !isUnreported(error))
  const metadata = checkMetadata(kind, whole, options.old)
  // The rules of a kind read fields of the right type only.
  const meaning = shape.length === 0 && !kind.custom ? checkBuiltin(kind, whole, options.old) : []
  return { object: whole, errors: [...shape, ...metadata, ...meaning], unknown }
}

/** Go takes what is missing from the status of a built-in kind for zero: controllers fill it in bit by bit. */
const isUnreported = (error: FieldError): boolean =>
  error.reason === 'FieldValueRequired' && error.field.startsWith('status.')

/** The object as the server would keep it, without judging it: for objects read from an older version. */
export function defaulted(kind: KindType, object: JsonObject): JsonObject {
  const whole = clone(object)
  applyDefaults(kind.schema, whole)
  return whole
}

const tooDeep: FieldError = {
  field: '<root>',
  reason: 'FieldValueInvalid',
  message: `Invalid value: "object": must not be nested more than ${MAX_DEPTH} levels deep`,
}
