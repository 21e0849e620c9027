import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { ByteStream, BytesUser } from '#hbone'
import { connectHttp, type Exchange, HeaderList, type SendOutcome, serveHttp } from '#http'
import { headUse } from '../../../lib/http/h1/head-reader.ts'

/** A connection in memory. */
class Memory implements ByteStream {
  user: BytesUser | undefined
  out = ''
  readonly pending = 0

  use(user: BytesUser): void {
    this.user = user
  }
  write(buffer: Buffer, start: number, end: number): boolean {
    this.out += buffer.toString('latin1', start, end)
    return true
  }
  text(text: string): boolean {
    this.out += text
    return true
  }
  resume(): void {}
  end(): void {}
  destroy(): void {}
  feed(text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    this.user?.bytes(bytes, 0, bytes.length)
  }
}

const mostBytes = 32 << 20
const large = 58_000
const begun = `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(large)}`
const trailers = `POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ${'y'.repeat(large)}`

function serve(onExchange: (exchange: Exchange) => void = answer): Memory {
  const stream = new Memory()
  serveHttp(stream, { version: 'HTTP/1.1', scheme: 'http', onExchange })
  t.teardown(() => stream.user?.closed(undefined))
  return stream
}
const answer = (exchange: Exchange) => {
  exchange.body.discard()
  exchange.respond({ status: 204, headers: new HeaderList() }, 'none')
}
/** The same, when all of the request is here. */
const answerWhole = (exchange: Exchange) =>
  exchange.body.read({
    bytes: () => true,
    end: () => void exchange.respond({ status: 204, headers: new HeaderList() }, 'none'),
    broken: () => undefined,
  })
const isRefused = ({ out }: Memory) => /^HTTP\/1\.1 503 [^]*\r\nconnection: close\r\n/.test(out)

for (const [what, text] of [
  ['heads', begun],
  ['trailers', trailers],
] as const)
  t.test(`${what} that do not come to their end hold only so much, and keep nobody else's out`, (t) => {
    const onExchange = what === 'heads' ? answer : (exchange: Exchange) => exchange.body.discard()
    const stuck = Array.from({ length: 1_000 }, () => serve(onExchange))
    for (const stream of stuck) stream.feed(text)
    t.ok(headUse() <= mostBytes, `${headUse()} bytes`)
    t.ok(headUse() > mostBytes / 2)
    t.ok(stuck.slice(0, 100).every(isRefused), 'the oldest have given way')
    t.notOk(stuck.slice(-100).some(isRefused))
    const other = serve()
    other.feed(begun)
    other.feed('\r\n\r\n')
    t.match(other.out, /^HTTP\/1\.1 204 /, 'a new one is served')
    const before = headUse()
    const small = serve()
    small.feed('GET / HTTP/1.1\r\nhost: a\r\n')
    small.feed(`x: ${'y'.repeat(2_000)}\r\n`)
    t.equal(headUse(), before, 'a usual one needs none of that room')
    small.feed('\r\n')
    t.match(small.out, /^HTTP\/1\.1 204 /)
    for (const stream of stuck.slice(-10)) stream.feed(what === 'heads' ? '\r\n\r\n' : ' \x00')
    t.ok(headUse() < before, 'what has ended gives its room back')
    for (const { user } of stuck) user?.closed(undefined)
    t.equal(headUse(), 0)
    t.end()
  })

t.test('answers whose heads do not come to their end give way, too', async (t) => {
  const outcomes: SendOutcome[] = []
  const upstreams = Array.from({ length: 1_000 }, () => {
    const stream = new Memory()
    const request = { method: 'GET', scheme: 'http', authority: 'a', path: '/', headers: new HeaderList() }
    const connection = connectHttp(stream, { version: 'HTTP/1.1' })
    void connection
      .send(request, undefined, { signal: new AbortController().signal })
      .then((outcome) => outcomes.push(outcome))
    stream.feed(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(large)}`)
    return stream
  })
  await Promise.resolve()
  await Promise.resolve()
  t.ok(headUse() <= mostBytes, `${headUse()} bytes`)
  t.ok(outcomes.length > 400, `${outcomes.length} are over`)
  t.ok(outcomes.every((outcome) => outcome.kind === 'failure' && outcome.reason === 'overflow'))
  for (const { user } of upstreams) user?.closed(undefined)
  t.equal(headUse(), 0)
})

const collect = (): void => {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc === 'function') gc()
}

for (const [what, text] of [
  ['head', 'GET / HTTP/1.1\r\nhost: a\r\nx: PAD\r\n\r\n'],
  ['trailers', 'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: PAD\r\n\r\n'],
] as const)
  t.test(
    `a connection that waits for its next request does not keep a large ${what} of its last one`,
    (t) => {
      const connections = Array.from({ length: 400 }, () => serve(answerWhole))
      const heldBytes = () => {
        collect()
        return process.memoryUsage().heapUsed
      }
      for (const stream of connections) stream.feed('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
      const before = heldBytes()
      for (const [n, stream] of connections.entries())
        stream.feed(text.replace('PAD', `${n}${'y'.repeat(large)}`))
      const grown = heldBytes() - before
      t.ok(grown < 0.1 * connections.length * large, `${grown} bytes`)
      t.ok(connections.every(({ out }) => out.match(/ 204 /g)?.length === 2))
      t.end()
    },
  )
