import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import t, { type Test } from 'tap'
import type { HttpVersion } from '#http'
import { ask, type Answer, listen, proxyTo } from './support.ts'

/** Node's own servers and clients as oracles, of both versions; their compatibility API is the same for what we use. */
function origin(t: Test, version: HttpVersion, handler: http.RequestListener): Promise<number> {
  if (version === 'HTTP/1.1') return listen(t, http.createServer(handler))
  const server = http2.createServer()
  server.on('request', handler)
  return listen(t, server)
}

async function askH2(
  t: Test,
  port: number,
  { method = 'GET', path = '/', headers = {}, body }: Parameters<typeof ask>[1] & object,
): Promise<Answer> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const own = Object.fromEntries(
    Object.entries(headers).filter(([name]) => name !== 'transfer-encoding' && name !== 'trailer'),
  )
  const stream = session.request(
    { ':method': method, ':path': path ?? '/', ...own },
    { endStream: body === undefined },
  )
  if (body !== undefined) stream.end(body)
  const parts: Buffer[] = []
  let trailers = {}
  stream.on('data', (part: Buffer) => parts.push(part))
  stream.on('trailers', (fields) => {
    trailers = fields
  })
  const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
  if (!stream.readableEnded) await once(stream, 'end')
  session.close()
  return { status: answer[':status'], headers: answer, trailers, body: Buffer.concat(parts) }
}

const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const down of versions) {
  for (const up of versions) {
    t.test(`${down} to ${up}`, async (t) => {
      const request = (port: number, o: Parameters<typeof ask>[1] & object) =>
        down === 'HTTP/2' ? askH2(t, port, o) : ask(port, o)

      t.test('method, path, headers and status pass', async (t) => {
        const seen: (http.IncomingHttpHeaders & { path?: string })[] = []
        const port = await origin(t, up, (request, response) => {
          seen.push({ ...request.headers, path: `${request.method} ${request.url}` })
          response.setHeader('set-cookie', ['a=1', 'b=2'])
          response.statusCode = 201
          response.end('made')
        })
        const proxy = await proxyTo(t, port, [down, up])
        const answer = await request(proxy.port, {
          method: 'DELETE',
          path: '/p?q=1',
          headers: { 'x-one': 'two', cookie: 'c=3; d=4' },
        })
        t.match(answer, { status: 201, headers: { 'set-cookie': ['a=1', 'b=2'] } })
        t.equal(answer.body.toString(), 'made')
        t.match(seen, [{ path: 'DELETE /p?q=1', 'x-one': 'two', cookie: 'c=3; d=4' }])
        t.notOk(seen[0]?.['transfer-encoding'], 'no body where there was none')
      })

      t.test('bodies of both ways pass, with and without a length', async (t) => {
        const port = await origin(t, up, (request, response) => {
          const length = request.headers['content-length']
          if (length !== undefined) response.setHeader('content-length', length)
          request.pipe(response)
        })
        const proxy = await proxyTo(t, port, [down, up])
        const body = Buffer.alloc((3 << 20) + 17, 'some text that is not a power of two long')
        const sized = await request(proxy.port, {
          method: 'POST',
          body,
          headers: { 'content-length': `${body.length}` },
        })
        t.ok(sized.body.equals(body), 'with a length')
        t.equal(sized.headers['content-length'], `${body.length}`, 'which is kept')
        const open = await request(proxy.port, {
          method: 'POST',
          body,
          headers: { 'transfer-encoding': 'chunked' },
        })
        t.ok(open.body.equals(body), 'without')
        t.equal(open.headers['content-length'], undefined)
        t.match(proxy.pool.use('group'), { requests: 0, pending: 0 })
      })

      t.test('HEAD, 204 and 304 have no body and keep what they say', async (t) => {
        const port = await origin(t, up, (request, response) => {
          const status = Number(request.url?.slice(1))
          response.writeHead(status, status === 200 ? { 'content-length': '5' } : { etag: '"x"' })
          response.end(status === 200 && request.method === 'GET' ? 'hello' : undefined)
        })
        const proxy = await proxyTo(t, port, [down, up])
        const head = await request(proxy.port, { method: 'HEAD', path: '/200' })
        t.match(head, { status: 200, headers: { 'content-length': '5' }, body: Buffer.alloc(0) })
        for (const status of [204, 304]) {
          const answer = await request(proxy.port, { path: `/${status}` })
          t.match(answer, { status, headers: { etag: '"x"' }, body: Buffer.alloc(0) })
        }
        t.match(
          (await request(proxy.port, { path: '/200' })).body.toString(),
          'hello',
          'and the next gets its own',
        )
      })

      t.test('trailers of an answer pass', async (t) => {
        const port = await origin(t, up, (_request, response) => {
          response.setHeader('trailer', 'grpc-status')
          response.write('x')
          response.addTrailers({ 'grpc-status': '7', 'grpc-message': 'no' })
          response.end()
        })
        const proxy = await proxyTo(t, port, [down, up])
        const answer = await request(proxy.port, { headers: { te: 'trailers' } })
        t.match(answer.trailers, { 'grpc-status': '7', 'grpc-message': 'no' })
        t.equal(answer.body.toString(), 'x')
      })

      t.test('an origin that breaks off is not taken for one that has ended', async (t) => {
        const port = await origin(t, up, (request, response) => {
          if (request.url === '/before') return void request.socket.destroy()
          response.write('half')
          setImmediate(() => {
            if (up === 'HTTP/2') (response as unknown as http2.Http2ServerResponse).stream.close(2)
            else response.socket?.destroy()
          })
        })
        const proxy = await proxyTo(t, port, [down, up])
        const before = await request(proxy.port, { path: '/before' })
        // Node's HTTP/2 says so stream by stream.
        t.match(before, { status: 503, headers: { 'x-reason': /connection-termination|remote-reset/ } })
        await t.rejects(request(proxy.port, { path: '/during' }), 'the client sees a broken answer')
        t.match(proxy.pool.use('group'), { requests: 0, pending: 0 })
      })
    })
  }
}
