import { isRecord } from '#base'
import {
  type At,
  atMostOne,
  bool,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  map,
  needsOne,
  oneOf,
  present,
  recordAt,
  refuse,
  required,
  shown,
  text,
  unheeded,
  warn,
  whole,
} from './check.ts'
import { destination, headerOperations, percentage } from './destination.ts'
import {
  duration,
  durationMs,
  gatewayName,
  isHeaderName,
  label,
  labels,
  port,
  regex,
  stringMatch,
  weightsOf,
} from './formats.ts'

const headerKey = (name: string, at: At): void => {
  if (name.startsWith('@request.auth.claims')) return
  if (name.startsWith(':') || !isHeaderName(name)) refuse(at, 'is not the name of a header')
}

/** An empty match means: the header is there. */
const headerMatch: Check = (value, at) => {
  if (isRecord(value) && Object.keys(value).length === 0) return
  stringMatch(value, at)
}

const uriMatch: Check = (value, at) => {
  stringMatch(value, at)
  const { exact, prefix } = isRecord(value) ? value : {}
  for (const [name, path] of [
    ['exact', exact],
    ['prefix', prefix],
  ] as const)
    if (typeof path === 'string' && path !== '' && !path.startsWith('/') && path !== '*')
      warn(into(at, name), `${shown(path)} does not start with /; no path is like that`)
}

const match = fields({
  name: text,
  uri: uriMatch,
  scheme: stringMatch,
  method: stringMatch,
  authority: stringMatch,
  headers: map(headerMatch, headerKey),
  withoutHeaders: map(headerMatch, headerKey),
  queryParams: map(headerMatch),
  port,
  sourceLabels: labels,
  gateways: list(gatewayName),
  ignoreUriCase: bool,
  sourceNamespace: label,
  statPrefix: unheeded(text, 'is not honoured'),
})

const redirectCodes = [301, 302, 303, 307, 308]
const redirect = fields(
  {
    uri: text,
    authority: text,
    scheme: oneOf('http', 'https'),
    port,
    derivePort: oneOf('FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'),
    redirectCode: whole(300, 399),
    prefixRewrite: text,
  },
  (value, at) => {
    needsOne(value, at, ['uri', 'authority', 'scheme', 'port', 'derivePort', 'prefixRewrite'])
    atMostOne(value, at, ['uri', 'prefixRewrite'])
    atMostOne(value, at, ['port', 'derivePort'])
    const { redirectCode } = value
    if (
      typeof redirectCode === 'number' &&
      redirectCode >= 300 &&
      redirectCode < 400 &&
      !redirectCodes.includes(redirectCode)
    )
      refuse(into(at, 'redirectCode'), `${redirectCode} is none of ${redirectCodes.join(', ')}`)
  },
)

const maxBodyChars = 1 << 20
const largeBodyChars = 100 << 10
const body: Check = (value, at) => {
  if (typeof value !== 'string') return refuse(at, `${shown(value)} is not a text`)
  if (value.length > maxBodyChars) refuse(at, `${value.length} bytes are too many; at most 1 MiB`)
  else if (value.length > largeBodyChars)
    warn(at, `${value.length} bytes go to every proxy; keep it below 100 KiB`)
}
const directResponse = fields(
  {
    status: whole(200, 599),
    body: fields({ string: body, bytes: body }, (value, at) => atMostOne(value, at, ['string', 'bytes'])),
  },
  (value, at) => required(value, at, 'status'),
)

const rewrite = fields(
  {
    uri: text,
    authority: text,
    uriRegexRewrite: fields({ match: regex, rewrite: text }, (value, at) => required(value, at, 'match')),
  },
  (value, at) => {
    needsOne(value, at, ['uri', 'authority', 'uriRegexRewrite'])
    atMostOne(value, at, ['uri', 'uriRegexRewrite'])
  },
)

/** What Envoy retries on; numbers are codes. */
const retryWords: readonly string[] = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]
const retryOn: Check = (value, at) => {
  if (typeof value !== 'string') return refuse(at, `${shown(value)} is not a text`)
  for (const word of value.split(',').map((one) => one.trim()))
    if (word !== '' && !retryWords.includes(word) && !/^[1-5]\d\d$/.test(word))
      refuse(
        at,
        `${shown(word)} is no reason to retry; one of ${retryWords.slice(0, 6).join(', ')} … or a status code`,
      )
}
const retries = fields(
  {
    attempts: whole(0, 1_000),
    perTryTimeout: duration({ zero: true }),
    retryOn,
    retryRemoteLocalities: bool,
    retryIgnorePreviousHosts: bool,
    backoff: duration(),
  },
  (value, at) => {
    const more = present(value, ['perTryTimeout', 'retryOn', 'retryRemoteLocalities', 'backoff'])
    if ((value['attempts'] ?? 0) === 0 && more.length > 0)
      refuse(at, `${more.join(' and ')} mean nothing where attempts is 0, which switches retries off`)
  },
)

const grpcStatuses = (
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED ' +
  'FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED'
).split(' ')
const notInIstio = (value: unknown, at: At): void => {
  if (isThere(value)) refuse(at, 'is not done by Istio either; leave it out')
}
const fault = fields(
  {
    delay: fields(
      { fixedDelay: duration(), exponentialDelay: notInIstio, percentage, percent: whole(0, 100) },
      (value, at) => needsOne(value, at, ['fixedDelay', 'exponentialDelay']),
    ),
    abort: fields(
      { httpStatus: whole(200, 599), grpcStatus: oneOf(...grpcStatuses), http2Error: notInIstio, percentage },
      (value, at) => {
        needsOne(value, at, ['httpStatus', 'grpcStatus', 'http2Error'])
        atMostOne(value, at, ['httpStatus', 'grpcStatus'])
        if (!isThere(value['percentage'])) warn(at, 'without percentage nothing is aborted')
      },
    ),
  },
  (value, at) => needsOne(value, at, ['delay', 'abort']),
)

const methods = 'GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE *'.split(' ')
const corsPolicy = fields({
  allowOrigin: unheeded(list(text), 'deprecated; use allowOrigins'),
  allowOrigins: list(stringMatch),
  allowMethods: list(oneOf(...methods)),
  allowHeaders: list(filled),
  exposeHeaders: list(filled),
  maxAge: (value, at) => {
    duration({ zero: true })(value, at)
    if ((durationMs(value) ?? 0) % 1_000 !== 0) refuse(at, `${shown(value)} is sent in whole seconds`)
  },
  allowCredentials: bool,
  unmatchedPreflights: oneOf('UNSPECIFIED', 'FORWARD', 'IGNORE'),
})

const httpDestination = fields(
  { destination, weight: whole(0, 2 ** 31 - 1), headers: headerOperations },
  (value, at) => required(value, at, 'destination'),
)

const httpRoute = fields(
  {
    name: text,
    match: list(match),
    route: list(httpDestination),
    redirect,
    directResponse,
    delegate: fields({ name: filled, namespace: label }, (value, at) => required(value, at, 'name')),
    rewrite,
    timeout: duration({ zero: true }),
    retries,
    fault,
    mirror: destination,
    mirrors: list(fields({ destination, percentage }, (value, at) => required(value, at, 'destination'))),
    mirrorPercent: unheeded(whole(0, 100), 'deprecated; use mirrorPercentage'),
    mirrorPercentage: percentage,
    corsPolicy,
    headers: headerOperations,
  },
  exclusions,
)

function exclusions(value: Fields, at: At): void {
  const actions = present(value, ['redirect', 'directResponse', 'delegate'])
  const hasRoute = listAt(value, 'route').length > 0
  const all = [...(hasRoute ? ['route'] : []), ...actions]
  if (all.length === 0) refuse(at, 'needs one of route, redirect, directResponse, delegate')
  if (all.length > 1) refuse(at, `${all.join(' and ')} exclude each other; keep one`)
  for (const [action, others] of [
    ['redirect', ['fault', 'rewrite']],
    ['directResponse', ['fault', 'rewrite']],
  ] as const)
    if (isThere(value[action]))
      for (const other of present(value, others)) refuse(into(at, other), `means nothing beside ${action}`)
  atMostOne(value, at, ['mirror', 'mirrors'])
  if (!hasRoute)
    for (const name of present(value, ['retries', 'timeout', 'mirror', 'mirrors']))
      if (actions[0] !== 'delegate') warn(into(at, name), `has no effect beside ${actions[0] ?? 'nothing'}`)
  weightsOf(value, 'route', at)
}

/** Routes after one that matches everything are never reached. */
export const httpRoutes: Check = (value, at) => {
  list(httpRoute)(value, at)
  if (!Array.isArray(value)) return
  const last = value.findIndex((one) => isRecord(one) && matchesAll(one))
  if (last >= 0 && last < value.length - 1)
    warn(into(at, last), 'matches everything; what comes after it is never reached')
}

function matchesAll(route: Fields): boolean {
  const matches = listAt(route, 'match')
  return matches.length === 0 || matches.some((one) => isRecord(one) && (isEmpty(one) || isEverything(one)))
}
const isEmpty = (one: Fields) => present(one, Object.keys(one)).every((name) => name === 'name')
const isEverything = (one: Fields) =>
  present(one, Object.keys(one)).every((name) => name === 'name' || name === 'uri') &&
  recordAt(one, 'uri')['prefix'] === '/'
