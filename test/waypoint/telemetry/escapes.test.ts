import t from 'tap'
import { knownOperators } from '#telemetry'
import { type AccessFacts, accessLog } from '../../../waypoint/telemetry/index.ts'

/** What ends quotes or a line, or steers a terminal. */
const unsafe = '"\\\r\n\u0000\u001b[2J\u007f\u0085\u009b'
const escaped = '\\x22\\x5c\\x0d\\x0a\\x00\\x1b[2J\\x7f\\x85\\x9b'
const text = `a${unsafe}`

/** As bad as can be: a client, an upstream and a configuration have chosen all that they can. */
const facts: AccessFacts = {
  startTime: new Date('2026-01-02T03:04:05.006Z'),
  method: text,
  scheme: text,
  path: `/${text}?q=${text}`,
  authority: text,
  header: () => text,
  responseCodeDetails: text,
  upstreamTransportFailureReason: text,
  upstreamName: text,
  upstreamCluster: text,
  upstreamPeer: text,
  downstreamPeer: text,
  downstreamSelf: text,
  routeName: text,
  // Of types that hold nothing else.
  protocol: 'HTTP/2',
  upstreamProtocol: 'HTTP/1.1',
  responseFlags: 'UF,URX',
  upstreamHost: '10.0.0.3:80',
  downstreamLocalAddress: '10.0.0.1:80',
  downstreamRemoteAddress: '[fd00::2]:1234',
  grpcStatus: 5,
  responseCode: 503,
  bytesReceived: 1,
  bytesSent: 2,
  requestHeaderBytes: 3,
  responseHeaderBytes: 4,
  durationMs: 5,
  requestMs: 1,
  responseMs: 2,
  responseTxMs: 3,
  tries: 1,
}

function logOf(format: string): (given?: Partial<AccessFacts>) => string {
  const lines: string[] = []
  const log = accessLog([{ format: { kind: 'text', text: format }, omitsEmpty: false }], (line) =>
    lines.push(line),
  )
  return (given = {}) => {
    log({ ...facts, ...given })
    return lines.at(-1) ?? ''
  }
}

/** Operators that a stranger's text can be in, each with what it is asked for. */
const theirs: readonly (readonly [name: string, argument: string])[] = [
  ...[':method', ':path', ':authority', 'host', ':scheme', 'x-request-id', 'x-none?user-agent'].map(
    (name) => ['REQ', name] as const,
  ),
  ['REQUEST_HEADER', 'x-a'],
  ['RESP', 'x-a'],
  ['RESPONSE_HEADER', 'x-a'],
  ['TRAILER', 'grpc-status'],
  ['RESPONSE_TRAILER', 'grpc-status'],
  ['REQ_WITHOUT_QUERY', ':path'],
  ['PATH', ''],
  ['PATH', 'NQ'],
  ['QUERY_PARAM', 'q'],
  ['QUERY_PARAMS', ''],
  ['STREAM_ID', ''],
  ['RESPONSE_CODE_DETAILS', ''],
  ['UPSTREAM_TRANSPORT_FAILURE_REASON', ''],
  ['UPSTREAM_HOST_NAME', ''],
  ['UPSTREAM_HOST_NAME_WITHOUT_PORT', ''],
  ['UPSTREAM_CLUSTER', ''],
  ['UPSTREAM_CLUSTER_RAW', ''],
  ['UPSTREAM_PEER_URI_SAN', ''],
  ['DOWNSTREAM_PEER_URI_SAN', ''],
  ['DOWNSTREAM_LOCAL_URI_SAN', ''],
  ['ROUTE_NAME', ''],
  ['ENVIRONMENT', 'ESCAPES_TEST'],
  ['START_TIME', `%Y${unsafe}`],
  ['START_TIME_LOCAL', `%Y${unsafe}`],
  ['EMIT_TIME', `%Y${unsafe}`],
  ['EMIT_TIME_LOCAL', `%Y${unsafe}`],
]
// An environment cannot hold NUL.
process.env['ESCAPES_TEST'] = text.replace('\u0000', '')

for (const [name, argument] of theirs) {
  t.test(`%${name}(${argument.replace(unsafe, '…')})% cannot end its quotes or the line`, async (t) => {
    const line = logOf(`"%${name}${argument === '' ? '' : `(${argument})`}%"`)
    const want = name === 'ENVIRONMENT' ? escaped.replace('\\x00', '') : escaped
    t.ok(line().includes(want), line())
    // oxlint-disable-next-line no-control-regex
    t.notMatch(line().slice(1, -1), /["\u0000-\u001f\u007f-\u009f]/, 'the same again')
  })
}

/** Operators whose values are of numbers, addresses, times and words of our own. */
const ours: readonly (readonly [format: string, want: string | RegExp])[] = [
  ['START_TIME', '2026-01-02T03:04:05.006Z'],
  ['START_TIME_LOCAL', '2026-01-02T03:04:05.006Z'],
  ['EMIT_TIME', /^[\d-]{10}T[\d:]{8}\.\d{3}Z$/],
  ['EMIT_TIME_LOCAL', /^[\d-]{10}T[\d:]{8}\.\d{3}Z$/],
  ['PROTOCOL', 'HTTP/2'],
  ['UPSTREAM_PROTOCOL', 'HTTP/1.1'],
  ['RESPONSE_CODE', '503'],
  ['RESPONSE_FLAGS', 'UF,URX'],
  ['RESPONSE_FLAGS_LONG', 'UpstreamConnectionFailure,UpstreamRetryLimitExceeded'],
  ['GRPC_STATUS', 'NotFound'],
  ['GRPC_STATUS_NUMBER', '5'],
  ['UPSTREAM_REQUEST_ATTEMPT_COUNT', '1'],
  ['UNIQUE_ID', /^[\da-f-]{36}$/],
  ['ACCESS_LOG_TYPE', 'DownstreamEnd'],
  ['BYTES_RECEIVED', '1'],
  ['BYTES_SENT', '2'],
  ['REQUEST_HEADERS_BYTES', '3'],
  ['RESPONSE_HEADERS_BYTES', '4'],
  ['DURATION', '5'],
  ['REQUEST_DURATION', '1'],
  ['RESPONSE_DURATION', '2'],
  ['RESPONSE_TX_DURATION', '3'],
  ['COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)', '5000'],
  ['UPSTREAM_HOST', '10.0.0.3:80'],
  ['UPSTREAM_REMOTE_ADDRESS', '10.0.0.3:80'],
  ['UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT', '10.0.0.3'],
  ['UPSTREAM_REMOTE_PORT', '80'],
  ['DOWNSTREAM_LOCAL_ADDRESS', '10.0.0.1:80'],
  ['DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT', '10.0.0.1'],
  ['DOWNSTREAM_LOCAL_PORT', '80'],
  ['DOWNSTREAM_REMOTE_ADDRESS', '[fd00::2]:1234'],
  ['DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT', 'fd00::2'],
  ['DOWNSTREAM_REMOTE_PORT', '1234'],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS', '[fd00::2]:1234'],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT', 'fd00::2'],
  ['DOWNSTREAM_DIRECT_REMOTE_PORT', '1234'],
  ['DOWNSTREAM_TLS_VERSION', 'TLSv1.3'],
  ['CONNECTION_TERMINATION_DETAILS', '-'],
  ['HOSTNAME', /^[\w.-]+$/],
]
t.test('what is ours is told as it is, whatever the others say', async (t) => {
  for (const [format, want] of ours) {
    const line = logOf(`%${format}%`)()
    if (typeof want === 'string') t.equal(line, want, format)
    else t.match(line, want, format)
  }
})

t.test('every operator is in one of the two tables', async (t) => {
  const ofOurs = ours.map(([format]) => format.replace(/\(.*/, ''))
  const both = new Set([...theirs.map(([name]) => name), ...ofOurs])
  t.strictSame([...both].sort(), [...knownOperators].sort())
})

t.test('a text is told anew when it is another, and again when it is the first again', async (t) => {
  const line = logOf('"%REQ(x-a)%" %PATH%')
  const of = (value: string) => line({ header: () => value, path: value })
  for (const [value, want] of [
    ['a', '"a" a'],
    ['a"', '"a\\x22" a\\x22'],
    ['a"', '"a\\x22" a\\x22'],
    ['a', '"a" a'],
    ['', '"-" -'],
    ['b', '"b" b'],
  ] as const)
    t.equal(of(value), want)
})

t.test('what is shown is right of however many operators and logs', async (t) => {
  const logs = Array.from({ length: 300 }, (_, n) => logOf(`%REQ(x-${n})% %PATH%`))
  for (const value of ['a', 'a"', 'b'])
    for (const line of logs) {
      const want = value.replace('"', '\\x22')
      if (line({ header: () => value, path: value }) !== `${want} ${want}`) t.fail(line())
    }
  const [one, other] = [logOf('%REQ(x-a)%'), logOf('%REQ(x-a):2%')]
  const long = { header: () => 'ab"' }
  t.strictSame([one?.(long), other?.(long), one?.(long)], ['ab\\x22', 'ab', 'ab\\x22'])
})

t.test('a time is told to the millisecond, in whatever order requests end', async (t) => {
  const line = logOf('%START_TIME%')
  for (const iso of [
    '2026-01-02T03:04:05.999Z',
    '2026-01-02T03:04:06.000Z',
    '2026-01-02T03:04:05.009Z',
    '2026-01-02T03:04:06.070Z',
    '1969-12-31T23:59:59.001Z',
    '+012026-01-02T03:04:06.123Z',
  ])
    t.equal(line({ startTime: new Date(iso) }), iso)
})
