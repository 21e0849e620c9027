import type { ClaimMatch, HeaderMatch, HttpMatch, PathMatch, PresenceMatch, QueryMatch } from '#routes'
import { shown } from '../collections/problems.ts'
import { booleanOf, type Field, itemsOf, partsOf, portOf, problem, textOf } from './gateway-api-fields.ts'
import { given, isThere, labelsOf, membersOf, type Notes, stringMatchOf } from './istio-fields.ts'

/** An entry of a `match` list. */
export type ReadMatch = Readonly<{
  index: number
  name: string | undefined
  /** Of the service; undefined: all. */
  port: number | undefined
  /** Is it for the mesh, or for gateways alone? */
  forMesh: boolean
  match: HttpMatch
}>

const matchFields = [
  'name',
  'uri',
  'ignoreUriCase',
  'scheme',
  'method',
  'authority',
  'headers',
  'withoutHeaders',
  'queryParams',
  'port',
  'sourceLabels',
  'sourceNamespace',
  'gateways',
  'statPrefix',
] as const

/** No matches at all are one that everything fits. */
export function readMatches(field: Field, notes: Notes): readonly ReadMatch[] {
  const items = itemsOf(field)
  const all = items.length === 0 ? [{ ...field, value: {} }] : items
  return all.map((item, index) => readMatch(item, index, notes))
}

/** A part that cannot be read is left out: the rule is closed then, for everything that it may have been about. */
function readMatch(field: Field, index: number, notes: Notes): ReadMatch {
  const parts = partsOf(field, matchFields)
  const text = (one: Field | undefined) => (isThere(one) ? stringMatchOf(one) : undefined)
  const headers = membersOf(parts?.headers).map(([key, one]) => ({ key, value: presence(one) }))
  const without = membersOf(parts?.withoutHeaders).map(([key, one]) => ({ key, value: presence(one) }))
  if (isThere(parts?.statPrefix)) notes.remarks.push(`${parts.statPrefix.path}: is not honoured`)
  const path = pathOf(parts?.uri)
  if (path && path.kind !== 'regex' && !['', '*'].includes(path.value) && !path.value.startsWith('/'))
    notes.remarks.push(`${field.path}.uri: no path is like ${shown(path.value)}, each starts with /`)
  if ([...headers, ...without].some(({ key }) => claimPath(key) !== undefined))
    notes.remarks.push(`${field.path}: no token of an end user is looked at, so nobody has a claim`)
  return {
    index,
    name: textOf(parts?.name),
    port: portOf(parts?.port),
    forMesh: isForMesh(parts?.gateways),
    match: {
      ...given({
        path,
        ignorePathCase: booleanOf(parts?.ignoreUriCase) === true ? true : undefined,
        scheme: text(parts?.scheme),
        method: text(parts?.method),
        authority: text(parts?.authority),
        headers: list([
          ...headers.flatMap(({ key, value }) => headerMatch(key, value, field) ?? []),
          ...without.flatMap(({ key, value }) => withoutMatch(key, value, field) ?? []),
        ]),
        query: list(
          membersOf(parts?.queryParams).map(([name, one]): QueryMatch => ({ name, value: presence(one) })),
        ),
        claims: list([
          ...headers.flatMap(({ key, value }) => claimMatch(key, value) ?? []),
          ...without.flatMap(({ key, value }) => {
            const claim = claimMatch(key, value)
            return claim === undefined ? [] : [{ ...claim, negated: true }]
          }),
        ]),
        source: sourceOf(parts?.sourceNamespace, parts?.sourceLabels),
      }),
    },
  }
}

/** Where a list of gateways is not there the one above it counts, which we have looked at. */
export const isForMesh = (field: Field | undefined): boolean =>
  !isThere(field) || itemsOf(field).some((item) => textOf(item) === 'mesh') || itemsOf(field).length === 0

/** By the caller's certificate; Istio's waypoints ask their own labels and namespace here, or drop the match. */
export function sourceOf(namespaceField: Field | undefined, labelsField: Field | undefined) {
  const source = given({ namespace: textOf(namespaceField) || undefined, labels: labelsOf(labelsField) })
  return Object.keys(source).length === 0 ? undefined : source
}

const list = <T>(all: readonly T[]): readonly T[] | undefined => (all.length === 0 ? undefined : all)

function presence(field: Field): PresenceMatch {
  return stringMatchOf(field) ?? { kind: 'present' }
}

function pathOf(field: Field | undefined): PathMatch | undefined {
  const match = isThere(field) ? stringMatchOf(field) : undefined
  return match === undefined || match.kind === 'suffix' ? undefined : { kind: match.kind, value: match.value }
}

const claims = /^@request\.auth\.claims(?:\.(.+)|((?:\[[^[\]]+\])+))$/
function claimPath(key: string): readonly string[] | undefined {
  const found = claims.exec(key)
  if (found === null) return undefined
  const [, dotted, brackets] = found
  return dotted?.split('.') ?? brackets?.slice(1, -1).split('][')
}

function claimMatch(key: string, value: PresenceMatch): ClaimMatch | undefined {
  const path = claimPath(key)
  return path === undefined ? undefined : { path, value }
}

const token = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const pseudo: ReadonlyMap<string, string> = new Map([
  [':authority', 'authority'],
  [':method', 'method'],
  [':path', 'uri'],
  [':scheme', 'scheme'],
])

function nameOfHeader(key: string, field: Field): string | undefined {
  if (claimPath(key) !== undefined) return undefined
  const name = key.toLowerCase()
  const instead = pseudo.get(name)
  if (instead !== undefined) return problem(field, `${key} is no header; say ${instead}`)
  return token.test(name) ? name : problem(field, `${JSON.stringify(key)} is not the name of a header`)
}

function headerMatch(key: string, value: PresenceMatch, field: Field): HeaderMatch | undefined {
  const name = nameOfHeader(key, field)
  return name === undefined ? undefined : { name, value }
}

/** One that is not there counts as empty; only what asks for a header at all is content without. */
function withoutMatch(key: string, value: PresenceMatch, field: Field): HeaderMatch | undefined {
  const name = nameOfHeader(key, field)
  if (name === undefined) return undefined
  return { name, value, negated: true, ...(value.kind === 'present' ? {} : { missingIsEmpty: true }) }
}
