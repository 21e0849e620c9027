import * as http2 from 'node:http2'
import t from 'tap'
import { until } from '../fakes/until.ts'
import { policyOf, rule, scene, upstreamOf } from './kit.ts'

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
