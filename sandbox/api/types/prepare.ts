import type { FieldError, JsonObject, KindType } from './schema.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/** `errors` are the causes of a 422; `unknown` the messages of a strict decoding error (400) or of warnings. */
export type Prepared = Readonly<{
  object: JsonObject
  errors: readonly FieldError[]
  unknown: readonly string[]
}>

/** `old` is the stored object on updates: immutable fields are compared with it. */
export function prepare(
  _kind: KindType,
  object: JsonObject,
  _options: { fieldValidation: FieldValidation; old?: JsonObject | undefined },
): Prepared {
  return { object, errors: [], unknown: [] }
}
