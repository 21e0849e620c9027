// Requests as an attacker or a careless client writes them, from each version to each: one request is one request, the
// one that was judged, with its own fields and body, whatever becomes of its answer. Both ends are Node's or raw bytes.
import * as http from 'node:http'
import * as http2 from 'node:http2'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Exchange, HttpVersion } from '#http'
import { until } from '../../fakes/until.ts'
import '../../fakes/seed.ts'
import { block, type Field, frame, preface } from './raw-h2.ts'
import { dial, listen, proxyTo } from './support.ts'

const runs = 240

type Heard = {
  readonly head: string
  readonly fields: string
  readonly host: string | undefined
  body: string
  whole: boolean
  over: boolean
  aborted: boolean
}
type Upstream = Readonly<{ port: number; heard: Heard[]; faults: string[] }>

/** What an endpoint does once it has been asked; `raw` answers go to the socket as they are. */
const answers = {
  whole: (tag: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${tag.length}\r\n\r\n${tag}`,
  chunked: (tag: string) =>
    `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${tag.length.toString(16)}\r\n${tag}\r\n0\r\nx-end: ${tag}\r\n\r\n`,
  hints: (tag: string) =>
    `HTTP/1.1 103 Early Hints\r\nlink: ${tag}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`,
  'no content with a body': (tag: string) => `HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\npois${tag}`,
  'not modified with a body': (tag: string) =>
    `HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\n\r\n${tag}`,
  'ends early': (tag: string) => `HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n${tag}`,
} as const
type AnswerKind = keyof typeof answers
const answerKinds = Object.keys(answers) as readonly AnswerKind[]
/** What the endpoint is to do next, and whether it waits for the request's end. */
type Plan = { kind: AnswerKind; early: boolean; tag: string }

function record(
  upstream: Upstream,
  request: http.IncomingMessage | http2.Http2ServerRequest,
  early = false,
): Heard {
  const { authority } = request as http2.Http2ServerRequest
  const heard: Heard = {
    head: `${request.method} ${request.url}`,
    host: authority ?? request.headers.host,
    fields: request.rawHeaders.join('\n'),
    body: '',
    whole: false,
    over: false,
    aborted: false,
  }
  upstream.heard.push(heard)
  request.on('data', (part: Buffer) => (heard.body += part.toString('latin1')))
  // Node's HTTP/2 ends what it does not want to read any more once it has answered.
  request.on('end', () => (heard.whole = !early))
  request.on('aborted', () => (heard.aborted = true))
  const { stream } = request as Partial<http2.Http2ServerRequest>
  if (stream)
    // Node calls what was reset with CANCEL ended.
    stream.on('close', () => {
      heard.aborted ||= stream.rstCode !== 0
      heard.over = true
    })
  else for (const event of ['end', 'close', 'error', 'aborted']) request.on(event, () => (heard.over = true))
  return heard
}

async function upstreamOf(t: Test, version: HttpVersion, plan: Plan): Promise<Upstream> {
  const upstream = { heard: [] as Heard[], faults: [] as string[], port: 0 }
  if (version === 'HTTP/1.1') {
    const server = http.createServer({ keepAliveTimeout: 0, requireHostHeader: true }, (request) => {
      record(upstream, request)
      const { kind, early, tag } = plan
      const answer = () => {
        // Not `response.socket`: Node gives that to one response at a time, and raw answers end none.
        request.socket.write(answers[kind](tag))
        if (kind === 'ends early' || early) request.socket.end()
      }
      if (early) answer()
      else request.on('end', answer)
    })
    server.on('checkContinue', (request, response) => server.emit('request', request, response))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code?.startsWith('HPE_') && error.code !== 'HPE_INVALID_EOF_STATE')
        upstream.faults.push(error.code)
      socket.destroy()
    })
    return { ...upstream, port: await listen(t, server) }
  }
  const server = http2.createServer()
  server.on('request', (request, response) => {
    record(upstream, request, plan.early)
    response.on('error', () => undefined)
    const { kind, early, tag } = plan
    const answer = () => {
      if (response.stream.destroyed) return
      if (kind === 'ends early') {
        response.write(tag)
        return void setImmediate(() => response.stream.close(2))
      }
      response.statusCode = kind === 'no content with a body' ? 204 : 200
      response.end(response.statusCode === 204 ? '' : tag)
    }
    if (early) answer()
    else request.on('end', answer)
  })
  return { ...upstream, port: await listen(t, server) }
}

// ---- what clients send ----

/** `ok`: one request whose body is `body`. Otherwise it may be refused, and its body must not arrive whole. */
type Sent = Readonly<{ bytes: Buffer; ok: boolean; body: string }>

/** The body that would be a request if somebody lost count. */
const smuggled = (tag: string) => `GET /smuggled HTTP/1.1\r\nhost: x\r\nx-from: ${tag}\r\n\r\n`

const h1Odd = [
  'X_Under: T',
  'x-empty:',
  `X-Long: ${'a'.repeat(8_000)}T`,
  'X-Latin: caf\xe9 T',
  'TE: trailers',
  'TE: gzip, chunked',
  'Connection: x-drop, content-length, host',
  'X-Drop: T',
  'Expect: 100-continue',
  'Cookie: a=T',
  'Cookie: b=T',
  'Proxy-Connection: keep-alive',
  'Keep-Alive: T',
  'Upgrade: h2c',
  'Trailer: content-length',
] as const
/** With one of these nothing is sent on. */
const h1Wrong = [
  'X-Fold: a\r\n b T',
  'X-Bare: a\nX-Smug: T',
  'X-Space : T',
  'X-Nul: a\0T',
  'X-Cr: a\rT',
  ':path: /evil',
  ':authority: evil',
  'Host: evil',
  'No colon',
  ' leading: T',
] as const

const chunkedBody = (body: string, trailers = '') =>
  `${body.length.toString(16)};ext=1\r\n${body}\r\n0\r\n${trailers}\r\n`
const h1Framing: readonly (readonly [
  ok: boolean,
  (body: string) => readonly [lines: string[], bytes: string],
])[] = [
  [true, (body) => [[`Content-Length: ${body.length}`], body]],
  [true, (body) => [['Transfer-Encoding: chunked'], chunkedBody(body)]],
  [true, (body) => [['transfer-encoding: Chunked'], chunkedBody(body, 'x-trail: T\r\n')]],
  [false, (body) => [['Transfer-Encoding: chunked'], chunkedBody(body, 'x-trail: T\n\r\n')]],
  [false, (body) => [[`Content-Length: ${body.length}`, 'Content-Length: 0'], body]],
  [false, (body) => [[`Content-Length: 0, ${body.length}`], body]],
  [false, (body) => [[`Content-Length: +${body.length}`], body]],
  [false, (body) => [[`Content-Length: 0x${body.length.toString(16)}`], body]],
  [false, (body) => [['Content-Length: 5', 'Transfer-Encoding: chunked'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: chunked', 'Content-Length: 5'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: xchunked'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: chunked, chunked'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: chunked, identity'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: \x0bchunked'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], chunkedBody(body)]],
  [false, (body) => [['Transfer-Encoding: chunked'], `${body.length.toString(16)}\n${body}\r\n0\r\n\r\n`]],
  [
    false,
    (body) => [['Transfer-Encoding: chunked'], `0x${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
  ],
  // Its client leaves before the end.
  [false, (body) => [[`Content-Length: ${body.length + 9}`], body]],
]

/** Most requests have to go on, or nothing is seen. */
const seldom = <T>(wrong: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: wrong })
const methods = fc.constantFrom('GET', 'POST', 'PUT', 'HEAD', 'OPTIONS')
const h1Requests = fc
  .record({
    method: methods,
    odd: fc.uniqueArray(fc.constantFrom(...h1Odd), { maxLength: 5 }),
    wrong: seldom(fc.constantFrom(...h1Wrong)),
    framing: fc.oneof(fc.constantFrom(...h1Framing), fc.constantFrom(...h1Framing.slice(0, 3))),
    target: fc.constantFrom('/T', '/T?a=b', '/a/../T', '/%2e%2e/T', 'http://x/T'),
  })
  .map(({ method, odd, wrong, framing: [ok, framed], target }) => (tag: string): Sent => {
    const body = smuggled(tag)
    const [lines, bytes] = framed(body)
    const all = [
      `${method} ${target} HTTP/1.1`,
      'Host: x',
      ...odd,
      ...(wrong === null ? [] : [wrong]),
      ...lines,
    ]
    const text = `${all.join('\r\n')}\r\n\r\n${bytes}`.replaceAll('T\r\n', `${tag}\r\n`)
    return { bytes: Buffer.from(text.replace('/T', `/${tag}`), 'latin1'), ok: ok && wrong === null, body }
  })

const h2Odd: readonly Field[] = [
  ['x_under', 'T'],
  ['x-empty', ''],
  ['x-long', `${'a'.repeat(8_000)}T`],
  ['x-latin', 'caf\xe9 T'],
  ['te', 'trailers'],
  ['cookie', 'a=T'],
  ['cookie', 'b=T'],
  ['expect', '100-continue'],
  ['trailer', 'content-length'],
]
const h2Wrong: readonly Field[] = [
  ['transfer-encoding', 'chunked'],
  ['connection', 'x-drop'],
  ['keep-alive', '5'],
  ['proxy-connection', 'close'],
  ['upgrade', 'h2c'],
  ['host', 'evil'],
  ['X-Upper', 'T'],
  ['x-lines', 'a\r\nx-smug: T'],
  ['x-lf', 'a\nx-smug: T'],
  ['x-nul', 'a\0T'],
  ['x-name\r\nx-smug', 'T'],
  ['x name', 'T'],
  ['content-length', '0'],
  ['content-length', '+1'],
  [':path', '/evil'],
  [':status', '200'],
  [':authority', 'x\r\nhost: evil'],
]
const h2Targets: readonly (readonly [ok: boolean, path: string])[] = [
  [true, '/T'],
  [true, '/T?a=b'],
  [true, '/a/../T'],
  [false, '/T HTTP/1.1\r\nhost: evil\r\n\r\nGET /smuggled'],
  [false, '/a b/T'],
  [false, '/T#part'],
  [false, 'T'],
]
const h2Trailers: readonly (readonly [ok: boolean, fields: readonly Field[]])[] = [
  [true, []],
  [true, [['x-trail', 'T']]],
  [false, [[':path', '/evil']]],
  [false, [['x-trail', 'a\r\nx-smug: T']]],
]
const h2Requests = fc
  .record({
    method: methods,
    odd: fc.uniqueArray(fc.constantFrom(...h2Odd), { maxLength: 5 }),
    wrong: seldom(fc.constantFrom(...h2Wrong)),
    target: fc.constantFrom(...h2Targets.slice(0, 3), ...h2Targets),
    length: fc.constantFrom('none', 'right', 'none', 'right', 'short', 'long'),
    trailers: fc.constantFrom(...h2Trailers.slice(0, 2), ...h2Trailers),
    cut: fc.nat(40),
  })
  .map(({ method, odd, wrong, target, length, trailers, cut }) => (tag: string): Sent => {
    const body = smuggled(tag)
    const told = (text: string) => text.replaceAll('T', tag)
    const says = { none: undefined, right: body.length, short: body.length - 1, long: body.length + 1 }[
      length
    ]
    const fields: Field[] = [
      [':method', method],
      [':scheme', 'http'],
      [':path', target[1]],
      [':authority', 'x'],
      ...odd,
      ...(says === undefined ? [] : [['content-length', `${says}`] as const]),
      ...(wrong === null ? [] : [wrong]),
    ]
    // The method is no place for a tag, names in upper case are.
    const head = block(fields.map(([name, value]) => [name, name === ':method' ? value : told(value)]))
    const [first, rest] = [head.subarray(0, head.length >> 1), head.subarray(head.length >> 1)]
    const last = trailers[1].length === 0
    const bytes = [preface, frame(1, 0, 1, first), frame(9, 4, 1, rest)]
    bytes.push(frame(0, 0, 1, Buffer.from(body.slice(0, cut))))
    bytes.push(frame(0, last ? 1 : 0, 1, Buffer.from(body.slice(cut))))
    if (!last) bytes.push(frame(1, 5, 1, block(trailers[1].map(([name, value]) => [name, told(value)]))))
    const sound = wrong === null && target[0] && trailers[0] && (says ?? body.length) === body.length
    return { bytes: Buffer.concat(bytes), ok: sound, body }
  })

/** Resolves with all that came once there is an answer's end, or the other side ends; a raw client knows little more. */
async function tell(socket: Socket, version: HttpVersion, bytes: Buffer, leaves: boolean): Promise<string> {
  let got = Buffer.alloc(0)
  const over = Promise.withResolvers<void>()
  socket.on('data', (part: Buffer) => {
    got = Buffer.concat([got, part])
    if (version === 'HTTP/2' && h2Over(got)) over.resolve()
  })
  for (const event of ['end', 'error', 'close']) socket.on(event, () => over.resolve())
  socket.write(bytes)
  // A client of HTTP/1.1 that says no more is answered, and then left.
  if (version === 'HTTP/1.1') {
    const answered = () => /^HTTP\/1\.1 [2-5]/m.test(got.toString('latin1'))
    // One that has not said all there is leaves at once.
    if (!leaves) await Promise.race([over.promise, until(answered, 'an answer')])
    socket.end()
  }
  await over.promise
  socket.destroy()
  return got.toString('latin1')
}

/** Whether stream 1 has ended in these frames. */
function h2Over(got: Buffer): boolean {
  for (let at = 0; at + 9 <= got.length; at += 9 + got.readUIntBE(at, 3)) {
    const [type, flags, stream] = [got[at + 3], got[at + 4] ?? 0, got.readUInt32BE(at + 5)]
    if (type === 7 || (stream === 1 && (type === 3 || ((type === 0 || type === 1) && (flags & 1) === 1))))
      return true
  }
  return false
}

/** All that the endpoint was asked, against what was sent and what was judged. */
function judge(all: ReadonlyMap<string, Sent>, upstream: Upstream, judged: readonly Exchange[]) {
  const heads = new Set(
    judged.map(({ request: { method, authority, path } }) => `${method} ${path} ${authority}`),
  )
  const seen = new Set<string>()
  let whole = 0
  for (const one of upstream.heard) {
    const { head, host, fields, body } = one
    const tag = /tag\d+z/.exec(head)?.[0] ?? ''
    const sent = all.get(tag)
    const complain = (what: string): never => {
      throw new Error(`${what}: ${JSON.stringify({ one, sent: sent?.bytes.toString('latin1') })}`)
    }
    if (sent === undefined) return complain('nobody has asked that')
    if (seen.has(tag)) complain('asked twice')
    seen.add(tag)
    if (!heads.has(`${head} ${host}`) || host !== 'x') complain('not what was judged')
    if (/smug|evil|identity/i.test(fields)) complain('fields that were none')
    for (const [other] of `${fields}${body}`.matchAll(/tag\d+z/g)) if (other !== tag) complain('of another')
    if (!sent.body.startsWith(body)) complain('not its body')
    // Node's HTTP/2 reads no body of HEAD, and calls it whole at once.
    if (!one.whole || one.aborted || head.startsWith('HEAD ')) continue
    whole++
    if (!sent.ok || body !== sent.body) complain('a broken request is whole')
  }
  return { taken: seen.size, whole }
}

let serial = 0
const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const down of versions)
  for (const up of versions)
    t.test(`${down} to ${up}: ${runs} requests are themselves or nothing`, async (t) => {
      const plan: Plan = { kind: 'whole', early: false, tag: '' }
      const upstream = await upstreamOf(t, up, plan)
      const proxy = await proxyTo(t, upstream.port, [down, up])
      const all = new Map<string, Sent>()
      const requests = down === 'HTTP/1.1' ? h1Requests : h2Requests
      const one = fc.asyncProperty(
        requests,
        fc.constantFrom(...answerKinds),
        fc.boolean(),
        async (make, kind, early) => {
          const tag = `tag${++serial}z`
          Object.assign(plan, { kind, early, tag })
          const sent = make(tag)
          const got = await tell(await dial(proxy.port), down, sent.bytes, !sent.ok)
          await until(() => proxy.pool.use('group').requests === 0, 'nothing is under way')
          all.set(tag, sent)
          const complain = (what: string): never => {
            throw new Error(`${what}: ${JSON.stringify({ sent: sent.bytes.toString('latin1'), got })}`)
          }
          for (const [other] of got.matchAll(/tag\d+z/g)) if (other !== tag) complain('the answer of another')
          if (down === 'HTTP/1.1' && (got.match(/^HTTP\/1\.1 [2-5]/gm) ?? []).length > 1)
            complain('two answers')
        },
      )
      await fc.assert(one, { numRuns: runs, endOnFailure: true, includeErrorInReport: true })
      await until(() => upstream.heard.every(({ over }) => over), 'nothing is on its way')
      const { taken, whole } = judge(all, upstream, proxy.exchanges)
      t.ok(taken > runs / 8, `${taken} went on`)
      t.ok(whole > runs / 30, `${whole} were whole`)
      t.equal(upstream.faults.length, 0)
    })
