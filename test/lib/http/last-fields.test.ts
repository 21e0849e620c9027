import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type Fault, fault } from '../../../lib/http/h1/field-lines.ts'
import { LastFields } from '../../../lib/http/h1/last-fields.ts'
import type { RequestParser, ResponseParser } from '../../../lib/http/h1/parser.ts'
import { eventsOf, requestParser, responseParser, type Seen } from './h1-kit.ts'

const numRuns = 500

const lines = [
  'host: b:80',
  'Content-Length: 0',
  'content-length: 2',
  'Transfer-Encoding: chunked',
  'Connection: close',
  'Connection: keep-alive, X-One',
  'Connection: upgrade',
  'Upgrade: websocket',
  'TE: trailers',
  'Expect: 100-continue',
  'Expect: gold',
  'X-One: 1',
  'x-one:2',
  'Cookie: a=1; b=2',
  ' folded',
  'no colon',
  `X-Long: ${'a'.repeat(3_000)}`,
]
const block = fc
  .array(fc.constantFrom(...lines), { maxLength: 5 })
  .map((fields) => ['Host: a', ...fields].join('\r\n'))
const requestLines = ['GET / HTTP/1.1', 'HEAD /b HTTP/1.1', 'CONNECT a:1 HTTP/1.1', 'OPTIONS * HTTP/1.1']
requestLines.push('GET http://a/c HTTP/1.1', 'GET / HTTP/1.0', 'G@T / HTTP/1.1')
const statusLines = ['HTTP/1.1 200 OK', 'HTTP/1.0 200 OK', 'HTTP/1.1 204 No Content', 'HTTP/1.1 101 So']
statusLines.push('HTTP/1.1 103 Hints', 'HTTP/1.1 304 Same', 'HTTP/2 200')

/** Heads of one connection, of a few blocks of fields: the same often comes again. */
const headsOf = (firstLines: readonly string[]) =>
  fc
    .tuple(
      fc.array(block, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.constantFrom(...firstLines), fc.nat({ max: 2 })), { maxLength: 8 }),
    )
    .map(([blocks, chosen]) =>
      chosen.map(([line, n]) => `${line}\r\n${blocks[n % blocks.length] ?? 'Host: a'}\r\n\r\n`),
    )

/** What a parser makes of a head and of a body that fits it. What it has handed out is spoilt then. */
function seenOf(parser: RequestParser | ResponseParser, head: string): readonly Seen[] {
  const body = head.includes('chunked') ? '2\r\nxx\r\n0\r\n\r\n' : head.includes('gth: 2') ? 'xx' : ''
  const seen = eventsOf(parser, [Buffer.from(head + body, 'latin1')])
  const headers = parser.head?.head.headers
  headers?.set('x-one', 'spoilt')
  headers?.add('x-spoilt', 'yes')
  headers?.delete('cookie')
  return seen
}

/** Throws for the first head that is read in another way after the others than alone. */
function refuteMisread(heads: readonly string[], make: () => RequestParser | ResponseParser): void {
  let parser = make()
  for (const head of heads) {
    const alone = seenOf(make(), head)
    const seen = seenOf(parser, head)
    deepEqual(seen, alone)
    // After anything but one whole message its connection is not read on.
    if (!parser.idle || seen.at(-1)?.kind !== 'end') parser = make()
  }
}

t.test('a request is read after others as it is alone, whatever became of what those had', async () => {
  fc.assert(
    fc.property(headsOf(requestLines), (heads) => refuteMisread(heads, requestParser)),
    { numRuns },
  )
})

t.test('a response is read after others as it is alone, whatever was asked', async () => {
  const asked = fc.record({ method: fc.constantFrom('GET', 'HEAD', 'CONNECT'), upgrade: fc.boolean() })
  fc.assert(
    fc.property(headsOf(statusLines), asked, (heads, one) => refuteMisread(heads, () => responseParser(one))),
    { numRuns },
  )
})

/** How often a block is read, of those that come. */
function readsOf(t: Test, texts: readonly string[]): number {
  let reads = 0
  const last = new LastFields((text, from): { value: string } | Fault => {
    reads++
    return text.includes('bad') ? fault(400, 'bad') : { value: text.slice(from) }
  })
  for (const text of texts) {
    const fields = last.of(text, 2)
    t.strictSame(fields, text.includes('bad') ? fault(400, 'bad') : { value: text.slice(2) })
  }
  return reads
}

t.test('of a connection the last fields are known again, and nothing else is kept', async (t) => {
  const long = 'b'.repeat(2 << 10)
  const rows: readonly (readonly [why: string, texts: readonly string[], reads: number])[] = [
    ['the same again, after another first line', ['1:a', '2:a', '3:a'], 1],
    ['other fields', ['1:a', '1:b', '1:a'], 3],
    ['fields of the same length', ['1:ab', '1:ac'], 2],
    ['more of the same', ['1:a', '1:aa'], 2],
    ['no fields', ['1:', '2:'], 1],
    ['faults', ['1:bad', '1:bad'], 2],
    ['what came before a fault', ['1:a', '1:bad', '1:a'], 3],
    ['long ones', [`1:${long}`, `1:${long}`], 2],
    ['what came before a long one', ['1:a', `1:${long}`, '1:a'], 3],
  ]
  for (const [why, texts, reads] of rows) t.equal(readsOf(t, texts), reads, why)
})
