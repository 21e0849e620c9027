import * as http from 'node:http'
import t from 'tap'
import { type Case, corpusOf, eventsOf, requestParser, responseParser } from './h1-kit.ts'
import { listen, proxyTo, raw } from './support.ts'

/** Every control character at every kind of place. */
const places: readonly (readonly [place: string, before: string, after: string])[] = [
  ['in the method', 'GE', 'T / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['in the target', 'GET /a', 'b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['in the version', 'GET / HTTP/1.', '1\r\nHost: a\r\n\r\n'],
  ['in a name', 'GET / HTTP/1.1\r\nHost: a\r\nX', 'Y: z\r\n\r\n'],
  ['before the colon', 'GET / HTTP/1.1\r\nHost', ': a\r\n\r\n'],
  ['at the start of Host', 'GET / HTTP/1.1\r\nHost: ', 'a\r\n\r\n'],
  ['in a length', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1', '0\r\n\r\n0123456789'],
  ['at the end of a coding', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked', '\r\n\r\n0\r\n\r\n'],
  ['in a value', 'GET / HTTP/1.1\r\nHost: a\r\nX: y', 'z\r\n\r\n'],
  [
    'in a chunk size',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1',
    '\r\na\r\n0\r\n\r\n',
  ],
]
const controls = [...Array(0x20).keys(), 0x7f]
/** A tab is a blank where one may be. */
const tabAllowed = new Set(['at the start of Host', 'at the end of a coding', 'in a value'])
const generated: readonly Case[] = places.flatMap(([place, before, after]) =>
  controls.map((code): Case => {
    const verdict = code === 9 && tabAllowed.has(place) ? 'ok' : '400'
    const bytes = Buffer.from(`${before}${String.fromCharCode(code)}${after}`, 'latin1')
    return { name: `0x${code.toString(16)} ${place}`, verdict, bytes }
  }),
)
const written = corpusOf('requests.txt')
const cases = [...written, ...generated]

t.test('the corpus is judged as it says', async (t) => {
  t.ok(cases.length >= 400, `${cases.length} cases, ${written.length} of them by hand`)
  for (const { name, verdict, bytes } of cases) {
    const seen = eventsOf(requestParser(), [bytes])
    const last = seen.at(-1)
    if (verdict === 'ok') t.equal(last?.kind, 'end', `${name}: ${last?.text}`)
    else if (!last?.text.startsWith(verdict) || last.kind !== 'error')
      t.fail(`${name}: ${JSON.stringify(last)}`)
  }
})

t.test('responses are judged as the corpus says', async (t) => {
  for (const { name, verdict, bytes } of corpusOf('responses.txt')) {
    const seen = eventsOf(responseParser(), [bytes])
    const bad = seen.some(({ kind }) => kind === 'error')
    t.equal(bad, verdict === 'bad', `${name}: ${JSON.stringify(seen.at(-1))}`)
  }
})

t.test('Connection takes away what is about the connection, and nothing else', async (t) => {
  const kept = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-client-cert']
    .concat([
      'x-request-id',
      'x-envoy-attempt-count',
      'forwarded',
      'via',
      'authorization',
      'cookie',
      'content-type',
    ])
    .concat([
      'content-length',
      'cache-control',
      'traceparent',
      'baggage',
      'if-match',
      'range',
      'expect',
      'grpc-timeout',
    ])
  const taken = ['foo', 'keep-alive', 'proxy-connection', 'http2-settings', 'upgrade', 'connection', 'te']
  for (const name of [...kept, ...taken]) {
    const value = name === 'content-length' ? '0' : name === 'expect' ? '100-continue' : 'v'
    const head = `GET / HTTP/1.1\r\nhost: a\r\nconnection: ${name}\r\n${name}: ${value}\r\n\r\n`
    const parser = requestParser()
    const bytes = Buffer.from(head)
    t.equal(parser.step(bytes, 0, bytes.length), 'head', name)
    t.equal(parser.head?.head.headers.has(name), kept.includes(name), name)
  }
})

t.test('it does not matter where the bytes are cut', async (t) => {
  let cuts = 0
  for (const { name, bytes } of cases) {
    const whole = JSON.stringify(eventsOf(requestParser(), [bytes]))
    for (let at = 1; at < bytes.length; at++, cuts++) {
      const cut = JSON.stringify(eventsOf(requestParser(), [bytes.subarray(0, at), bytes.subarray(at)]))
      if (cut !== whole) t.equal(cut, whole, `${name}, cut at ${at}`)
    }
    const single = JSON.stringify(
      eventsOf(
        requestParser(),
        [...bytes].map((byte) => Buffer.from([byte])),
      ),
    )
    if (single !== whole) t.equal(single, whole, `${name}, byte by byte`)
  }
  for (const { name, bytes } of corpusOf('responses.txt')) {
    const whole = JSON.stringify(eventsOf(responseParser(), [bytes]))
    for (let at = 1; at < bytes.length; at++, cuts++) {
      const cut = JSON.stringify(eventsOf(responseParser(), [bytes.subarray(0, at), bytes.subarray(at)]))
      if (cut !== whole) t.equal(cut, whole, `${name}, cut at ${at}`)
    }
  }
  t.ok(cuts > 10_000, `${cuts} cuts`)
})

t.test('an origin sees the requests that the proxy saw, and no other', { timeout: 60_000 }, async (t) => {
  const seen: string[] = []
  const origin = http.createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    request.resume()
    request.on('end', () => response.end('fine'))
  })
  origin.on('connect', (request, socket) => {
    seen.push(`${request.method} ${request.url}`)
    socket.end('HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n')
  })
  origin.on('upgrade', (request, socket) => {
    seen.push(`${request.method} ${request.url}`)
    socket.end('HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n')
  })
  const proxy = await proxyTo(t, await listen(t, origin), ['HTTP/1.1', 'HTTP/1.1'], { lingerMs: 20 })
  const victim = 'GET /victim HTTP/1.1\r\nhost: v\r\nconnection: close\r\n\r\n'
  for (const { name, verdict, bytes } of cases) {
    seen.length = 0
    const before = proxy.exchanges.length
    const answer = await raw(proxy.port, Buffer.concat([bytes, Buffer.from(victim)]))
    const passed = proxy.exchanges
      .slice(before)
      .map(
        ({ request }) =>
          `${request.method} ${request.method === 'CONNECT' ? request.authority : request.path}`,
      )
    const statuses = [...answer.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status)
    if (verdict === 'ok' && !name.startsWith('connect')) {
      t.equal(passed.at(-1), 'GET /victim', name)
      t.strictSame(seen, passed, name)
    } else {
      t.notOk(
        passed.includes('GET /victim') || seen.includes('GET /victim'),
        `${name}: the victim is not reached`,
      )
      // What broke off in its body may have reached the origin, or not.
      t.ok(seen.length <= passed.length, `${name}: ${seen.join()} of ${passed.join()}`)
      if (verdict !== 'ok' && passed.length === 0) t.strictSame(statuses, [verdict], name)
    }
  }
})
