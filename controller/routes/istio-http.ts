import { isRecord } from '#base'
import type { Cors, Fault, Redirect, Respond, RetryPolicy, Rewrite } from '#routes'
import { type Field, isGiven, partsOf, problem, textOf } from './gateway-api-fields.ts'
import {
  readCors,
  readDirectResponse,
  readFault,
  readRedirect,
  readRetries,
  readRewrite,
} from './istio-actions.ts'
import {
  type Place,
  readHeaders,
  type ReadHeaders,
  type ReadMirror,
  readMirrors,
  readShares,
  type ReadShare,
} from './istio-destinations.ts'
import { type Given, given, isThere, msOf, type Notes } from './istio-fields.ts'
import { type ReadMatch, readMatches } from './istio-matches.ts'

type DelegateRef = Readonly<{ namespace: string; name: string; path: string }>

/** What is done with what matches; a delegate's parts count before its root's. */
export type RuleParts = Given<{
  route: readonly ReadShare[] | undefined
  redirect: Redirect | undefined
  respond: Respond | undefined
  rewrite: Rewrite | undefined
  timeoutMs: number | undefined
  retry: RetryPolicy | undefined
  fault: Fault | undefined
  mirrors: readonly ReadMirror[] | undefined
  cors: Cors | undefined
  headers: ReadHeaders | undefined
}>

/** A rule as far as it can be read without knowing anything else. */
export type ReadRule = Readonly<{
  index: number
  name: string | undefined
  matches: readonly ReadMatch[]
  delegate: DelegateRef | undefined
  parts: RuleParts
  /** What cannot be followed: with any the rule answers 500 to whatever it matches. */
  problems: readonly string[]
  /** What is not done, although the rule is followed. */
  remarks: readonly string[]
}>

const fields = [
  'name',
  'match',
  'route',
  'redirect',
  'directResponse',
  'delegate',
  'rewrite',
  'timeout',
  'retries',
  'fault',
  'mirror',
  'mirrors',
  'mirrorPercentage',
  'mirrorPercent',
  'corsPolicy',
  'headers',
] as const
const actions = ['route', 'redirect', 'directResponse', 'delegate'] as const

export function readHttpRule(
  value: unknown,
  index: number,
  { namespace, domain }: Pick<Place, 'namespace' | 'domain'>,
): ReadRule {
  const notes = { problems: [], remarks: [] } as { problems: string[]; remarks: string[] }
  const place: Place = { namespace, domain, notes }
  const field: Field = { value, path: `spec.http[${index}]`, problems: notes.problems }
  const parts = partsOf(field, fields)
  if (parts === undefined && notes.problems.length === 0) problem(field, 'is empty')
  const at = (name: (typeof fields)[number]): Field | undefined =>
    parts && isThere(parts[name]) ? parts[name] : undefined
  const read = <T>(name: (typeof fields)[number], as: (one: Field) => T): T | undefined => {
    const one = at(name)
    return one === undefined ? undefined : as(one)
  }
  const there = actions.filter((name) => at(name) !== undefined)
  if (there.length > 1) problem(field, `${there.join(' and ')} exclude each other`)
  if (there.length === 0 && parts) problem(field, `has none of ${actions.join(', ')}`)
  for (const name of ['rewrite', 'fault'] as const)
    if (at(name) && (at('directResponse') || (name === 'rewrite' && at('redirect'))))
      problem(field, `${name} beside ${there.join()}`)
  if (at('redirect') || at('directResponse')) besideAnswer(at, notes)
  return {
    index,
    name: textOf(parts?.name) || undefined,
    matches: readMatches(parts?.match ?? { ...field, value: undefined }, notes),
    delegate: read('delegate', (one) => readDelegate(one, namespace)),
    parts: given({
      route: read('route', (one) => readShares(one, place, true)),
      redirect: read('redirect', readRedirect),
      respond: read('directResponse', readDirectResponse),
      rewrite: read('rewrite', readRewrite),
      timeoutMs: msOf(at('timeout')),
      retry: read('retries', (one) => readRetries(one, notes)),
      fault: read('fault', (one) => readFault(one, notes)),
      mirrors: parts && readMirrors(parts, place),
      cors: read('corsPolicy', readCors),
      headers: read('headers', (one) => readHeaders(one, notes)),
    }),
    problems: notes.problems,
    remarks: notes.remarks,
  }
}

/** Nothing is sent on, so there is nothing to wait for, to try again, to copy or to change. */
const ofRequests = ['timeout', 'retries', 'mirror', 'mirrors', 'mirrorPercentage', 'mirrorPercent'] as const
function besideAnswer(
  at: (name: (typeof ofRequests)[number] | 'headers') => Field | undefined,
  { remarks }: Notes,
): void {
  const no = (path: string) => remarks.push(`${path}: no effect, the request is answered here`)
  for (const name of ofRequests) {
    const one = at(name)
    if (one) no(one.path)
  }
  const headers = at('headers')
  if (isRecord(headers?.value) && isGiven(headers.value['request'])) no(`${headers.path}.request`)
}

function readDelegate(field: Field, namespace: string): DelegateRef | undefined {
  const parts = partsOf(field, ['name', 'namespace'])
  const name = textOf(parts?.name) ?? ''
  if (name === '') return problem(field, 'has no name')
  return { name, namespace: textOf(parts?.namespace) || namespace, path: field.path }
}
