/** A command operator of Envoy's, as a format has it. */
export type Operator = Readonly<{
  name: string
  argument: string
  /** Of what is printed; undefined: all of it. */
  maxLength: number | undefined
}>

/** Text as it stands, or something to be filled in. */
export type FormatPart = string | Operator

/** A line's format; `remarks` tell of what in it never has a value. */
export type ParsedFormat =
  | Readonly<{ kind: 'format'; parts: readonly FormatPart[]; remarks: readonly string[] }>
  | Readonly<{ kind: 'unreadable'; problem: string }>

/** Of one format; every request costs as much as that says. */
const maxFormatLength = 8_192
const maxOperators = 128

/** What stands in an operator's brackets: nothing, something, or either. */
type Argument = 'none' | 'needed' | 'optional'

const operators = new Map<string, Argument>([
  ...list('needed', 'REQ RESP TRAILER REQUEST_HEADER RESPONSE_HEADER RESPONSE_TRAILER REQ_WITHOUT_QUERY'),
  ...list('needed', 'QUERY_PARAM COMMON_DURATION ENVIRONMENT'),
  ...list('optional', 'START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL GRPC_STATUS PATH QUERY_PARAMS'),
  ...list('none', 'DURATION REQUEST_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION'),
  ...list('none', 'PROTOCOL UPSTREAM_PROTOCOL RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS'),
  ...list('none', 'RESPONSE_FLAGS_LONG GRPC_STATUS_NUMBER UPSTREAM_REQUEST_ATTEMPT_COUNT ROUTE_NAME'),
  ...list('none', 'STREAM_ID UNIQUE_ID ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_SENT'),
  ...list('none', 'REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES'),
  ...list('none', 'UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT'),
  ...list('none', 'UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW'),
  ...list('none', 'UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT'),
  ...list('none', 'DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT'),
  ...list('none', 'DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT'),
  ...list('none', 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT'),
  ...list('none', 'DOWNSTREAM_DIRECT_REMOTE_PORT'),
  ...list('none', 'UPSTREAM_TRANSPORT_FAILURE_REASON CONNECTION_TERMINATION_DETAILS'),
  ...list(
    'none',
    'DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_TLS_VERSION UPSTREAM_PEER_URI_SAN',
  ),
  ...list('none', 'HOSTNAME'),
])

/** Envoy knows them, and a waypoint has nothing to fill them with: they print as what is absent. */
const alwaysAbsent = new Set(
  [
    'REQUESTED_SERVER_NAME UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT',
    'CONNECTION_ID UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED',
    'VIRTUAL_CLUSTER_NAME TRACE_ID SPAN_ID CUSTOM_FLAGS DYNAMIC_METADATA CLUSTER_METADATA UPSTREAM_METADATA',
    'METADATA FILTER_STATE UPSTREAM_FILTER_STATE FILTER_CHAIN_NAME REQUEST_TX_DURATION ROUNDTRIP_DURATION',
    'DOWNSTREAM_HANDSHAKE_DURATION UPSTREAM_CONNECTION_POOL_READY_DURATION DOWNSTREAM_TRANSPORT_FAILURE_REASON',
    'DOWNSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_DETECTED_CLOSE_TYPE LOCAL_CLOSE_REASON',
    ...['UPSTREAM', 'DOWNSTREAM'].map((side) =>
      [
        'WIRE_BYTES_SENT WIRE_BYTES_RECEIVED HEADER_BYTES_SENT HEADER_BYTES_RECEIVED',
        'DECOMPRESSED_HEADER_BYTES_SENT DECOMPRESSED_HEADER_BYTES_RECEIVED PEER_DNS_SAN LOCAL_DNS_SAN PEER_IP_SAN',
        'PEER_SUBJECT LOCAL_SUBJECT PEER_ISSUER TLS_CIPHER TLS_SESSION_ID PEER_FINGERPRINT_256 PEER_FINGERPRINT_1',
        'PEER_SERIAL PEER_CERT PEER_CERT_V_START PEER_CERT_V_END LOCAL_URI_SAN TLS_VERSION',
      ]
        .join(' ')
        .split(' ')
        .map((name) => `${side}_${name}`)
        .join(' '),
    ),
  ]
    .join(' ')
    .split(' ')
    .filter((name) => !operators.has(name)),
)

function list(argument: Argument, names: string): [string, Argument][] {
  return names.split(' ').map((name) => [name, argument])
}

/** The operators that a waypoint fills in. */
export const knownOperators: ReadonlySet<string> = new Set(operators.keys())

const pattern = /^([A-Z][A-Z0-9_]*)(?:\(([^)]*)\))?(?::(\d{1,5}))?$/

/** Takes a format apart. `%%` is a percent sign; what is no operator is no format (Envoy refuses it, too). */
export function parseFormat(text: string): ParsedFormat {
  const no = (problem: string): ParsedFormat => ({ kind: 'unreadable', problem })
  if (text.length > maxFormatLength) return no(`longer than ${maxFormatLength} characters`)
  const parts: FormatPart[] = []
  const remarks = new Set<string>()
  let literal = ''
  for (let at = 0; at < text.length; ) {
    const start = text.indexOf('%', at)
    if (start < 0) {
      literal += text.slice(at)
      break
    }
    literal += text.slice(at, start)
    const end = endOf(text, start + 1)
    if (end < 0) return no(`${shown(text.slice(start))}: no % at its end`)
    const inner = text.slice(start + 1, end)
    at = end + 1
    if (inner === '') {
      literal += '%'
      continue
    }
    const read = operatorOf(inner)
    if ('problem' in read) return no(read.problem)
    if (alwaysAbsent.has(read.name)) remarks.add(`%${read.name}% never has a value in a waypoint`)
    if (literal !== '') parts.push(literal)
    literal = ''
    parts.push(read)
  }
  if (literal !== '') parts.push(literal)
  if (parts.filter((part) => typeof part !== 'string').length > maxOperators)
    return no(`more than ${maxOperators} operators`)
  return { kind: 'format', parts, remarks: [...remarks] }
}

/** Of an operator that starts here; its argument may hold percent signs (times do). */
function endOf(text: string, start: number): number {
  const name = /^[A-Z0-9_]*\(/.exec(text.slice(start, start + 64))
  const close = name ? text.indexOf(')', start) : start
  return close < 0 ? -1 : text.indexOf('%', close)
}

function operatorOf(inner: string): Operator | Readonly<{ problem: string }> {
  const [, name = '', argument, length] = pattern.exec(inner) ?? []
  const wants = operators.get(name)
  if (wants === undefined && !alwaysAbsent.has(name))
    return { problem: `%${shown(inner)}% is no operator that a waypoint knows` }
  if (wants === 'needed' && !argument) return { problem: `%${name}% needs an argument` }
  if (wants === 'none' && argument !== undefined) return { problem: `%${name}% takes no argument` }
  return { name, argument: argument ?? '', maxLength: length === undefined ? undefined : Number(length) }
}

const shown = (text: string) => (text.length > 64 ? `${text.slice(0, 63)}…` : text)
