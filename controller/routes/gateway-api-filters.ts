import {
  authorityProblem,
  type Cors,
  type CorsOrigin,
  type HeaderOps,
  headerProblem,
  pathProblem,
  type PathRewrite,
  type Redirect,
  type Rewrite,
} from '#routes'
import { noHeaders } from './defaults.ts'
import {
  booleanOf,
  type Field,
  isGiven,
  itemsOf,
  numberOf,
  partsOf,
  portOf,
  problem,
  textOf,
  wordOf,
} from './gateway-api-fields.ts'
import { type BackendRef, readBackend } from './gateway-api-object.ts'

export type ReadRedirect = Omit<Redirect, 'port'> & Readonly<{ port: Redirect['port'] | 'listener' }>
type ReadMirror = Readonly<{ ref: BackendRef; ppm: number }>

/** What the filters of a rule, or of one of its backends, ask for. */
export type ReadFilters = Readonly<{
  requestHeaders: HeaderOps
  responseHeaders: HeaderOps
  redirect?: ReadRedirect
  rewrite?: Rewrite
  cors?: Cors
  mirrors: readonly ReadMirror[]
  /** Two of them exclude each other. */
  incompatible?: true
}>

type Changing = { -readonly [K in keyof ReadFilters]: ReadFilters[K] }

const ofRules = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestMirror',
  'RequestRedirect',
  'URLRewrite',
  'CORS',
] as const
const ofBackends = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
] as const
const ofGrpc = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror'] as const
const ofGrpcBackends = ['RequestHeaderModifier', 'ResponseHeaderModifier'] as const
type FilterType = (typeof ofRules)[number]

/** Where filters are written decides which there are. */
export type FilterPlace = Readonly<{
  types: readonly FilterType[]
  namespace: string
  /** A prefix can be replaced only where every match of the rule is one. */
  prefixOnly: boolean
}>
export const filterTypes = { ofRules, ofBackends, ofGrpc, ofGrpcBackends } as const

const settings = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
} as const
const filterFields = ['type', ...Object.values(settings), 'extensionRef', 'externalAuth'] as const

export function readFilters(field: Field | undefined, place: FilterPlace): ReadFilters {
  const filters: Changing = { requestHeaders: noHeaders, responseHeaders: noHeaders, mirrors: [] }
  const seen = new Set<FilterType>()
  for (const item of field === undefined ? [] : itemsOf(field)) {
    const type = readFilter(item, place, filters)
    if (type === undefined) continue
    if (seen.has(type) && type !== 'RequestMirror') problem(item, `a second ${type}`)
    seen.add(type)
  }
  if (field && filters.redirect && filters.rewrite) {
    problem(field, 'RequestRedirect and URLRewrite exclude each other')
    filters.incompatible = true
  }
  return filters
}

/** Takes what one filter asks for into `filters`. */
function readFilter(item: Field, place: FilterPlace, filters: Changing): FilterType | undefined {
  const parts = partsOf(item, filterFields)
  if (parts === undefined) return problem(item, 'is not a filter')
  // Also ExtensionRef and ExternalAuth: nothing that a filter does may be left undone.
  const type = wordOf(parts.type, place.types)
  if (!isGiven(parts.type.value)) problem(item, 'has no type')
  for (const name of filterFields)
    if (type !== undefined && name !== 'type' && name !== settings[type] && isGiven(parts[name].value))
      problem(parts[name], `beside type ${type}`)
  switch (type) {
    case 'RequestHeaderModifier':
      filters.requestHeaders = readHeaderOps(parts.requestHeaderModifier)
      break
    case 'ResponseHeaderModifier':
      filters.responseHeaders = readHeaderOps(parts.responseHeaderModifier)
      break
    case 'RequestRedirect':
      filters.redirect = readRedirect(parts.requestRedirect, place)
      break
    case 'URLRewrite':
      filters.rewrite = readRewrite(parts.urlRewrite, place)
      break
    case 'RequestMirror':
      filters.mirrors = [...filters.mirrors, ...readMirror(parts.requestMirror, place)]
      break
    case 'CORS':
      filters.cors = readCors(parts.cors)
      break
    case undefined:
  }
  return type
}

/** Values stand as they are: the Gateway API knows no templates. A name that is in two lists is a mistake. */
function readHeaderOps(field: Field): HeaderOps {
  const parts = partsOf(field, ['set', 'add', 'remove'])
  if (parts === undefined) return problem(field, 'is missing') ?? noHeaders
  const seen = new Set<string>()
  const once = (item: Field, name: string, value?: string) => {
    const why = headerProblem(name, value) ?? (seen.has(name) ? `${name} is there twice` : undefined)
    seen.add(name)
    if (why !== undefined) problem(item, why)
  }
  const values = (list: Field) =>
    itemsOf(list).map((item) => {
      const pair = partsOf(item, ['name', 'value'])
      const [name, value] = [(textOf(pair?.name) ?? '').toLowerCase(), textOf(pair?.value) ?? '']
      once(item, name, value)
      return { name, value }
    })
  const removed = itemsOf(parts.remove).map((item) => {
    const name = (textOf(item) ?? '').toLowerCase()
    once(item, name)
    return name
  })
  return { set: values(parts.set), add: values(parts.add), remove: removed }
}

/** Undefined where it cannot be used; that is told then. */
function usable(field: Field | undefined, why: (text: string) => string | undefined): string | undefined {
  const text = textOf(field)
  const told = text === undefined ? undefined : why(text)
  return field !== undefined && told !== undefined ? problem(field, told) : text
}
const hostOf = (field: Field | undefined) => usable(field, authorityProblem)
const pathIn = (field: Field | undefined) => usable(field, pathProblem)

function readPath(
  field: Field,
  { prefixOnly }: FilterPlace,
): Exclude<PathRewrite, { kind: 'regex' }> | undefined {
  const parts = partsOf(field, ['type', 'replaceFullPath', 'replacePrefixMatch'])
  if (parts === undefined) return undefined
  const type = wordOf(parts.type, ['ReplaceFullPath', 'ReplacePrefixMatch'])
  if (type === undefined) return isGiven(parts.type.value) ? undefined : problem(field, 'has no type')
  const other = type === 'ReplaceFullPath' ? parts.replacePrefixMatch : parts.replaceFullPath
  if (isGiven(other.value)) problem(other, `beside type ${type}`)
  if (type === 'ReplaceFullPath') return { kind: 'full', value: pathIn(parts.replaceFullPath) ?? '/' }
  if (!prefixOnly) return problem(field, 'ReplacePrefixMatch where a match is not a PathPrefix')
  return { kind: 'prefix', value: pathIn(parts.replacePrefixMatch) ?? '' }
}

function readRedirect(field: Field, place: FilterPlace): ReadRedirect {
  const parts = partsOf(field, ['scheme', 'hostname', 'path', 'port', 'statusCode'])
  if (parts === undefined) problem(field, 'is missing')
  const scheme = wordOf(parts?.scheme, ['http', 'https'])
  const host = hostOf(parts?.hostname)
  const path = parts && readPath(parts.path, place)
  const status = numberOf(parts?.statusCode, 300, 399) ?? 302
  if (parts && ![301, 302, 303, 307, 308].includes(status))
    problem(parts.statusCode, `${status} is not a redirect`)
  return {
    kind: 'redirect',
    status,
    ...(scheme === undefined ? {} : { scheme }),
    ...(host === undefined ? {} : { host }),
    port: portOf(parts?.port) ?? (scheme === undefined ? 'listener' : 'scheme'),
    ...(path === undefined ? {} : { path }),
  }
}

function readRewrite(field: Field, place: FilterPlace): Rewrite {
  const parts = partsOf(field, ['hostname', 'path'])
  if (parts === undefined) return problem(field, 'is missing') ?? {}
  const authority = hostOf(parts.hostname)
  const path = readPath(parts.path, place)
  return { ...(authority === undefined ? {} : { authority }), ...(path === undefined ? {} : { path }) }
}

const million = 1_000_000

function readMirror(field: Field, { namespace }: FilterPlace): readonly ReadMirror[] {
  const parts = partsOf(field, ['backendRef', 'percent', 'fraction'])
  const backend = parts && readBackend(parts.backendRef, namespace)
  if (parts === undefined || backend === undefined) return problem(field, 'has no backendRef') ?? []
  if (backend.filters) problem(backend.filters, 'is not known here')
  const percent = numberOf(parts.percent, 0, 100)
  const fraction = partsOf(parts.fraction, ['numerator', 'denominator'])
  if (percent !== undefined && fraction) problem(field, 'percent and fraction exclude each other')
  if (!fraction) return [{ ref: backend.ref, ppm: (percent ?? 100) * 10_000 }]
  const denominator = numberOf(fraction.denominator, 1, 2 ** 31 - 1) ?? 100
  const numerator = numberOf(fraction.numerator, 0, denominator) ?? 0
  return [{ ref: backend.ref, ppm: Math.round((numerator / denominator) * million) }]
}

function readCors(field: Field): Cors {
  const fields = [
    'allowOrigins',
    'allowMethods',
    'allowHeaders',
    'exposeHeaders',
    'maxAge',
    'allowCredentials',
  ] as const
  const parts = partsOf(field, fields)
  const texts = (list: Field | undefined) => {
    const found = list === undefined ? [] : itemsOf(list).map((item) => ({ item, text: textOf(item) ?? '' }))
    for (const { item, text } of found) {
      const why = headerProblem('x', text)
      if (why !== undefined) problem(item, 'cannot stand in a header')
    }
    return found.map(({ text }) => text)
  }
  const methods = texts(parts?.allowMethods)
  return {
    allowOrigins: texts(parts?.allowOrigins).map(corsOrigin),
    // The safelisted ones need no permission, and are named where none is.
    allowMethods: methods.length === 0 ? ['GET', 'HEAD', 'POST'] : methods,
    allowHeaders: texts(parts?.allowHeaders),
    exposeHeaders: texts(parts?.exposeHeaders),
    maxAgeSeconds: numberOf(parts?.maxAge, 1, 2 ** 31 - 1) ?? 5,
    allowCredentials: booleanOf(parts?.allowCredentials) ?? false,
    unmatchedPreflights: 'answer',
    wildcards: 'echo',
  }
}

const quoted = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)

/** `https://*.x` is any name below x, at any depth. */
function corsOrigin(origin: string): CorsOrigin {
  if (origin === '*') return { kind: 'any' }
  const [scheme = '', rest = ''] = origin.split('://*')
  return origin.includes('://*')
    ? { kind: 'regex', value: `${quoted(scheme)}://[^/]+${quoted(rest)}` }
    : { kind: 'exact', value: origin }
}
