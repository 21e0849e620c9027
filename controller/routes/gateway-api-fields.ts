import { isRecord } from '#base'
import { shown } from '../collections/problems.ts'

/**
 * One value of an object and where it is, to be read part by part. What cannot be understood is told in `problems`; a
 * rule with any is not followed.
 */
export type Field = Readonly<{ value: unknown; path: string; problems: string[] }>

export function problem({ path, problems }: Field, why: string): undefined {
  problems.push(`${path}: ${why}`)
  return undefined
}

/** What was read, unless something about it could not be. */
export function unlessProblem<T>({ problems }: Field, read: () => T): T | undefined {
  const before = problems.length
  const value = read()
  return problems.length === before ? value : undefined
}

export const isGiven = (value: unknown): boolean => value !== undefined && value !== null

/** The parts of a map, of which none but `known` may be there. Undefined where nothing is. */
export function partsOf<K extends string>(
  field: Field,
  known: readonly K[],
): Readonly<Record<K, Field>> | undefined {
  const { value, path, problems } = field
  if (!isGiven(value)) return undefined
  if (!isRecord(value)) return problem(field, `${shown(value)} is not a map`)
  for (const key of Object.keys(value))
    if (!known.some((one) => one === key)) problem({ ...field, path: `${path}.${key}` }, 'is not known here')
  return Object.fromEntries(
    known.map((key) => [key, { value: value[key], path: `${path}.${key}`, problems }]),
  ) as Record<K, Field>
}

export function itemsOf(field: Field): readonly Field[] {
  const { value, path, problems } = field
  if (!isGiven(value)) return []
  if (Array.isArray(value))
    return value.map((item: unknown, i) => {
      const one = { value: item, path: `${path}[${i}]`, problems }
      if (!isGiven(item)) problem(one, 'is empty')
      return one
    })
  problem(field, `${shown(value)} is not a list`)
  return []
}

/** Undefined where nothing is, and where it is no text. */
export function textOf(field: Field | undefined): string | undefined {
  if (field === undefined || !isGiven(field.value)) return undefined
  if (typeof field.value === 'string') return field.value
  return problem(field, `${shown(field.value)} is not a text`)
}

export function wordOf<W extends string>(field: Field | undefined, words: readonly W[]): W | undefined {
  const text = textOf(field)
  const word = words.find((one) => one === text)
  if (field && text !== undefined && word === undefined)
    problem(field, `${shown(text)} is none of ${words.join(', ')}`)
  return word
}

export function numberOf(field: Field | undefined, least: number, most: number): number | undefined {
  if (field === undefined || !isGiven(field.value)) return undefined
  const { value } = field
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  return problem(field, `${shown(value)} is not a whole number from ${least} to ${most}`)
}

export function booleanOf(field: Field | undefined): boolean | undefined {
  if (field === undefined || !isGiven(field.value)) return undefined
  if (typeof field.value === 'boolean') return field.value
  return problem(field, `${shown(field.value)} is neither true nor false`)
}

export const portOf = (field: Field | undefined): number | undefined => numberOf(field, 1, 65_535)

const units: ReadonlyMap<string, number> = new Map([
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
])
const duration = /^(?:\d{1,5}(?:h|m|s|ms)){1,4}$/
/** What a timer can wait for. */
const maxMs = 2 ** 31 - 1

/** In milliseconds. The Gateway API has up to four groups of digits and unit, without fractions. */
export function durationOf(field: Field | undefined): number | undefined {
  const text = textOf(field)
  if (field === undefined || text === undefined) return undefined
  if (!duration.test(text)) return problem(field, `${shown(text)} is not a duration`)
  const total = [...text.matchAll(/(\d+)(ms|h|m|s)/g)].reduce(
    (sum, [, digits = '0', unit = 'ms']) => sum + Number(digits) * (units.get(unit) ?? 0),
    0,
  )
  return total <= maxMs ? total : problem(field, `${shown(text)} is longer than 24 days`)
}
