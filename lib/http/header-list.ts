import { MeshError } from '#base'

/** RFC 9110 token characters without capitals. */
const namePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

const tab = 0x09
const space = 0x20
const del = 0x7f
const lastLatin1 = 0xff

/** RFC 9110 §5.5: a byte that may begin and end a value. */
const isVisible = (code: number) => code > space && code !== del && code <= lastLatin1
/** True for a lower-case name that may stand in a message. */
export const isFieldName = (name: string): boolean => namePattern.test(name)
/** True for a value that may stand in a message: Latin-1, no control characters, no blanks at the ends. */
export function isFieldValue(value: string): boolean {
  const last = value.length - 1
  if (last < 0) return true
  for (let i = 1; i < last; i++) {
    const code = value.charCodeAt(i)
    if (!isVisible(code) && code !== space && code !== tab) return false
  }
  return isVisible(value.charCodeAt(0)) && isVisible(value.charCodeAt(last))
}

/** Names that were found sound: those that are set are few, and most are words of ours or of rules. */
const soundNames = new Set<string>()
const maxSoundNames = 256
const maxSoundName = 64

function isSoundName(name: string): boolean {
  if (soundNames.has(name)) return true
  if (!isFieldName(name)) return false
  if (soundNames.size < maxSoundNames && name.length <= maxSoundName) soundNames.add(name)
  return true
}

/**
 * The header fields of one message in their order, names in lower case: name, value, name, value … What parsers put in
 * has been judged by them; what is set or added is judged here, so that no rule or service can write a line of its own.
 */
export class HeaderList {
  /** May be another list's as well: whoever changes it takes a copy first. */
  #flat: string[]
  #shared = false

  constructor(flat: string[] = []) {
    this.#flat = flat
  }

  static of(fields: Readonly<Record<string, string>>): HeaderList {
    const list = new HeaderList()
    for (const [name, value] of Object.entries(fields)) list.add(name, value)
    return list
  }

  /** Names at even places, each followed by its value. */
  get flat(): readonly string[] {
    return this.#flat
  }

  /** How many fields there are. */
  get size(): number {
    return this.#flat.length / 2
  }

  /** The first value. */
  get(name: string): string | undefined {
    const flat = this.#flat
    for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) return flat[i + 1]
    return undefined
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  all(name: string): readonly string[] {
    const flat = this.#flat
    const values: string[] = []
    for (let i = 0; i < flat.length; i += 2) if (flat[i] === name) values.push(flat[i + 1] ?? '')
    return values
  }

  /** All values as one, as matchers see them; undefined when there is none. */
  joined(name: string): string | undefined {
    const flat = this.#flat
    let found: string | undefined
    for (let i = 0; i < flat.length; i += 2) {
      if (flat[i] === name) found = found === undefined ? flat[i + 1] : `${found},${flat[i + 1]}`
    }
    return found
  }

  /** Replaces all values of a name. */
  set(name: string, value: string): void {
    assertField(name, value)
    const at = this.#find(name)
    const flat = this.#own()
    if (at < 0) {
      flat.push(name, value)
      return
    }
    flat[at + 1] = value
    this.#deleteFrom(name, this.#find(name, at + 2))
  }

  /** Puts one more value after those that there are. */
  add(name: string, value: string): void {
    assertField(name, value)
    this.#own().push(name, value)
  }

  delete(name: string): void {
    this.#deleteFrom(name, this.#find(name))
  }

  /** A list of its own with the same fields; they are copied when one of the two changes. */
  copy(): HeaderList {
    const copy = new HeaderList(this.#flat)
    copy.#shared = true
    this.#shared = true
    return copy
  }

  *[Symbol.iterator](): Generator<readonly [name: string, value: string]> {
    const { flat } = this
    for (let i = 0; i < flat.length; i += 2) yield [flat[i] ?? '', flat[i + 1] ?? '']
  }

  /** To be changed. */
  #own(): string[] {
    if (this.#shared) {
      this.#flat = this.#flat.slice()
      this.#shared = false
    }
    return this.#flat
  }

  #find(name: string, from = 0): number {
    const flat = this.#flat
    for (let i = from; i < flat.length; i += 2) if (flat[i] === name) return i
    return -1
  }

  /** `from` is where it stands first; -1: nowhere, as most names that are taken away. */
  #deleteFrom(name: string, from: number): void {
    if (from < 0) return
    const flat = this.#own()
    let to = from
    for (let i = from; i < flat.length; i += 2) {
      if (flat[i] === name) continue
      flat[to] = flat[i] ?? ''
      flat[to + 1] = flat[i + 1] ?? ''
      to += 2
    }
    flat.length = to
  }
}

function assertField(name: string, value: string): void {
  if (isSoundName(name) && isFieldValue(value)) return
  throw new MeshError('bad-request', { message: `not a header field: ${JSON.stringify(name)}` })
}
