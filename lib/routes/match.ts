import { isRecord } from '#base'
import type { ClaimMatch, HeaderMatch, HttpMatch, PathMatch, QueryMatch, SourceMatch } from './model.ts'
import { type Caller, headerOf, type Question, queryValue } from './request.ts'
import { presenceTest, shownMatch, textTest } from './text.ts'

/** One part of a match; all parts of it must hold. */
export type Check = Readonly<{
  /** What is asked for, for explanations. */
  says: string
  holds(question: Question): boolean
}>

/** The parts of a match, the cheap ones first. */
export function checksOf(match: HttpMatch): readonly Check[] {
  const { path, method, scheme, authority, headers = [], query = [], claims = [], source } = match
  const checks: Check[] = []
  const add = (says: string, holds: Check['holds']) => checks.push({ says, holds })
  if (path)
    add(`path ${path.kind} ${JSON.stringify(path.value)}`, pathCheck(path, match.ignorePathCase === true))
  if (method) {
    const test = textTest(method)
    add(`method ${shownMatch(method)}`, ({ request }) => test(request.method))
  }
  if (scheme) {
    const test = textTest(scheme)
    add(`scheme ${shownMatch(scheme)}`, ({ request }) => test(request.scheme))
  }
  if (authority) {
    const test = textTest(authority, authority.kind !== 'regex') // host names have no case
    add(`authority ${shownMatch(authority)}`, ({ request }) => test(request.authority))
  }
  if (source) {
    const test = sourceTest(source)
    add(`source ${JSON.stringify(source)}`, ({ caller }) => test(caller))
  }
  for (const one of headers) add(`header ${one.name} ${shownPart(one)}`, headerCheck(one))
  for (const one of query) add(`query parameter ${one.name} ${shownMatch(one.value)}`, queryCheck(one))
  for (const one of claims) add(`claim ${one.path.join('.')} ${shownPart(one)}`, claimCheck(one))
  return checks
}

const shownPart = ({ value, negated }: Pick<HeaderMatch, 'value' | 'negated'>) =>
  `${negated === true ? 'not ' : ''}${shownMatch(value)}`

function pathCheck({ kind, value }: PathMatch, ignoreCase: boolean): Check['holds'] {
  if (kind === 'segments') {
    const test = segmentsTest(value)
    return ({ path }) => test(path)
  }
  const test = textTest({ kind, value }, ignoreCase && kind !== 'regex')
  return ({ path }) => test(path)
}

/** `/a` is `/a` and `/a/…`; `/` is everything. */
function segmentsTest(value: string): (path: string) => boolean {
  if (value === '/') return () => true
  const slash = '/'.codePointAt(0)
  return (path) =>
    path.startsWith(value) && (path.length === value.length || path.codePointAt(value.length) === slash)
}

function headerCheck({ name, value, negated = false, missingIsEmpty = false }: HeaderMatch): Check['holds'] {
  const test = presenceTest(value)
  return ({ request }) => {
    const text = headerOf(request, name) ?? (missingIsEmpty ? '' : undefined)
    return (text !== undefined && test(text)) !== negated
  }
}

function queryCheck({ name, value }: QueryMatch): Check['holds'] {
  const test = presenceTest(value)
  return ({ query }) => {
    const text = queryValue(query, name)
    return text !== undefined && test(text)
  }
}

function claimCheck({ path, value, negated = false }: ClaimMatch): Check['holds'] {
  const test = presenceTest(value)
  return ({ caller }) => claimValues(caller.claims, path).some(test) !== negated
}

/** The texts that a claim has: itself, or the members of a list. */
function claimValues(claims: Caller['claims'], path: readonly string[]): readonly string[] {
  let value: unknown = claims
  for (const part of path) value = isRecord(value) && Object.hasOwn(value, part) ? value[part] : undefined
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  return list.flatMap((one) => (typeof one === 'string' ? [one] : isPlain(one) ? [String(one)] : []))
}
const isPlain = (value: unknown): value is number | boolean =>
  typeof value === 'number' || typeof value === 'boolean'

/** Of a caller; what is not known of it matches nothing. */
export function sourceTest({ namespace, principal, labels }: SourceMatch): (caller: Caller) => boolean {
  const wanted = Object.entries(labels ?? {})
  return (caller) =>
    (namespace === undefined || caller.namespace === namespace) &&
    (principal === undefined || caller.principal === principal) &&
    wanted.every(([key, value]) => caller.label !== undefined && caller.label(key) === value)
}
