import t from 'tap'
import { requestText } from '../../../lib/http/h1/write-head.ts'
import { corpusOf, eventsOf, requestParser, responseParser } from './h1-kit.ts'

/** Of each role; a failure names its seed, which alone makes it again. */
const inputs = 30_000
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_121)
/** All of it takes a second or two; a parser that is not linear takes minutes. */
const maxMs = 25_000
const maxHeapBytes = 256 << 20

/** A small generator of numbers that are the same on every machine (mulberry32). */
function generator(from: number): (below: number) => number {
  let state = from >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

const morsels = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '0',
  '\0',
  '\xff',
  '\r\n\r\n',
  'chunked',
  'Content-Length: 1\r\n',
]
  .concat([
    'Transfer-Encoding: chunked\r\n',
    'Host: b\r\n',
    '0\r\n\r\n',
    'GET / HTTP/1.1\r\n',
    '#',
    '%00',
    'ffffffff',
  ])
  .map((text) => Buffer.from(text, 'latin1'))

function mutate(source: Buffer, other: Buffer, random: (below: number) => number): Buffer {
  let bytes = source
  for (let n = 1 + random(4); n > 0; n--) {
    const at = random(bytes.length + 1)
    const head = bytes.subarray(0, at)
    const tail = bytes.subarray(at)
    const kind = random(6)
    if (kind === 0) bytes = Buffer.concat([head, Buffer.from([random(256)]), tail.subarray(1)])
    else if (kind === 1) bytes = Buffer.concat([head, tail.subarray(1 + random(8))])
    else if (kind === 2) bytes = Buffer.concat([head, morsels[random(morsels.length)] ?? head, tail])
    else if (kind === 3) bytes = Buffer.concat([head, other.subarray(random(other.length + 1))])
    else if (kind === 4) bytes = Buffer.concat([head, tail.subarray(0, random(32)), tail])
    else bytes = Buffer.concat([head, Buffer.from([(bytes[at] ?? 0) ^ (1 << random(8))]), tail.subarray(1)])
  }
  return bytes.subarray(0, 64 << 10)
}

function cut(bytes: Buffer, random: (below: number) => number): readonly Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const to = at + 1 + random(bytes.length)
    pieces.push(bytes.subarray(at, to))
    at = to
  }
  return pieces
}

/** Runs mutated inputs; what `judge` returns is a complaint. */
function fuzz(
  sources: readonly Buffer[],
  judge: (bytes: Buffer, pieces: readonly Buffer[]) => string | undefined,
): readonly string[] {
  const complaints: string[] = []
  const started = performance.now()
  for (let n = 0; n < inputs && complaints.length < 5; n++) {
    const random = generator(seed + n)
    const source = sources[random(sources.length)] ?? Buffer.alloc(0)
    const bytes = mutate(source, sources[random(sources.length)] ?? source, random)
    try {
      const wrong = judge(bytes, cut(bytes, random))
      if (wrong !== undefined)
        complaints.push(`input ${n} of seed ${seed}: ${wrong}: ${JSON.stringify(bytes.toString('latin1'))}`)
    } catch (error) {
      complaints.push(
        `input ${n} of seed ${seed} throws ${String(error)}: ${JSON.stringify(bytes.toString('latin1'))}`,
      )
    }
    if (performance.now() - started > maxMs) complaints.push(`only ${n} inputs in ${maxMs} ms`)
  }
  return complaints
}

/** What we would write for a request that was taken has to be read as that same request. */
function rewritten(bytes: Buffer): string | undefined {
  const parser = requestParser()
  if (parser.step(bytes, 0, bytes.length) !== 'head' || parser.head === undefined) return undefined
  const { head, framing } = parser.head
  const again = requestParser()
  const text = Buffer.from(requestText(head, framing), 'latin1')
  if (again.step(text, 0, text.length) !== 'head' || again.head === undefined)
    return `what we write is refused: ${again.error?.reason}`
  if (again.at !== text.length) return 'what we write is more than one head'
  const same = again.head.head
  const sorted = (flat: readonly string[]) =>
    flat
      .flatMap((name, i) => (i % 2 === 0 && name !== 'content-length' ? [`${name}: ${flat[i + 1]}`] : []))
      .sort()
  const [before, after] = [head, same].map(({ method, authority, path, upgrade, headers }) =>
    JSON.stringify([method, authority, path, upgrade, sorted(headers.flat)]),
  )
  if (before !== after) return `${before} becomes ${after}`
  const [wasFramed, isFramed] = [framing, again.head.framing].map((one) => JSON.stringify(one))
  return wasFramed === isFramed ? undefined : `${wasFramed} becomes ${isFramed}`
}

t.test(`${inputs} mutated requests are read alike in any pieces, and written as they were read`, (t) => {
  const sources = corpusOf('requests.txt').map(({ bytes }) => bytes)
  const before = process.memoryUsage().heapUsed
  let taken = 0
  const complaints = fuzz(sources, (bytes, pieces) => {
    const whole = JSON.stringify(eventsOf(requestParser(), [bytes]))
    if (whole.includes('"end"')) taken++
    if (JSON.stringify(eventsOf(requestParser(), pieces)) !== whole) return 'pieces matter'
    return rewritten(bytes)
  })
  t.strictSame(complaints, [])
  t.ok(taken > inputs / 50, `${taken} of them were whole requests`)
  t.ok(process.memoryUsage().heapUsed - before < maxHeapBytes, 'no memory is kept')
  t.end()
})

t.test(`${inputs} mutated responses are read alike in any pieces`, (t) => {
  const sources = corpusOf('responses.txt').map(({ bytes }) => bytes)
  let taken = 0
  const complaints = fuzz(sources, (bytes, pieces) => {
    const whole = JSON.stringify(eventsOf(responseParser(), [bytes]))
    if (whole.includes('"head"')) taken++
    return JSON.stringify(eventsOf(responseParser(), pieces)) === whole ? undefined : 'pieces matter'
  })
  t.strictSame(complaints, [])
  t.ok(taken > inputs / 50, `${taken} of them had a head`)
  t.end()
})

t.test('the longest inputs take time in proportion to their length', (t) => {
  const time = (bytes: Buffer, piece: number) => {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length; at += piece) pieces.push(bytes.subarray(at, at + piece))
    const started = performance.now()
    const seen = eventsOf(requestParser(), pieces)
    return { ms: performance.now() - started, last: seen.at(-1)?.text }
  }
  const head = 'GET / HTTP/1.1\r\nHost: a\r\n'
  const drip = time(Buffer.from(`${head}X: ${'a'.repeat(59 << 10)}\r\n\r\n`), 1)
  t.ok(drip.ms < 5_000, `a head of 59 KiB byte by byte: ${drip.ms.toFixed(0)} ms`)
  const tooLong = time(Buffer.from(`${head}X: ${'a'.repeat(64 << 10)}`), 1000)
  t.match(tooLong.last, /^431 /)
  t.match(time(Buffer.from(`${head}${'X: y\r\n'.repeat(101)}\r\n`), 1000).last, /^431 /)
  const chunked = `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
  const flood = time(Buffer.from(`${chunked}1;${'a'.repeat(17 << 10)}\r\n`), 100)
  t.match(flood.last, /^400 chunk extensions/)
  const crumbs = time(Buffer.from(`${chunked}${`1;${'a'.repeat(100)}\r\nx\r\n`.repeat(200)}0\r\n\r\n`), 7)
  t.match(crumbs.last, /^400 chunk extensions/, 'the extensions of a message count together')
  const small = time(Buffer.from(`${chunked}${'1\r\nx\r\n'.repeat(100_000)}0\r\n\r\n`), 1460)
  t.ok(small.ms < 10_000 && small.last === '', `100 000 chunks of a byte: ${small.ms.toFixed(0)} ms`)
  t.end()
})
