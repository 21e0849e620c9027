import type { HttpMatch } from './model.ts'
import { type Check, checksOf } from './match.ts'
import { headerOf, type Question, queryValue } from './request.ts'

/** Ordinals of rules, ascending. */
type Ordinals = readonly number[]

/** Rules that the path has left over; many of them are told apart by one more property of the request. */
type Bucket = Readonly<{
  plain: Ordinals
  keyed?: Readonly<{ property: Property; byValue: ReadonlyMap<string, Ordinals> }>
}>
type Property = Readonly<{ id: string; of: (question: Question) => string | undefined }>

/** The rules of a port, indexed: how many there are does not matter, only how many could match. */
export type MatchTable = Readonly<{
  checks: readonly (readonly Check[])[]
  exact: ReadonlyMap<string, Bucket>
  segments: ReadonlyMap<string, Bucket>
  prefixes: ReadonlyMap<string, Bucket>
  /** Ascending. So many places of a path are looked at, however long and full of slashes it is. */
  segmentsLengths: readonly number[]
  prefixLengths: readonly number[]
  /** Those that no path leads to. */
  rest: Bucket
}>

/** Fewer rules are as fast looked at one by one. */
const smallBucket = 8

export function matchTable(matches: readonly HttpMatch[]): MatchTable {
  const exact = new Map<string, number[]>()
  const segments = new Map<string, number[]>()
  const prefixes = new Map<string, number[]>()
  const rest: number[] = []
  for (const [ordinal, { path, ignorePathCase }] of matches.entries()) {
    if (path?.kind === 'regex' && literalStart(path.value) !== '')
      add(prefixes, literalStart(path.value), ordinal)
    else if (!path || path.kind === 'regex' || ignorePathCase === true) rest.push(ordinal)
    else if (path.kind === 'exact') add(exact, path.value, ordinal)
    else if (path.kind === 'segments') add(segments, path.value === '/' ? '' : path.value, ordinal)
    else add(prefixes, path.value, ordinal)
  }
  const bucket = (ordinals: Ordinals) => bucketOf(ordinals, matches)
  const buckets = (map: ReadonlyMap<string, Ordinals>) =>
    new Map([...map].map(([text, ordinals]) => [text, bucket(ordinals)]))
  return {
    checks: matches.map(checksOf),
    exact: buckets(exact),
    segments: buckets(segments),
    prefixes: buckets(prefixes),
    segmentsLengths: lengthsOf(segments),
    prefixLengths: lengthsOf(prefixes),
    rest: bucket(rest),
  }
}

const lengthsOf = (map: ReadonlyMap<string, unknown>): readonly number[] =>
  [...new Set([...map.keys()].map(({ length }) => length))].sort((a, b) => a - b)

/**
 * What every text begins with that an expression matches as a whole; empty where that is not plain to see. With an
 * alternative anywhere it is not, and of a character that may be repeated none need be there.
 */
function literalStart(pattern: string): string {
  if (pattern.includes('|')) return ''
  const literal = /^[\w/~%!@&=:;,'" #-]*/.exec(pattern)?.[0] ?? ''
  return '*?{'.includes(pattern[literal.length] ?? '+') ? literal.slice(0, -1) : literal
}

/** The first rule all of whose parts hold; -1 if there is none. */
export function firstMatch(table: MatchTable, question: Question): number {
  const lists = candidates(table, question)
  const at = lists.map(() => 0)
  for (;;) {
    let least = Infinity
    for (let i = 0; i < lists.length; i++) {
      const ordinal = lists[i]?.[at[i] ?? 0]
      if (ordinal !== undefined && ordinal < least) least = ordinal
    }
    if (least === Infinity) return -1
    if (holds(table.checks[least], question)) return least
    for (let i = 0; i < lists.length; i++) if (lists[i]?.[at[i] ?? 0] === least) at[i] = (at[i] ?? 0) + 1
  }
}

function holds(checks: readonly Check[] | undefined, question: Question): boolean {
  if (checks === undefined) return false
  for (const check of checks) if (!check.holds(question)) return false
  return true
}

/** Lists of rules that may match; no other rule can. A rule is in one list only. */
function candidates(table: MatchTable, question: Question): Ordinals[] {
  const { path } = question
  const lists: Ordinals[] = []
  const take = (bucket: Bucket | undefined) => {
    if (bucket === undefined) return
    if (bucket.plain.length > 0) lists.push(bucket.plain)
    const value = bucket.keyed?.property.of(question)
    const keyed = value === undefined ? undefined : bucket.keyed?.byValue.get(value)
    if (keyed) lists.push(keyed)
  }
  take(table.rest)
  if (table.exact.size > 0) take(table.exact.get(path))
  for (const length of table.segmentsLengths) {
    if (length > path.length) break
    if (length === 0 || length === path.length || path[length] === '/')
      take(table.segments.get(path.slice(0, length)))
  }
  for (const length of table.prefixLengths) {
    if (length > path.length) break
    take(table.prefixes.get(path.slice(0, length)))
  }
  return lists
}

/** Splits a big bucket by the property that most of its rules ask for exactly. */
function bucketOf(ordinals: Ordinals, matches: readonly HttpMatch[]): Bucket {
  if (ordinals.length <= smallBucket) return { plain: ordinals }
  const askers = new Map<string, { property: Property; asked: Map<number, string> }>()
  for (const ordinal of ordinals)
    for (const [property, value] of exactParts(matches[ordinal] ?? {})) {
      const asker = askers.get(property.id) ?? { property, asked: new Map<number, string>() }
      askers.set(property.id, asker)
      asker.asked.set(ordinal, value)
    }
  const best = [...askers.values()].reduce<{ property: Property; asked: Map<number, string> } | undefined>(
    (most, asker) => (most && distinct(most.asked) >= distinct(asker.asked) ? most : asker),
    undefined,
  )
  if (best === undefined || distinct(best.asked) < 2) return { plain: ordinals }
  const byValue = new Map<string, number[]>()
  for (const [ordinal, value] of best.asked) add(byValue, value, ordinal)
  return {
    plain: ordinals.filter((ordinal) => !best.asked.has(ordinal)),
    keyed: { property: best.property, byValue },
  }
}

const distinct = (asked: ReadonlyMap<number, string>): number => new Set(asked.values()).size

/** What a request must have, to the letter, to match. */
function exactParts({
  headers = [],
  query = [],
  method,
  authority,
  source,
}: HttpMatch): (readonly [Property, string])[] {
  const parts: (readonly [Property, string])[] = []
  for (const { name, value, negated, missingIsEmpty } of headers)
    if (value.kind === 'exact' && negated !== true && missingIsEmpty !== true)
      parts.push([{ id: `header ${name}`, of: ({ request }) => headerOf(request, name) }, value.value])
  for (const { name, value } of query)
    if (value.kind === 'exact')
      parts.push([{ id: `query ${name}`, of: (question) => queryValue(question.query, name) }, value.value])
  if (method?.kind === 'exact')
    parts.push([{ id: 'method', of: ({ request }) => request.method }, method.value])
  if (authority?.kind === 'exact') {
    const of = ({ request }: Question) => request.authority.toLowerCase()
    parts.push([{ id: 'authority', of }, authority.value.toLowerCase()])
  }
  if (source?.namespace !== undefined)
    parts.push([{ id: 'namespace', of: ({ caller }) => caller.namespace }, source.namespace])
  return parts
}

function add(map: Map<string, number[]>, key: string, ordinal: number): void {
  const list = map.get(key)
  if (list) list.push(ordinal)
  else map.set(key, [ordinal])
}
