import t from 'tap'
import { type AccessFacts, accessLog } from '../../../waypoint/telemetry/index.ts'

const facts: AccessFacts = {
  startTime: new Date('2026-01-02T03:04:05.678Z'),
  method: 'GET',
  path: '/a',
  protocol: 'HTTP/1.1',
  responseCode: 503,
  responseFlags: 'URX,UF',
  responseCodeDetails: 'x',
  bytesReceived: 1,
  bytesSent: 2,
  durationMs: 3,
  authority: 'web',
  downstreamLocalAddress: '10.0.0.1:80',
  downstreamRemoteAddress: '10.0.0.2:1234',
  routeName: '',
}
const lineOf = (format: 'text' | 'json' | 'off', given: Partial<AccessFacts> = {}) => {
  const lines: string[] = []
  accessLog(format, (line) => lines.push(line))({ ...facts, ...given })
  return lines[0]
}

t.test('Envoy’s default line', async (t) => {
  t.equal(
    lineOf('text'),
    '[2026-01-02T03:04:05.678Z] "GET /a HTTP/1.1" 503 URX,UF x - "-" 1 2 3 - "-" "-" "-" "web" "-" - - 10.0.0.1:80 10.0.0.2:1234 - -',
  )
  t.equal(lineOf('off'), undefined)
})

t.test('a client’s text can end neither its quotes nor the line', async (t) => {
  const line =
    lineOf('text', { userAgent: 'a" 200 - "b\\', path: '/\r\n[fake]', authority: 'x'.repeat(5_000) }) ?? ''
  t.ok(line.includes('"a\\x22 200 - \\x22b\\x5c"'))
  t.ok(line.includes('/\\x0d\\x0a[fake]'))
  t.ok(line.length < 2_000)
  const control = lineOf('text', { userAgent: 'a\u0085b\u009b2Jc', requestId: '\u007f' }) ?? ''
  t.ok(control.includes('"a\\x85b\\x9b2Jc" "\\x7f"'), control)
})

t.test('the same as JSON', async (t) => {
  t.match(JSON.parse(lineOf('json', { userAgent: 'a"b' }) ?? ''), {
    response_code: 503,
    duration: 3,
    response_flags: 'URX,UF',
    user_agent: 'a"b',
    upstream_host: '-',
    route_name: '-',
  })
})
