import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import t, { type Test } from 'tap'
import { type Exchange, HeaderList, type HttpVersion, type ResponseHead } from '#http'
import { until } from '../../fakes/until.ts'
import { dial, listen, proxyTo, raw, serve } from './support.ts'

/** An origin that says 103, waits for a body where one is announced, and answers with its length. */
async function hinting(t: Test, version: HttpVersion): Promise<number> {
  if (version === 'HTTP/1.1') {
    const answer: http.RequestListener = (request, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' }, () => {
        let bytes = 0
        request.on('data', (part: Buffer) => (bytes += part.length))
        request.on('end', () => response.end(`${bytes}`))
      })
    }
    const server = http.createServer(answer)
    server.on('checkContinue', (request, response) => {
      response.writeContinue()
      answer(request, response)
    })
    return listen(t, server)
  }
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    if (headers.expect === '100-continue') stream.additionalHeaders({ ':status': 100 })
    stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' })
    let bytes = 0
    stream.on('data', (part: Buffer) => (bytes += part.length))
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end(`${bytes}`)
    })
  })
  return listen(t, server)
}

const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const down of versions) {
  for (const up of versions) {
    t.test(`100 and 103 pass before the answer, from ${up} to ${down}`, async (t) => {
      const proxy = await proxyTo(t, await hinting(t, up), [down, up])
      const interims: number[] = []
      let body = ''
      if (down === 'HTTP/1.1') {
        const request = http.request({
          port: proxy.port,
          method: 'POST',
          headers: { expect: '100-continue' },
        })
        request.on('information', ({ statusCode }) => interims.push(statusCode))
        request.on('continue', () => {
          interims.push(100)
          request.end('12345')
        })
        request.flushHeaders()
        const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
        for await (const part of answer) body += String(part)
      } else {
        const session = http2.connect(`http://127.0.0.1:${proxy.port}`)
        t.teardown(() => session.destroy())
        const stream = session.request({ ':method': 'POST', expect: '100-continue' })
        stream.on('continue', () => stream.end('12345'))
        stream.on('headers', (headers) => interims.push(Number(headers[':status'])))
        await once(stream, 'response')
        for await (const part of stream) body += String(part)
      }
      t.equal(body, '5')
      t.ok(interims.includes(100) && interims.includes(103), `${interims.join()}`)
    })
  }
}

t.test('an expectation of something else is refused', async (t) => {
  const proxy = await proxyTo(t, 9, ['HTTP/1.1', 'HTTP/1.1'])
  const answer = await raw(
    proxy.port,
    'POST / HTTP/1.1\r\nhost: x\r\nexpect: 200-ok\r\ncontent-length: 1\r\n\r\n',
  )
  t.match(answer, /^HTTP\/1.1 417 /)
  t.equal(proxy.exchanges.length, 0)
})

t.test('an upstream that says 103 without end is broken off', async (t) => {
  const hint = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
  const server = http.createServer()
  server.on('request', (request) => request.socket.write(hint.repeat(1000)))
  const proxy = await proxyTo(t, await listen(t, server), ['HTTP/1.1', 'HTTP/1.1'])
  const answer = await raw(proxy.port, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  t.match(answer, /x-reason: protocol-error/)
  t.ok(answer.split('103 Early').length <= 17, 'no more than sixteen passed')
})

const hints = (bytes: number): ResponseHead => ({
  status: 103,
  headers: HeaderList.of({ link: 'x'.repeat(bytes) }),
})

t.test('a client that does not read hears of no more hints than it has room for', async (t) => {
  const exchanges: Exchange[] = []
  const { port } = await serve(t, 'HTTP/1.1', (exchange) => exchanges.push(exchange), { maxInterim: 1000 })
  const socket = await dial(port)
  socket.pause()
  socket.write('POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n')
  await until(() => exchanges.length === 1, 'the request is here')
  for (let n = 0; n < 800; n++) {
    exchanges[0]?.inform(hints(50_000))
    await new Promise((resolve) => setImmediate(resolve))
  }
  exchanges[0]?.inform({ status: 100, headers: HeaderList.of({ link: 'y'.repeat(50_000) }) })
  exchanges[0]?.respond({ status: 204, headers: new HeaderList() }, 'none')
  let got = ''
  socket.on('data', (part: Buffer) => (got += part.toString('latin1')))
  socket.resume()
  await until(() => got.includes('204'), 'the answer')
  t.ok(got.length < 20_000_000, `${got.length} bytes of 40,000,000`)
  t.match(got, /HTTP\/1\.1 100 [^\r]*\r\n\r\n/, 'but the 100 that it waits for')
  t.notMatch(got, /yyyy/)
  socket.destroy()
})

for (const version of versions)
  t.test(`of however many tries, only so many pass over ${version}`, async (t) => {
    const said: number[] = []
    const onExchange = (exchange: Exchange) => {
      for (let n = 0; n < 100; n++) exchange.inform(hints(10))
      exchange.respond({ status: 204, headers: new HeaderList() }, 'none')
    }
    const { port } = await serve(t, version, onExchange)
    if (version === 'HTTP/1.1') {
      const text = await raw(port, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
      t.equal(text.split('103 Early').length, 17)
      return
    }
    const session = http2.connect(`http://127.0.0.1:${port}`)
    t.teardown(() => session.destroy())
    const stream = session.request({ ':path': '/' })
    stream.on('headers', (headers) => said.push(Number(headers[':status'])))
    await once(stream, 'response')
    t.equal(said.length, 16)
  })
