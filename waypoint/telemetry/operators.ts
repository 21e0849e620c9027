import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { type AccessFacts, addressParts, pathOnly, queryOf, requestField } from './access-facts.ts'
import { flagNames } from './flag-names.ts'
import { formatTime } from './format-time.ts'

/** What an operator is replaced by; numbers stay numbers in JSON. */
type OperatorValue = string | number | undefined
/** Of one request. */
export type Evaluate = (facts: AccessFacts) => OperatorValue
/** The argument is looked at once, not per request. */
type Operator = (argument: string) => Evaluate

/** Of what a waypoint has nothing to tell. */
export const never: Evaluate = () => undefined

/** `A?B`: the second where the first is not there. */
function firstOf(of: (name: string) => Evaluate | undefined): Operator {
  return (argument) => {
    const [first = never, ...others] = argument
      .toLowerCase()
      .split('?')
      .flatMap((name) => of(name) ?? [])
    if (others.length === 0) return first
    const all = [first, ...others]
    return (facts) => {
      for (const one of all) {
        const value = one(facts)
        if (value !== undefined && value !== '') return value
      }
      return undefined
    }
  }
}

const requestHeader = firstOf(requestField)
const responseHeader = firstOf((name) =>
  name === ':status' ? ({ responseCode }) => responseCode : (facts) => facts.header('response.headers', name),
)
const trailer = firstOf((name) => (facts) => facts.header('response.trailers', name))
const withoutQuery = firstOf((name) => {
  const read = requestField(name)
  return (
    read &&
    ((facts) => {
      const value = read(facts)
      return value === undefined ? undefined : pathOnly(value)
    })
  )
})

const grpcNames =
  'OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated'.split(
    ' ',
  )
const grpcStatus: Operator =
  (argument) =>
  ({ grpcStatus: status }) => {
    if (status === undefined || argument === 'NUMBER') return status
    const name = grpcNames[status] ?? `${status}`
    if (argument !== 'SNAKE_STRING' || name === 'OK') return name
    return name.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase()
  }

const time: Operator =
  (format) =>
  ({ startTime }) =>
    formatTime(startTime, format)
const emitTime: Operator = (format) => () => formatTime(new Date(), format)

/** `UNITS` of a thousandth of a second. */
const perMs: Readonly<Record<string, number>> = { ms: 1, us: 1_000, ns: 1_000_000 }
/** Moments of a request, in milliseconds from its first byte. */
const moments = (facts: AccessFacts): Readonly<Record<string, number | undefined>> => ({
  DS_RX_BEG: 0,
  DS_RX_END: facts.requestMs,
  US_TX_BEG: undefined,
  US_RX_BEG: facts.responseMs,
  DS_TX_BEG: facts.responseMs,
  DS_TX_END: facts.durationMs,
})
const commonDuration: Operator = (argument) => {
  const [from = '', to = '', unit = 'ms'] = argument.split(':')
  return (facts) => {
    const known = moments(facts)
    const [start, end] = [known[from], known[to]]
    return start === undefined || end === undefined ? undefined : (end - start) * (perMs[unit] ?? 1)
  }
}

const addressOf = (text: string | undefined) => (text === undefined ? undefined : addressParts(text).address)
const portOf = (text: string | undefined) => (text === undefined ? undefined : addressParts(text).port)
const remote = ({ downstreamRemoteAddress }: AccessFacts) => downstreamRemoteAddress
const local = ({ downstreamLocalAddress }: AccessFacts) => downstreamLocalAddress
const upstream = ({ upstreamHost }: AccessFacts) => upstreamHost

/** By the name of each operator that `lib/telemetry` lets through; the others are absent. */
export const operators: Readonly<Record<string, Operator>> = {
  REQ: requestHeader,
  REQUEST_HEADER: requestHeader,
  RESP: responseHeader,
  RESPONSE_HEADER: responseHeader,
  TRAILER: trailer,
  RESPONSE_TRAILER: trailer,
  REQ_WITHOUT_QUERY: withoutQuery,
  PATH: (argument) => (argument.startsWith('NQ') ? ({ path }) => pathOnly(path) : ({ path }) => path),
  QUERY_PARAMS:
    () =>
    ({ path }) =>
      queryOf(path),
  QUERY_PARAM:
    (name) =>
    ({ path }) =>
      new URLSearchParams(queryOf(path)).get(name) ?? undefined,
  START_TIME: time,
  START_TIME_LOCAL: time,
  EMIT_TIME: emitTime,
  EMIT_TIME_LOCAL: emitTime,
  DURATION:
    () =>
    ({ durationMs }) =>
      durationMs,
  COMMON_DURATION: commonDuration,
  REQUEST_DURATION:
    () =>
    ({ requestMs }) =>
      requestMs,
  RESPONSE_DURATION:
    () =>
    ({ responseMs }) =>
      responseMs,
  RESPONSE_TX_DURATION:
    () =>
    ({ responseTxMs }) =>
      responseTxMs,
  PROTOCOL:
    () =>
    ({ protocol }) =>
      protocol,
  UPSTREAM_PROTOCOL:
    () =>
    ({ upstreamProtocol }) =>
      upstreamProtocol,
  RESPONSE_CODE:
    () =>
    ({ responseCode }) =>
      responseCode,
  RESPONSE_CODE_DETAILS:
    () =>
    ({ responseCodeDetails }) =>
      responseCodeDetails,
  RESPONSE_FLAGS:
    () =>
    ({ responseFlags }) =>
      responseFlags,
  RESPONSE_FLAGS_LONG:
    () =>
    ({ responseFlags }) =>
      responseFlags
        .split(',')
        .map((flag) => flagNames[flag] ?? flag)
        .join(','),
  GRPC_STATUS: grpcStatus,
  GRPC_STATUS_NUMBER:
    () =>
    ({ grpcStatus: status }) =>
      status,
  UPSTREAM_REQUEST_ATTEMPT_COUNT:
    () =>
    ({ tries }) =>
      tries,
  ROUTE_NAME:
    () =>
    ({ routeName }) =>
      routeName,
  STREAM_ID: () => (facts) => facts.header('request.headers', 'x-request-id'),
  UNIQUE_ID: () => () => randomUUID(),
  ACCESS_LOG_TYPE: () => () => 'DownstreamEnd',
  BYTES_RECEIVED:
    () =>
    ({ bytesReceived }) =>
      bytesReceived,
  BYTES_SENT:
    () =>
    ({ bytesSent }) =>
      bytesSent,
  REQUEST_HEADERS_BYTES:
    () =>
    ({ requestHeaderBytes }) =>
      requestHeaderBytes,
  RESPONSE_HEADERS_BYTES:
    () =>
    ({ responseHeaderBytes }) =>
      responseHeaderBytes,
  UPSTREAM_HOST: () => upstream,
  UPSTREAM_HOST_NAME:
    () =>
    ({ upstreamName }) =>
      upstreamName,
  UPSTREAM_HOST_NAME_WITHOUT_PORT:
    () =>
    ({ upstreamName }) =>
      upstreamName,
  UPSTREAM_CLUSTER:
    () =>
    ({ upstreamCluster }) =>
      upstreamCluster,
  UPSTREAM_CLUSTER_RAW:
    () =>
    ({ upstreamCluster }) =>
      upstreamCluster,
  UPSTREAM_REMOTE_ADDRESS: () => upstream,
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: () => (facts) => addressOf(upstream(facts)),
  UPSTREAM_REMOTE_PORT: () => (facts) => portOf(upstream(facts)),
  UPSTREAM_TRANSPORT_FAILURE_REASON:
    () =>
    ({ upstreamTransportFailureReason: reason }) =>
      reason,
  UPSTREAM_PEER_URI_SAN:
    () =>
    ({ upstreamPeer }) =>
      upstreamPeer,
  /** Of a connection that is closed for what it is, which a waypoint tells in its own log. */
  CONNECTION_TERMINATION_DETAILS: () => never,
  DOWNSTREAM_LOCAL_ADDRESS: () => local,
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: () => (facts) => addressOf(local(facts)),
  DOWNSTREAM_LOCAL_PORT: () => (facts) => portOf(local(facts)),
  DOWNSTREAM_REMOTE_ADDRESS: () => remote,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: () => (facts) => addressOf(remote(facts)),
  DOWNSTREAM_REMOTE_PORT: () => (facts) => portOf(remote(facts)),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: () => remote,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: () => (facts) => addressOf(remote(facts)),
  DOWNSTREAM_DIRECT_REMOTE_PORT: () => (facts) => portOf(remote(facts)),
  DOWNSTREAM_PEER_URI_SAN:
    () =>
    ({ downstreamPeer }) =>
      downstreamPeer,
  DOWNSTREAM_LOCAL_URI_SAN:
    () =>
    ({ downstreamSelf }) =>
      downstreamSelf,
  DOWNSTREAM_TLS_VERSION: () => () => 'TLSv1.3',
  HOSTNAME: () => () => hostname(),
  ENVIRONMENT: (name) => () => process.env[name],
}

/**
 * What these say is made here, of addresses, times and words of our own: no client, no upstream and no configuration can
 * put a character into it that would have to be escaped.
 */
const ours: ReadonlySet<string> = new Set(
  [
    'START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL PROTOCOL UPSTREAM_PROTOCOL',
    'RESPONSE_FLAGS RESPONSE_FLAGS_LONG GRPC_STATUS UNIQUE_ID ACCESS_LOG_TYPE DOWNSTREAM_TLS_VERSION',
    'UPSTREAM_HOST UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT',
    'DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT',
    'DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT',
    'DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT',
  ]
    .join(' ')
    .split(' '),
)

/** An argument is text of a configuration (times repeat what they do not know). */
export const isOurs = ({ name, argument }: Readonly<{ name: string; argument: string }>): boolean =>
  argument === '' && ours.has(name)
