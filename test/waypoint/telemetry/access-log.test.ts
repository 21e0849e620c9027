import t from 'tap'
import {
  type AccessLogSpec,
  defaultAccessFields,
  defaultAccessText,
  knownOperators,
  parseCel,
} from '#telemetry'
import { type AccessFacts, accessLog } from '../../../waypoint/telemetry/index.ts'
import { attributes } from '../../../waypoint/telemetry/cel-facts.ts'
import { operators } from '../../../waypoint/telemetry/operators.ts'

const headers: Record<string, string> = {
  'request.headers user-agent': 'curl "8"',
  'request.headers x-request-id': 'id-1',
  'response.headers x-envoy-upstream-service-time': '7',
  'response.trailers grpc-status': '5',
}
const facts: AccessFacts = {
  startTime: new Date('2026-01-02T03:04:05.678Z'),
  method: 'GET',
  scheme: 'http',
  path: '/a?b=c%20d&e=1',
  authority: 'web',
  protocol: 'HTTP/1.1',
  header: (of, name) => headers[`${of} ${name}`],
  responseCode: 503,
  responseFlags: 'URX,UF',
  responseCodeDetails: 'x',
  bytesReceived: 1,
  bytesSent: 2,
  requestHeaderBytes: 100,
  responseHeaderBytes: 200,
  durationMs: 30,
  requestMs: 5,
  responseMs: 20,
  responseTxMs: 10,
  tries: 3,
  downstreamLocalAddress: '10.0.0.1:80',
  downstreamRemoteAddress: '[fd00::2]:1234',
  downstreamPeer: 'spiffe://cluster.local/ns/demo/sa/client',
  downstreamSelf: 'spiffe://cluster.local/ns/demo/sa/waypoint',
  routeName: '',
}
function linesOf(spec: Partial<AccessLogSpec>, given: Partial<AccessFacts> = {}): readonly string[] {
  const lines: string[] = []
  const format = { kind: 'text', text: defaultAccessText } as const
  accessLog([{ format, omitsEmpty: false, ...spec }], (line) => lines.push(line))({ ...facts, ...given })
  return lines
}
const text = (format: string, given: Partial<AccessFacts> = {}, omitsEmpty = false) =>
  linesOf({ format: { kind: 'text', text: format }, omitsEmpty }, given)[0]
const json = (fields: Record<string, string>, omitsEmpty = false): unknown =>
  JSON.parse(linesOf({ format: { kind: 'json', fields }, omitsEmpty })[0] ?? '')

t.test('Envoy’s default line', async (t) => {
  t.strictSame(linesOf({}, { header: () => undefined }), [
    '[2026-01-02T03:04:05.678Z] "GET /a?b=c%20d&e=1 HTTP/1.1" 503 URX,UF x - "-" 1 2 30 - "-" "-" "-" "web" "-" - - 10.0.0.1:80 [fd00::2]:1234 - -',
  ])
  t.match(linesOf({})[0], / 30 7 "-" "curl \\x228\\x22" "id-1" "web" /)
})

t.test('a client’s text can end neither its quotes nor the line', async (t) => {
  const of = (agent: string) => text('"%REQ(User-Agent)%"', { header: () => agent })
  t.equal(of('a" 200 - "b\\'), '"a\\x22 200 - \\x22b\\x5c"')
  t.equal(of('\r\n[fake]'), '"\\x0d\\x0a[fake]"')
  t.equal(of('a\u0085b\u009b2Jc\u007f'), '"a\\x85b\\x9b2Jc\\x7f"')
  t.ok((of('x'.repeat(5_000))?.length ?? 0) < 1_100)
})

t.test('nor can it as JSON', async (t) => {
  const format = { kind: 'json', fields: { agent: '%REQ(User-Agent)%' } } as const
  const [line = ''] = linesOf({ format }, { header: () => 'a"\r\n\u0085b\u009b2Jc\u007f' })
  t.equal(line, '{"agent":"a\\"\\r\\n\\u0085b\\u009b2Jc\\u007f"}')
})

t.test('the same as JSON: numbers stay numbers, and nothing is null', async (t) => {
  t.strictSame(json(defaultAccessFields), {
    start_time: '2026-01-02T03:04:05.678Z',
    method: 'GET',
    path: '/a?b=c%20d&e=1',
    protocol: 'HTTP/1.1',
    response_code: 503,
    response_flags: 'URX,UF',
    response_code_details: 'x',
    connection_termination_details: null,
    upstream_transport_failure_reason: null,
    bytes_received: 1,
    bytes_sent: 2,
    duration: 30,
    upstream_service_time: '7',
    x_forwarded_for: null,
    user_agent: 'curl "8"',
    request_id: 'id-1',
    authority: 'web',
    upstream_host: null,
    upstream_cluster: null,
    upstream_local_address: null,
    downstream_local_address: '10.0.0.1:80',
    downstream_remote_address: '[fd00::2]:1234',
    requested_server_name: null,
    route_name: null,
  })
  t.strictSame(json({ a: '%RESPONSE_CODE% %ROUTE_NAME%', b: 'text' }), { a: '503 -', b: 'text' })
  t.strictSame(json({ a: '%ROUTE_NAME%', b: '%PROTOCOL%' }, true), { b: 'HTTP/1.1' })
  const nested = { kind: 'json', fields: { http: { code: '%RESPONSE_CODE%' } } } as const
  t.strictSame(JSON.parse(linesOf({ format: nested })[0] ?? ''), { http: { code: 503 } })
})

const operatorCases: readonly [string, string][] = [
  ['%REQ(X-NONE?USER-AGENT):4%', 'curl'],
  ['%REQ(:METHOD)% %REQ(:authority)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%', 'GET web /a?b=c%20d&e=1'],
  ['%REQ_WITHOUT_QUERY(:PATH)%', '/a'],
  ['%PATH% %PATH(NQ)% %PATH(NQ:PATH)%', '/a?b=c%20d&e=1 /a /a'],
  ['%QUERY_PARAM(b)% %QUERY_PARAMS%', 'c d b=c%20d&e=1'],
  ['%RESP(:STATUS)% %RESP(X-NONE)%', '503 -'],
  ['%TRAILER(grpc-status)%', '5'],
  ['%GRPC_STATUS% %GRPC_STATUS_NUMBER%', '- -'],
  ['%RESPONSE_FLAGS_LONG%', 'UpstreamRetryLimitExceeded,UpstreamConnectionFailure'],
  ['%START_TIME(%Y/%m/%dT%H:%M:%S.%3f%z)%', '2026/01/02T03:04:05.678+0000'],
  ['%START_TIME(%s.%6f)% %START_TIME(%s%3f)%', '1767323045.678000 1767323045678'],
  ['%START_TIME(%d/%b/%Y %I:%M %p %a %e %T %F %%)%', '02/Jan/2026 03:04 AM Fri  2 03:04:05 2026-01-02 %'],
  ['%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)% %COMMON_DURATION(US_RX_BEG:DS_TX_END:us)%', '5 10000'],
  ['%COMMON_DURATION(NO:DS_RX_END:ms)%', '-'],
  ['%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%', '30 5 20 10'],
  ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%', 'fd00::2 1234'],
  ['%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%', '10.0.0.1 80'],
  ['%DOWNSTREAM_PEER_URI_SAN%', 'spiffe://cluster.local/ns/demo/sa/client'],
  ['%UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES%', '3 100 200'],
  ['%TRACE_ID% %DYNAMIC_METADATA(a:b)% 100%%', '- - 100%'],
  ['%UPSTREAM_HOST%|%UPSTREAM_REMOTE_PORT%', '-|-'],
]
for (const [format, want] of operatorCases) t.test(format, async (t) => t.equal(text(format), want))

t.test('the outcome of gRPC by name and by number', async (t) => {
  const of = (grpcStatus: number, argument: string) => text(`%GRPC_STATUS${argument}%`, { grpcStatus })
  t.equal(of(5, ''), 'NotFound')
  t.equal(of(5, '(CAMEL_STRING)'), 'NotFound')
  t.equal(of(5, '(SNAKE_STRING)'), 'NOT_FOUND')
  t.equal(of(0, '(SNAKE_STRING)'), 'OK')
  t.equal(of(5, '(NUMBER)'), '5')
  t.equal(of(99, ''), '99')
})

t.test('what is absent is a dash, or nothing where that is asked for', async (t) => {
  t.equal(text('[%ROUTE_NAME%]'), '[-]')
  t.equal(text('[%ROUTE_NAME%]', {}, true), '[]')
})

t.test('only requests of which the expression is true', async (t) => {
  t.equal(linesOf({ filter: 'response.code >= 400' }).length, 1)
  t.equal(linesOf({ filter: 'response.code < 400' }).length, 0)
  t.equal(linesOf({ filter: "request.headers['x-none'] == 'a'" }).length, 0, 'it has no value')
  t.equal(linesOf({ filter: "request.headers['User-Agent'].startsWith('curl')" }).length, 1)
  t.equal(linesOf({ filter: "request.url_path == '/a' && request.query.contains('e=1')" }).length, 1)
})

t.test('whatever a format or an expression may ask for is answered', async (t) => {
  t.strictSame(Object.keys(operators).sort(), [...knownOperators].sort())
  for (const name of Object.keys(attributes)) t.match(parseCel(name), { kind: 'expression' }, name)
})
