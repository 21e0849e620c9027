declare const brand: unique symbol

/** A `T` that only its parser can make. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** Where a switch over a union must never arrive; adding a member stops this from compiling. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable: ${JSON.stringify(value)}`)
}

/** True for anything with string keys, as JSON and YAML parsers return it. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The sentence in an error of unknown type. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The `code` of a Node or system error, such as `ENOENT`; undefined when it has none. */
export const codeOf = (error: unknown): string | undefined =>
  isRecord(error) && typeof error['code'] === 'string' ? error['code'] : undefined
