import { isRecord } from '#base'
import { patternProblem, type TextMatch } from '#routes'
import { shown } from '../collections/problems.ts'
import { durationMs } from '../validation/formats.ts'
import { type Field, partsOf, problem, textOf } from './gateway-api-fields.ts'

/** The fields of one object of Istio's, read one after the other. `remarks`: what is not done, without harm. */
export type Notes = Readonly<{ problems: string[]; remarks: string[] }>

/** The parts that are there. */
export type Given<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }
export const given = <T extends object>(parts: T): Given<T> =>
  Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as Given<T>

export const isThere = (field: Field | undefined): field is Field =>
  field !== undefined && field.value !== undefined && field.value !== null

/** What a timer can wait for. */
const maxMs = 2 ** 31 - 1

/** Milliseconds of `1.5s`; never less than one for what is not zero. */
export function msOf(field: Field | undefined): number | undefined {
  if (!isThere(field)) return undefined
  const ms = durationMs(field.value)
  if (ms === undefined || ms < 0) return problem(field, `${shown(field.value)} is not a duration`)
  return ms > maxMs ? problem(field, `${shown(field.value)} is longer than 24 days`) : Math.ceil(ms)
}

export function fractionOf(field: Field | undefined, least: number, most: number): number | undefined {
  if (!isThere(field)) return undefined
  const { value } = field
  if (typeof value === 'number' && value >= least && value <= most) return value
  return problem(field, `${shown(value)} is not a number from ${least} to ${most}`)
}

/** Millionths. */
export const ppmOf = (field: Field | undefined): number | undefined => {
  const percent = fractionOf(field && isThere(field) ? partsOf(field, ['value'])?.value : undefined, 0, 100)
  return percent === undefined ? undefined : Math.round(percent * 10_000)
}

/** The members of a map whose keys users choose. */
export function membersOf(field: Field | undefined): readonly (readonly [string, Field])[] {
  if (!isThere(field)) return []
  const { value, path, problems } = field
  if (isRecord(value))
    return Object.entries(value).map(([key, one]) => [key, { value: one, path: `${path}.${key}`, problems }])
  problem(field, `${shown(value)} is not a map`)
  return []
}

/** exact, prefix or regex; undefined where none is said, which means that something is there at all. */
export function stringMatchOf(field: Field): TextMatch | undefined {
  const parts = partsOf(field, ['exact', 'prefix', 'regex'])
  const there = parts ? Object.values(parts).filter(isThere) : []
  if (there.length > 1) return problem(field, 'exact, prefix and regex exclude each other')
  const [exact, prefix, regex] = [textOf(parts?.exact), textOf(parts?.prefix), textOf(parts?.regex)]
  if (exact !== undefined) return { kind: 'exact', value: exact }
  if (prefix !== undefined) return { kind: 'prefix', value: prefix }
  if (regex === undefined) return undefined
  const why = patternProblem(regex)
  return why === undefined
    ? { kind: 'regex', value: regex }
    : problem(field, `not an expression of RE2: ${why}`)
}

export const labelsOf = (field: Field | undefined): Readonly<Record<string, string>> | undefined =>
  isThere(field)
    ? Object.fromEntries(membersOf(field).map(([key, one]) => [key, textOf(one) ?? '']))
    : undefined
