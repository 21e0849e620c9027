import { type HttpMatch, patternProblem, type PathMatch, type TextMatch } from '#routes'
import { shown } from '../collections/problems.ts'
import { isHeaderName } from '../validation/formats.ts'
import { type Field, itemsOf, partsOf, problem, textOf, unlessProblem, wordOf } from './gateway-api-fields.ts'

/** A match and its rank: of two matches that fit a request the one counts whose first different number is bigger. */
export type RankedMatch = Readonly<{ match: HttpMatch; rank: readonly number[] }>

const valueTypes = ['Exact', 'RegularExpression'] as const
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

/** HTTPRouteMatch. No matches at all are one that everything fits. */
export function readHttpMatches(field: Field): readonly RankedMatch[] {
  const items = itemsOf(field)
  return items.length === 0 ? [httpMatch({ ...field, value: {} })] : items.map(httpMatch)
}

/** A part that cannot be read is left out: the rule is closed then, for everything that it may have been about. */
function httpMatch(field: Field): RankedMatch {
  const parts = partsOf(field, ['path', 'headers', 'queryParams', 'method'])
  const path = unlessProblem(field, () => pathMatch(parts?.path))
  const headers = unlessProblem(field, () => (parts ? namedMatches(parts.headers, true) : [])) ?? []
  const query = unlessProblem(field, () => (parts ? namedMatches(parts.queryParams, false) : [])) ?? []
  const method = wordOf(parts?.method, methods)
  return {
    match: {
      ...(path === undefined ? {} : { path }),
      ...(method === undefined ? {} : { method: { kind: 'exact', value: method } }),
      ...(headers.length === 0 ? {} : { headers }),
      ...(query.length === 0 ? {} : { query }),
    },
    rank: [
      path === undefined ? 0 : pathRanks[path.kind],
      path?.value.length ?? 0,
      method === undefined ? 0 : 1,
      headers.length,
      query.length,
    ],
  }
}

/** Istio puts expressions last. */
const pathRanks = { exact: 2, segments: 1, prefix: 1, regex: 0 } as const

function pathMatch(field: Field | undefined): PathMatch {
  const parts = field && partsOf(field, ['type', 'value'])
  const type = wordOf(parts?.type, ['Exact', 'PathPrefix', 'RegularExpression']) ?? 'PathPrefix'
  const value = textOf(parts?.value) ?? '/'
  if (type === 'RegularExpression') return { kind: 'regex', value: pattern(parts?.value, value) }
  if (!value.startsWith('/') && parts) problem(parts.value, 'a path starts with /')
  if (type === 'Exact') return { kind: 'exact', value }
  // The trailing slash says nothing: /abc/ is /abc.
  return { kind: 'segments', value: value.replace(/\/+$/, '') || '/' }
}

/** What cannot be compiled is told; the rule is closed then, whatever stands in its place. */
function pattern(field: Field | undefined, value: string): string {
  const why = patternProblem(value)
  if (why === undefined) return value
  if (field) problem(field, `not an expression of RE2: ${why}`)
  return '.*'
}

function textMatch(type: (typeof valueTypes)[number] | undefined, field: Field): TextMatch {
  const value = textOf(field) ?? ''
  return type === 'RegularExpression'
    ? { kind: 'regex', value: pattern(field, value) }
    : { kind: 'exact', value }
}

/** Of several entries of one name the first counts. Names of headers have no case, those of parameters do. */
function namedMatches(
  field: Field,
  areHeaders: boolean,
): readonly Readonly<{ name: string; value: TextMatch }>[] {
  const seen = new Set<string>()
  return itemsOf(field).flatMap((item) => {
    const parts = partsOf(item, ['type', 'name', 'value'])
    const written = textOf(parts?.name) ?? ''
    if (written === '') problem(item, 'has no name')
    else if (areHeaders && !isHeaderName(written))
      problem(item, `${shown(written)} is not the name of a header`)
    const name = areHeaders ? written.toLowerCase() : written
    if (parts === undefined || seen.has(name)) return []
    seen.add(name)
    return [{ name, value: textMatch(wordOf(parts.type, valueTypes), parts.value) }]
  })
}

/** GRPCRouteMatch. */
export function readGrpcMatches(field: Field): readonly RankedMatch[] {
  const items = itemsOf(field)
  return items.length === 0 ? [grpcMatch({ ...field, value: {} })] : items.map(grpcMatch)
}

function grpcMatch(field: Field): RankedMatch {
  const parts = partsOf(field, ['method', 'headers'])
  const headers = unlessProblem(field, () => (parts ? namedMatches(parts.headers, true) : [])) ?? []
  const called = unlessProblem(field, () => grpcMethod(parts?.method))
  return {
    match: {
      ...(called?.path === undefined ? {} : { path: called.path }),
      ...(headers.length === 0 ? {} : { headers }),
    },
    rank: [...(called?.rank ?? [0, 0]), headers.length],
  }
}

type Called = Readonly<{ path: PathMatch | undefined; rank: readonly number[] }>

function grpcMethod(field: Field | undefined): Called {
  const parts = field && partsOf(field, ['type', 'service', 'method'])
  const [service = '', method = ''] = [textOf(parts?.service), textOf(parts?.method)]
  if (field && parts && service === '' && method === '') problem(field, 'neither service nor method')
  // Expressions after names.
  if (wordOf(parts?.type, valueTypes) === 'RegularExpression')
    return { path: grpcPattern(field, service, method), rank: [0, 0] }
  return { path: grpcPath(service, method), rank: [service.length, method.length] }
}

const quoted = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)

function grpcPath(service: string, method: string): PathMatch | undefined {
  if (service === '' && method === '') return undefined
  if (method === '') return { kind: 'segments', value: `/${service}` }
  return service === ''
    ? { kind: 'regex', value: `/[^/]+/${quoted(method)}` }
    : { kind: 'exact', value: `/${service}/${method}` }
}

function grpcPattern(field: Field | undefined, service: string, method: string): PathMatch {
  const part = (text: string) => (text === '' ? '[^/]+' : `(?:${text})`)
  for (const text of [service, method]) if (text !== '') pattern(field, text) // each has to be one by itself
  return { kind: 'regex', value: pattern(field, `/${part(service)}/${part(method)}`) }
}
