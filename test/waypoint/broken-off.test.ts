import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { until } from '../fakes/until.ts'
import { policyOf, rule, scene, tcpUpstream, upstreamOf } from './kit.ts'

t.test('an answer that is broken off is no whole one, for a client of HTTP/2 either', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.write('begun'))
  const s = await scene(t, { a })
  await s.route({ http: [rule({}, { timeoutMs: 300 })] }, [policyOf({ http: 'http1' })])
  const session = http2.connect(`http://127.0.0.1:${await s.front()}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/' })
  let failure: unknown
  let text = ''
  stream.on('data', (part: Buffer) => (text += part.toString()))
  stream.on('error', (error) => (failure = error))
  await new Promise<void>((done) => stream.once('close', () => done()))
  t.equal(text, 'begun')
  t.match(failure, { message: /NGHTTP2_INTERNAL_ERROR/ }, 'CANCEL would look like an end')
  await until(() => s.lines().length === 1, 'a line')
  t.match(s.lines()[0], / 200 UT response_timeout /)
})

const begun = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun'
for (const [how, breakOff] of [
  ['an end', (socket: Socket) => socket.end(begun)],
  ['a reset', (socket: Socket) => socket.write(begun, () => socket.resetAndDestroy())],
] as const) {
  t.test(
    `a head and what came with it reach the client, where ${how} that is too early comes with them`,
    async (t) => {
      const a = await tcpUpstream(
        t,
        '127.0.0.2',
        (socket) => void socket.once('data', () => breakOff(socket)),
      )
      const s = await scene(t, { a })
      await s.route({ http: [rule({})] }, [policyOf({ http: 'http1' })])
      const client = connect(await s.front(), '127.0.0.1')
      let [text, failure] = ['', '']
      client.on('data', (part: Buffer) => (text += part.toString()))
      client.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? ''))
      client.write('GET / HTTP/1.1\r\nhost: web.demo\r\n\r\n')
      await once(client, 'close').catch(() => undefined)
      t.match(text, /^HTTP\/1.1 200 OK\r\n/)
      t.ok(text.endsWith('begun'), text)
      t.equal(failure, 'ECONNRESET')
    },
  )
}
