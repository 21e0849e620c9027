import t from 'tap'
import type { ByteStream, BytesUser, Field } from '#hbone'
import { type Exchange, HeaderList, serveHttp } from '#http'
import { errorCode } from '../../../lib/hbone/frames.ts'
import { until } from '../../fakes/until.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { data, type Frame, frame, headers, hello, parseFrames, type } from '../hbone/frames.ts'

/** A connection in memory: what was written is looked at as frames. */
class Memory implements ByteStream {
  user: BytesUser | undefined
  readonly out: Buffer[] = []
  destroyed = false
  readonly pending = 0

  use(user: BytesUser): void {
    this.user = user
  }
  write(buffer: Buffer, start: number, end: number): boolean {
    this.out.push(Buffer.from(buffer.subarray(start, end)))
    return true
  }
  text(text: string): boolean {
    this.out.push(Buffer.from(text, 'latin1'))
    return true
  }
  resume(): void {}
  end(): void {}
  destroy(): void {
    this.destroyed = true
  }
  feed(...pieces: readonly Buffer[]): void {
    for (const piece of pieces) this.user?.bytes(piece, 0, piece.length)
  }
  get frames(): readonly Frame[] {
    return parseFrames(Buffer.concat(this.out))
  }
}

function serve(onExchange: (exchange: Exchange) => void = () => undefined) {
  const stream = new Memory()
  const exchanges: Exchange[] = []
  const connection = serveHttp(stream, {
    version: 'HTTP/2',
    scheme: 'http',
    onExchange: (exchange) => {
      exchanges.push(exchange)
      onExchange(exchange)
    },
  })
  stream.feed(hello)
  t.teardown(() => stream.user?.closed(undefined))
  return { stream, exchanges, connection }
}

const get: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'a.example'],
  [':path', '/'],
]
const post: readonly Field[] = [[':method', 'POST'], ...get.slice(1)]
const but = (name: string, value?: string): readonly Field[] =>
  get.flatMap((field): Field[] => (field[0] !== name ? [field] : value === undefined ? [] : [[name, value]]))
const and = (...more: readonly Field[]): readonly Field[] => [...get, ...more]
const headersOf = (...more: readonly Field[]) => hpackEncode([...post, ...more])
const code = (n: number) => String.fromCharCode(n)

const refused: readonly (readonly [name: string, fields: readonly Field[]])[] = [
  ...[':method', ':scheme', ':path', ':authority'].map((name) => [`no ${name}`, but(name)] as const),
  ...get.map((field) => [`two ${field[0]}`, [...get, field]] as const),
  ...[
    ...Array(0x20)
      .keys()
      .filter((n) => n !== 9),
    0x7f,
  ].map((n) => [`value with 0x${n.toString(16)} at its end`, and(['x', `a${code(n)}`])] as const),
  ...[0, 10, 13].map((n) => [`value with 0x${n} inside`, and(['x', `a${code(n)}b`])] as const),
  ...[9, 32].map((n) => [`value with 0x${n} and worse first`, and(['x', `${code(n)}\na`])] as const),
  ['blank at the end of a pseudo field', but(':authority', 'a.example ')],
  ...[0, 9, 10, 13, 32, 34, 40, 44, 47, 58, 59, 64, 65, 90, 91, 123, 127, 128, 255].map(
    (n) => [`name with 0x${n.toString(16)}`, and([`x${code(n)}y`, 'a'])] as const,
  ),
  ['name of nothing', and(['', 'a'])],
  ...['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade'].map(
    (name) => [name, and([name, 'chunked'])] as const,
  ),
  ['te that is not trailers', and(['te', 'gzip'])],
  ['pseudo field behind a header', [...get.slice(0, 3), ['x', 'y'], [':path', '/']]],
  ['unknown pseudo field', [[':foo', 'bar'], ...get]],
  [':status in a request', [[':status', '200'], ...get]],
  ...['GET /x HTTP/1.1\r\nhost: b\r\n\r\n', 'G T', 'G\tT', '', 'G:T', 'GET\r\n', 'G\0'].map(
    (method) => [`method ${JSON.stringify(method)}`, but(':method', method)] as const,
  ),
  ...[
    '',
    'a',
    '*',
    '/a b',
    '/a#b',
    '/a\r\nx: y',
    '/\0',
    '/\x7f',
    '/\xe4',
    'http://a/',
    ' /',
    '/a\t',
    '//a b',
  ].map((path) => [`path ${JSON.stringify(path)}`, but(':path', path)] as const),
  ...['', 'a b', 'a/b', 'u@a', 'a#b', 'a?b', 'a\r\nx: y', 'a:b', '::1', 'a\\b', 'a:1:2', '\xe4', 'a,b c'].map(
    (authority) => [`authority ${JSON.stringify(authority)}`, but(':authority', authority)] as const,
  ),
  ...['', 'ftp', 'HTTP', 'http://', 'javascript'].map(
    (scheme) => [`scheme ${JSON.stringify(scheme)}`, but(':scheme', scheme)] as const,
  ),
  ['host of another name', and(['host', 'b.example'])],
  ['two hosts', and(['host', 'a.example'], ['host', 'a.example'])],
  ['host of nothing', [...but(':authority'), ['host', '']]],
  ['length of a request that has ended', and(['content-length', '1'])],
  ...['', 'a', '-1', '+1', '1,1', '0x1', '1 1', '99999999999999999999'].map(
    (length) => [`length ${JSON.stringify(length)}`, and(['content-length', length])] as const,
  ),
  ['two lengths', and(['content-length', '0'], ['content-length', '0'])],
  ['protocol without CONNECT', [[':protocol', 'websocket'], ...get]],
  ['CONNECT with a path', but(':method', 'CONNECT')],
  ['CONNECT without an authority', [[':method', 'CONNECT']]],
  ['CONNECT with an empty protocol', [[':protocol', ''], ...but(':method', 'CONNECT')]],
  ['another expectation', and(['expect', 'miracles'])],
]

t.test('malformed requests are reset, and nobody sees them', (t) => {
  t.ok(refused.length >= 120, `${refused.length} of them`)
  for (const [name, fields] of refused) {
    const { stream, exchanges } = serve()
    stream.feed(headers(1, 1, hpackEncode(fields)))
    const reset = stream.frames.find((one) => one.type === type.rstStream && one.id === 1)
    if (reset?.payload.readUInt32BE() !== errorCode.protocolError || exchanges.length > 0)
      t.fail(`${name}: ${exchanges.length} requests, reset ${reset?.payload.toString('hex')}`)
    stream.feed(headers(3, 1, hpackEncode(get)))
    if (exchanges.length !== 1) t.fail(`${name}: the next request is not served`)
  }
  t.end()
})

t.test('well-formed requests are as they say', (t) => {
  const rows: readonly (readonly [fields: readonly Field[], want: object])[] = [
    [get, { method: 'GET', scheme: 'http', authority: 'a.example', path: '/' }],
    [[...but(':authority'), ['host', 'b:1']], { authority: 'b:1' }],
    [and(['host', 'A.example']), { authority: 'a.example' }],
    [[[':method', 'OPTIONS'], ...but(':path', '*').slice(1)], { path: '*' }],
    [
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ],
      { method: 'CONNECT', path: '', authority: 'a:1' },
    ],
    [
      [[':method', 'CONNECT'], [':protocol', 'WebSocket'], ...get.slice(1)],
      { method: 'GET', upgrade: 'websocket' },
    ],
    [
      and(['cookie', 'a=1'], ['x', 'y'], ['cookie', 'b=2']),
      { headers: { flat: ['cookie', 'a=1; b=2', 'x', 'y'] } },
    ],
    [and(['x', '\xe4'], ['te', 'trailers']), { headers: { flat: ['x', '\xe4', 'te', 'trailers'] } }],
  ]
  for (const [fields, want] of rows) {
    const { stream, exchanges } = serve()
    stream.feed(headers(1, 1, hpackEncode(fields)))
    t.match(exchanges[0]?.request, want, JSON.stringify(fields))
    if (fields.length > 0 && !('host' in want)) t.notOk(exchanges[0]?.request.headers.has('host'))
  }
  t.end()
})

t.test('blanks at the ends of a value are cut from requests, where rules look at them', (t) => {
  const { stream, exchanges } = serve()
  const given: readonly Field[] = [
    ['x', ' a'],
    ['y', 'b \t'],
    ['z', ' '],
    ['te', 'trailers '],
  ]
  stream.feed(headers(1, 1, hpackEncode(and(...given))))
  t.strictSame(exchanges[0]?.request.headers.flat, ['x', 'a', 'y', 'b', 'z', '', 'te', 'trailers'])
  t.end()
})

t.test('a body that is not as long as it says is no body', (t) => {
  const data = (text: string, last: boolean) => frame(type.data, last ? 1 : 0, 1, Buffer.from(text))
  const rows: readonly (readonly [name: string, frames: readonly Buffer[]])[] = [
    ['too short', [data('ab', true)]],
    ['too long', [data('abcd', true)]],
    ['too long in two', [data('abc', false), data('d', false)]],
    ['nothing', [data('', true)]],
    ['ended by trailers', [data('ab', false), headers(1, 1, hpackEncode([['x', 'y']]))]],
  ]
  for (const [name, frames] of rows) {
    const seen: string[] = []
    const { stream, exchanges } = serve((exchange) =>
      exchange.body.read({
        bytes: () => true,
        end: () => seen.push('end'),
        broken: (reason) => seen.push(reason),
      }),
    )
    stream.feed(headers(1, 0, hpackEncode([...post, ['content-length', '3']])), ...frames)
    t.strictSame(seen, ['protocol-error'], name)
    const reset = stream.frames.find((one) => one.type === type.rstStream)
    t.equal(reset?.payload.readUInt32BE(), errorCode.protocolError, name)
    t.ok(exchanges[0]?.gone.aborted, 'and whoever serves it hears of it')
  }
  t.end()
})

t.test('trailers come apart from the headers, without what they must not bring', (t) => {
  let trailers: HeaderList | undefined
  const { stream, exchanges } = serve((exchange) =>
    exchange.body.read({
      bytes: () => true,
      end: (fields) => {
        trailers = fields
      },
      broken: () => t.fail('broken'),
    }),
  )
  const fields: Field[] = [
    ['x-sum', '1'],
    ['authorization', 'no'],
    ['content-length', '9'],
    ['x-forwarded-for', 'no'],
    ['host', 'no'],
  ]
  stream.feed(headers(1, 0, hpackEncode(post)), headers(1, 1, hpackEncode(fields)))
  t.strictSame(trailers?.flat, ['x-sum', '1'])
  t.strictSame(exchanges[0]?.request.headers.flat, [])
  const malformed = serve()
  malformed.stream.feed(headers(1, 0, hpackEncode(post)), headers(1, 1, hpackEncode([[':path', '/x']])))
  t.ok(
    malformed.stream.frames.some((one) => one.type === type.rstStream),
    'pseudo fields are malformed there',
  )
  const early = serve()
  early.stream.feed(headers(1, 0, hpackEncode(post)), headers(1, 0, hpackEncode([['x', 'y']])))
  t.ok(
    early.stream.frames.some((one) => one.type === type.rstStream),
    'and so are those that end nothing',
  )
  t.end()
})

t.test('an answer before the end of a request asks for no more of it', (t) => {
  const { stream, exchanges } = serve((exchange) => {
    exchange.respond({ status: 403, headers: new HeaderList() }, 'none')
  })
  stream.feed(headers(1, 0, hpackEncode(post)))
  const kinds = stream.frames.filter(({ id }) => id === 1).map((one) => `${one.type} ${one.flags}`)
  t.strictSame(kinds, [`${type.headers} 5`, `${type.rstStream} 0`])
  t.equal(stream.frames.at(-1)?.payload.readUInt32BE(), errorCode.noError)
  t.equal(exchanges.length, 1)
  t.end()
})

t.test('a flood of resets ends the connection; a few do not', (t) => {
  const storm = (n: number) => {
    const served = serve()
    for (let i = 0; i < n; i++) {
      const id = 2 * i + 1
      served.stream.feed(
        headers(id, 1, hpackEncode(get)),
        frame(type.rstStream, 0, id, Buffer.from([0, 0, 0, 8])),
      )
    }
    return served
  }
  const few = storm(100)
  t.notOk(few.stream.frames.some((one) => one.type === type.goaway))
  const many = storm(10_000)
  const goaway = many.stream.frames.find((one) => one.type === type.goaway)
  t.equal(goaway?.payload.readUInt32BE(4), errorCode.enhanceYourCalm)
  t.ok(many.exchanges.length <= 500, `${many.exchanges.length} of 10 000 were begun`)
  t.end()
})

t.test('who makes us reset request after request by lengths that are not kept loses the connection', (t) => {
  const told = headersOf(['content-length', '4'])
  for (const [name, body] of [
    ['more than was told', (id: number) => data(id, 5)],
    ['less', (id: number) => data(id, 3, 1)],
  ] as const) {
    const { stream, exchanges } = serve()
    const begin = (n: number) => {
      for (let i = exchanges.length; i < n; i++) stream.feed(headers(2 * i + 1, 0, told), body(2 * i + 1))
    }
    const goaway = () => stream.frames.find((one) => one.type === type.goaway)
    begin(40)
    t.equal(exchanges.length, 40)
    t.notOk(goaway(), `${name}, now and then`)
    for (let i = 40; i < 10_000 && !goaway(); i++) begin(i + 1)
    t.equal(goaway()?.payload.readUInt32BE(4), errorCode.enhanceYourCalm, name)
    t.ok(exchanges.length <= 50, `${exchanges.length} were begun`)
  }
  t.end()
})

t.test('a frame that is not finished is not waited for', async (t) => {
  const request = headersOf(['x', 'y'.repeat(100)])
  const [stuck, slow] = [serve(), serve()]
  const whole = headers(1, 1, request)
  for (const { stream } of [stuck, slow]) stream.feed(frame(type.settings, 1, 0, Buffer.alloc(0)))
  stuck.stream.feed(whole.subarray(0, whole.length - 1))
  slow.stream.feed(whole.subarray(0, 20))
  setTimeout(() => slow.stream.feed(whole.subarray(20)), 500)
  const goaway = () => stuck.stream.frames.find((one) => one.type === type.goaway)
  await until(() => goaway() !== undefined, 'the connection is ended')
  t.equal(goaway()?.payload.readUInt32BE(4), errorCode.enhanceYourCalm)
  t.equal(stuck.exchanges.length, 0)
  t.equal(slow.exchanges.length, 1)
  t.notOk(
    slow.stream.frames.some((one) => one.type === type.goaway),
    'one that takes a moment is',
  )
})

t.test('as many requests as Envoy takes may be open at once; more are refused unseen', (t) => {
  const { stream, exchanges } = serve()
  stream.feed(frame(type.settings, 1, 0, Buffer.alloc(0)))
  const told = stream.frames.find((one) => one.type === type.settings)?.payload ?? Buffer.alloc(0)
  t.ok(told.includes(Buffer.of(0, 3, 0, 0, 4, 0)), 'clients know how many')
  const call: readonly Field[] = [...get, ['authorization', 'x'.repeat(2_000)]]
  for (let i = 0; i < 1_034; i++) stream.feed(headers(2 * i + 1, 1, hpackEncode(call)))
  const resets = stream.frames.filter((one) => one.type === type.rstStream)
  t.equal(exchanges.length, 1_024)
  t.strictSame(
    resets.map(({ payload }) => payload.readUInt32BE()),
    Array(10).fill(errorCode.refusedStream),
  )
  t.end()
})
