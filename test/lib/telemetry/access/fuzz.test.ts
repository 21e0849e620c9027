import fc from 'fast-check'
import t from 'tap'
import { evaluateCel, parseCel, parseFormat, parseWaypointTelemetry } from '#telemetry'
import { accessLog } from '../../../../waypoint/telemetry/index.ts'

// What users write of formats and expressions: nothing of it throws, and what is taken can be rendered.

const runs = { numRuns: 2_000 }
const pieces = (...words: readonly string[]) =>
  fc
    .array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 6 })), { maxLength: 24 })
    .map((all) => all.join(''))

const format = pieces(
  '%',
  '%%',
  '%REQ(',
  'X-A?:PATH',
  ')',
  ':5',
  '%PROTOCOL%',
  'START_TIME(%s.%3f)',
  '%RESP(:STATUS)%',
  '(',
  'COMMON_DURATION(a:b:c)',
)
const expression = pieces(
  ' response.code ',
  ' == ',
  '404',
  ' && ',
  ' || ',
  '!',
  '(',
  ')',
  "'a'",
  'request.headers',
  "['x']",
  '.contains(',
  ' in ',
  '[1, 2]',
  ' ? ',
  ' : ',
  'has(',
  'size(',
  '.startsWith(',
  'true',
)
const facts = { attribute: () => 'a', header: () => undefined }

t.test('formats', async (t) => {
  fc.assert(
    fc.property(format, (text) => {
      const read = parseFormat(text)
      if (read.kind === 'unreadable') return read.problem !== ''
      const lines: string[] = []
      const log = accessLog([{ format: { kind: 'text', text }, omitsEmpty: false }], (line) =>
        lines.push(line),
      )
      log({
        startTime: new Date(0),
        method: 'GET',
        scheme: 'http',
        path: '/a\n"',
        authority: 'web',
        protocol: 'HTTP/2',
        header: () => 'x\u0000\r\n"y',
        responseCode: 200,
        responseFlags: '',
        responseCodeDetails: '',
        bytesReceived: 0,
        bytesSent: 0,
        requestHeaderBytes: 0,
        responseHeaderBytes: 0,
        durationMs: 0,
        tries: 1,
        downstreamLocalAddress: '10.0.0.1:80',
        downstreamRemoteAddress: '10.0.0.2:80',
        downstreamPeer: '',
        downstreamSelf: '',
        routeName: '',
      })
      return lines.length === 1
    }),
    runs,
  )
  t.pass('none throws')
})

t.test('expressions', async (t) => {
  fc.assert(
    fc.property(expression, (text) => {
      const read = parseCel(text)
      if (read.kind === 'unreadable') return read.problem !== ''
      const value = evaluateCel(read.root, facts)
      return value === undefined || ['string', 'number', 'boolean'].includes(typeof value)
    }),
    runs,
  )
  t.pass('none throws')
})

t.test('payloads', async (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const read = parseWaypointTelemetry(Buffer.from(JSON.stringify(value)))
      return read.kind === 'unreadable' || read.telemetry.version === 1
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      (bytes) => parseWaypointTelemetry(bytes).kind === 'unreadable',
    ),
    { numRuns: 200 },
  )
  t.pass('none throws')
})
