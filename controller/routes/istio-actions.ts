import {
  authorityProblem,
  type Cors,
  type CorsOrigin,
  type Fault,
  headerProblem,
  isRetryCondition,
  patternProblem,
  pathProblem,
  type PathRewrite,
  type Redirect,
  type Respond,
  type RetryCondition,
  type RetryPolicy,
  type Rewrite,
  splitAuthority,
  substitutionProblem,
} from '#routes'
import { usualRetry } from './defaults.ts'
import {
  booleanOf,
  type Field,
  itemsOf,
  numberOf,
  partsOf,
  portOf,
  problem,
  textOf,
  wordOf,
} from './gateway-api-fields.ts'
import { fractionOf, given, isThere, msOf, type Notes, ppmOf, stringMatchOf } from './istio-fields.ts'

/** Undefined where it cannot be used; that is told then. */
function usable(field: Field | undefined, why: (text: string) => string | undefined): string | undefined {
  const text = textOf(field)
  const told = text === undefined ? undefined : why(text)
  return field !== undefined && told !== undefined ? problem(field, told) : text
}

const statuses = [301, 302, 303, 307, 308]

export function readRedirect(field: Field): Redirect {
  const parts = partsOf(field, [
    'uri',
    'authority',
    'scheme',
    'port',
    'derivePort',
    'redirectCode',
    'prefixRewrite',
  ])
  const status = numberOf(parts?.redirectCode, 300, 399) ?? 301
  if (parts && !statuses.includes(status)) problem(parts.redirectCode, `${status} is not a redirect`)
  const authority = usable(parts?.authority, authorityProblem) || undefined
  const asked = authority === undefined ? undefined : splitAuthority(authority)
  const scheme = wordOf(parts?.scheme, ['http', 'https'])
  const port = portOf(parts?.port)
  const derived = wordOf(parts?.derivePort, ['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'])
  if (port !== undefined && derived !== undefined) problem(field, 'port and derivePort exclude each other')
  const uri = usable(parts?.uri, pathProblem) || undefined
  const prefix = usable(parts?.prefixRewrite, pathProblem) || undefined
  if (uri !== undefined && prefix !== undefined) problem(field, 'uri and prefixRewrite exclude each other')
  // An authority that stays has its port; one that is new has what the scheme says.
  const usual = authority === undefined && scheme === undefined ? 'request' : 'scheme'
  const said = derived === undefined ? undefined : derived === 'FROM_REQUEST_PORT' ? 'request' : 'scheme'
  const path: Redirect['path'] =
    uri !== undefined
      ? { kind: 'full', value: uri }
      : prefix === undefined
        ? undefined
        : { kind: 'prefix', value: prefix }
  return {
    kind: 'redirect',
    status,
    port: port ?? said ?? asked?.port ?? usual,
    ...given({ scheme, host: asked?.host, path }),
  }
}

/** Bytes. Istio's bound. */
const maxBody = 1_048_576

export function readDirectResponse(field: Field): Respond {
  const parts = partsOf(field, ['status', 'body'])
  const status = numberOf(parts?.status, 200, 599)
  if (status === undefined) problem(field, 'has no status')
  const body = isThere(parts?.body) ? partsOf(parts.body, ['string', 'bytes']) : undefined
  const [text, bytes] = [textOf(body?.string), textOf(body?.bytes)]
  if (text !== undefined && bytes !== undefined) problem(field, 'string and bytes exclude each other')
  const encoded = text === undefined ? bytes : Buffer.from(text).toString('base64')
  if (encoded !== undefined && encoded.length > (maxBody * 4) / 3 + 4)
    problem(field, 'body: longer than 1 MiB')
  if (bytes !== undefined && Buffer.from(bytes, 'base64').toString('base64') !== bytes)
    problem(field, 'body.bytes: is not base64')
  return { kind: 'respond', status: status ?? 500, ...given({ body: encoded || undefined }) }
}

export function readRewrite(field: Field): Rewrite {
  const parts = partsOf(field, ['uri', 'authority', 'uriRegexRewrite'])
  const uri = usable(parts?.uri, pathProblem)
  const authority = usable(parts?.authority, authorityProblem) || undefined
  const regex = isThere(parts?.uriRegexRewrite) ? regexRewrite(parts.uriRegexRewrite) : undefined
  if (uri !== undefined && regex) problem(field, 'uri and uriRegexRewrite exclude each other')
  const path: PathRewrite | undefined =
    regex ?? (uri === undefined ? undefined : { kind: 'prefix', value: uri })
  return given({ authority, path })
}

function regexRewrite(field: Field): PathRewrite | undefined {
  const parts = partsOf(field, ['match', 'rewrite'])
  const [pattern, substitution] = [textOf(parts?.match) ?? '', textOf(parts?.rewrite) ?? '']
  const why =
    patternProblem(pattern) ?? substitutionProblem(pattern, substitution) ?? pathProblem(substitution)
  return why === undefined ? { kind: 'regex', pattern, substitution } : problem(field, why)
}

/** Of Envoy's, but not here: HTTP/3. */
const notHonoured = 'http3-post-connect-failure'

export function readRetries(field: Field, notes: Notes): RetryPolicy {
  const parts = partsOf(field, [
    'attempts',
    'perTryTimeout',
    'retryOn',
    'retryRemoteLocalities',
    'retryIgnorePreviousHosts',
    'backoff',
  ])
  const attempts = numberOf(parts?.attempts, 0, 1_000)
  if (parts && !isThere(parts.attempts))
    notes.remarks.push(`${field.path}: without attempts nothing is tried again`)
  const words = (textOf(parts?.retryOn) ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
  const codes = words.filter((word) => /^[1-5]\d\d$/.test(word)).map(Number)
  const on = words.filter((word): word is RetryCondition => isRetryCondition(word))
  for (const word of words)
    if (!isRetryCondition(word) && !codes.includes(Number(word))) {
      const why = word === notHonoured ? 'is not honoured' : 'is not a condition'
      notes.remarks.push(`${field.path}.retryOn: ${word} ${why}`)
    }
  const said: readonly RetryCondition[] =
    codes.length > 0 && !on.includes('retriable-status-codes') ? [...on, 'retriable-status-codes'] : on
  const backoff = msOf(parts?.backoff)
  const base = backoff === undefined ? usualRetry.backoffBaseMs : Math.max(1, backoff)
  return {
    attempts: attempts ?? 0,
    on: words.length === 0 ? usualRetry.on : said,
    statuses: codes,
    perTryTimeoutMs: msOf(parts?.perTryTimeout) ?? 0,
    backoffBaseMs: base,
    backoffMaxMs: 10 * base,
    avoidPreviousHosts: booleanOf(parts?.retryIgnorePreviousHosts) ?? true,
    otherLocalities: booleanOf(parts?.retryRemoteLocalities) ?? false,
  }
}

const grpcNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const

/** Without a percentage nobody is hit. */
export function readFault(field: Field, notes: Notes): Fault {
  const parts = partsOf(field, ['delay', 'abort'])
  return given({
    delay: isThere(parts?.delay) ? readDelay(parts.delay, notes) : undefined,
    abort: isThere(parts?.abort) ? readAbort(parts.abort, notes) : undefined,
  })
}

function readDelay(field: Field, { remarks }: Notes): Fault['delay'] {
  const parts = partsOf(field, ['fixedDelay', 'percentage', 'percent', 'exponentialDelay'])
  if (isThere(parts?.exponentialDelay)) remarks.push(`${field.path}.exponentialDelay: is not honoured`)
  if (!isThere(parts?.percentage) && !isThere(parts?.percent))
    remarks.push(`${field.path}: without percentage nothing is delayed`)
  const delayMs = msOf(parts?.fixedDelay)
  return delayMs === undefined ? undefined : { ppm: shareOf(parts?.percentage, parts?.percent), delayMs }
}

const shareOf = (percentage: Field | undefined, percent: Field | undefined): number =>
  ppmOf(percentage) ?? Math.round((fractionOf(percent, 0, 100) ?? 0) * 10_000)

function readAbort(field: Field, { remarks }: Notes): Fault['abort'] {
  const parts = partsOf(field, ['httpStatus', 'grpcStatus', 'http2Error', 'percentage', 'percent'])
  if (isThere(parts?.http2Error)) remarks.push(`${field.path}.http2Error: is not honoured`)
  if (!isThere(parts?.percentage) && !isThere(parts?.percent))
    remarks.push(`${field.path}: without percentage nothing is aborted`)
  const ppm = shareOf(parts?.percentage, parts?.percent)
  const http = numberOf(parts?.httpStatus, 200, 599)
  if (http !== undefined) return { ppm, with: { kind: 'http', status: http } }
  const grpc = parts && grpcStatus(parts.grpcStatus)
  return grpc === undefined ? undefined : { ppm, with: { kind: 'grpc', status: grpc } }
}

function grpcStatus(field: Field): number | undefined {
  if (typeof field.value === 'string' && /^\d{1,2}$/.test(field.value) && Number(field.value) <= 16)
    return Number(field.value)
  const word = wordOf(field, grpcNames)
  return word === undefined ? undefined : grpcNames.indexOf(word)
}

export function readCors(field: Field): Cors {
  const parts = partsOf(field, [
    'allowOrigins',
    'allowOrigin',
    'allowMethods',
    'allowHeaders',
    'exposeHeaders',
    'maxAge',
    'allowCredentials',
    'unmatchedPreflights',
  ])
  const maxAge = msOf(parts?.maxAge)
  const unmatched = wordOf(parts?.unmatchedPreflights, ['UNSPECIFIED', 'FORWARD', 'IGNORE'])
  const older = parts ? itemsOf(parts.allowOrigin).map((item) => textOf(item) ?? '') : []
  return {
    allowOrigins: [
      ...(parts ? itemsOf(parts.allowOrigins).flatMap((item) => corsOrigin(item) ?? []) : []),
      ...older.map((value): CorsOrigin => (value === '*' ? { kind: 'any' } : { kind: 'exact', value })),
    ],
    allowMethods: listed(parts?.allowMethods),
    allowHeaders: listed(parts?.allowHeaders),
    exposeHeaders: listed(parts?.exposeHeaders),
    ...given({ maxAgeSeconds: maxAge === undefined ? undefined : Math.floor(maxAge / 1_000) }),
    allowCredentials: booleanOf(parts?.allowCredentials) ?? false,
    unmatchedPreflights: unmatched === 'IGNORE' ? 'answer' : 'forward',
    wildcards: 'verbatim',
  }
}

function corsOrigin(field: Field): CorsOrigin | undefined {
  const match = stringMatchOf(field)
  return match?.kind === 'exact' && match.value === '*' ? { kind: 'any' } : match
}

function listed(field: Field | undefined): readonly string[] {
  return (field === undefined ? [] : itemsOf(field)).map((item) => {
    const text = textOf(item) ?? ''
    if (headerProblem('x', text) !== undefined) problem(item, 'cannot stand in a header')
    return text
  })
}
