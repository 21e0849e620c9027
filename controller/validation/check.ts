import { isRecord } from '#base'

/** What has been found so far in one object. Bounded: nobody reads the thousandth complaint. */
type Notes = { readonly errors: string[]; readonly warnings: string[]; regexCharsLeft: number }
/** A place in the object, and where to say what is wrong with it. */
export type At = Readonly<{ path: string; notes: Notes }>
/** Looks at one value. A value that is not there is looked at by nobody; see `fields`. */
export type Check = (value: unknown, at: At) => void
export type Fields = Readonly<Record<string, unknown>>

const maxNotes = 32
/** All expressions of one object together; each costs at most some milliseconds for its 1,024 characters. */
const maxRegexChars = 65_536

export const newNotes = (): Notes => ({ errors: [], warnings: [], regexCharsLeft: maxRegexChars })

/** `spec.http[0].match`; keys that are no names in brackets and quotes. */
export function into({ path, notes }: At, key: string | number): At {
  if (typeof key === 'number') return { path: `${path}[${key}]`, notes }
  const isName = /^[A-Za-z_][\w-]*$/.test(key)
  return {
    path: isName ? `${path}.${key}` : `${path}[${JSON.stringify(key.slice(0, 60)).replaceAll(' ', '_')}]`,
    notes,
  }
}

/** It cannot work. */
export function refuse({ path, notes }: At, why: string): void {
  if (notes.errors.length < maxNotes) notes.errors.push(`${path}: ${why}`)
}

/** It is stored, and does not do what somebody may think. */
export function warn({ path, notes }: At, why: string): void {
  if (notes.warnings.length < maxNotes) notes.warnings.push(`${path}: ${why}`)
}

/** As much of a value as helps to find it. */
export const shown = (value: unknown): string =>
  typeof value === 'object' && value !== null
    ? Array.isArray(value)
      ? 'a list'
      : 'an object'
    : JSON.stringify(typeof value === 'string' ? value.slice(0, 60) : value)

export const isThere = (value: unknown): boolean => value !== undefined && value !== null
/** Of these names, the ones that are set. */
export const present = (value: Fields, names: readonly string[]): readonly string[] =>
  names.filter((name) => isThere(value[name]))
export const recordAt = (value: Fields, name: string): Fields => {
  const inner = value[name]
  return isRecord(inner) ? inner : {}
}
export const listAt = (value: Fields, name: string): readonly unknown[] => {
  const inner = value[name]
  return Array.isArray(inner) ? inner : []
}

/** An object with these fields and no others; `also` looks at them together. */
export const fields =
  (shape: Readonly<Record<string, Check>>, also?: (value: Fields, at: At) => void): Check =>
  (value, at) => {
    if (!isRecord(value)) return refuse(at, `${shown(value)} is not an object`)
    for (const key of Object.keys(value)) {
      const check = Object.hasOwn(shape, key) ? shape[key] : undefined
      if (check === undefined) refuse(into(at, key), `unknown field${meant(key, Object.keys(shape))}`)
      else if (isThere(value[key])) check(value[key], into(at, key))
    }
    also?.(value, at)
  }

export const required = (value: Fields, at: At, ...names: readonly string[]): void => {
  for (const name of names)
    if (!isThere(value[name]) || value[name] === '') refuse(into(at, name), 'is needed')
}

export const needsOne = (value: Fields, at: At, names: readonly string[]): void => {
  if (present(value, names).length === 0) refuse(at, `needs one of ${names.join(', ')}`)
}

export const atMostOne = (value: Fields, at: At, names: readonly string[]): void => {
  const there = present(value, names)
  if (there.length > 1) refuse(at, `${there.join(' and ')} exclude each other; keep one`)
}

/** At most so many entries, whatever the API server may have let through. */
const maxEntries = 10_000

export const list =
  (check: Check, { least = 0, most = maxEntries }: Readonly<{ least?: number; most?: number }> = {}): Check =>
  (value, at) => {
    if (!Array.isArray(value)) return refuse(at, `${shown(value)} is not a list`)
    if (value.length < least)
      refuse(at, least === 1 ? 'at least one is needed' : `at least ${least} are needed`)
    if (value.length > most) return refuse(at, `${value.length} are too many; at most ${most}`)
    for (const [n, one] of value.entries()) check(one, into(at, n))
  }

export const map =
  (check: Check, key?: (name: string, at: At) => void): Check =>
  (value, at) => {
    if (!isRecord(value)) return refuse(at, `${shown(value)} is not a map`)
    for (const [name, one] of Object.entries(value).slice(0, maxEntries)) {
      const there = into(at, name)
      key?.(name, there)
      check(one, there)
    }
  }

export const bool: Check = (value, at) => {
  if (typeof value !== 'boolean') refuse(at, `${shown(value)} is neither true nor false`)
}

export const text: Check = (value, at) => {
  if (typeof value !== 'string') refuse(at, `${shown(value)} is not a text`)
}

export const filled: Check = (value, at) => {
  if (typeof value !== 'string' || value.trim() === '') refuse(at, `${shown(value)} says nothing`)
}

export const oneOf =
  (...values: readonly string[]): Check =>
  (value, at) => {
    if (typeof value !== 'string' || !values.includes(value))
      refuse(at, `${shown(value)} is none of ${values.join(', ')}${meant(String(value), values)}`)
  }

export const whole =
  (least: number, most: number): Check =>
  (value, at) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
      refuse(at, `${shown(value)} is not a whole number from ${least} to ${most}`)
  }

export const number =
  (least: number, most: number): Check =>
  (value, at) => {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < least || value > most)
      refuse(at, `${shown(value)} is not a number from ${least} to ${most}`)
  }

/** Whatever it is. */
export const anything: Check = () => undefined

export const all =
  (...checks: readonly Check[]): Check =>
  (value, at) => {
    for (const check of checks) check(value, at)
  }

/** Right as it is, and without effect here. */
export const unheeded =
  (check: Check, why: string): Check =>
  (value, at) => {
    warn(at, why)
    check(value, at)
  }

/** A word that differs in case or in a letter or two from one that is known. */
function meant(word: string, known: readonly string[]): string {
  if (word.length > 40) return ''
  const near = known.find((one) => one.toLowerCase() === word.toLowerCase() || differsLittle(one, word))
  return near === undefined ? '' : `; did you mean ${near}?`
}

/** One letter more, less or other, or two neighbours swapped. */
function differsLittle(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  let end = 0
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++
  const [restA, restB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)]
  if (restA.length <= 1 && restB.length <= 1) return a.length > 2
  return restA.length === 2 && restB === `${restA[1]}${restA[0]}`
}
