import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { eventually } from '../fakes/mesh-world.ts'
import { policyOf, rule, scene, upstreamOf } from './kit.ts'

async function h2Upstream(
  t: Test,
  host: string,
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
) {
  const server = http2.createServer()
  server.on('stream', onStream)
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return { address: host, port: (server.address() as AddressInfo).port }
}

t.test('HTTP/2 with prior knowledge, and gRPC with its trailers', async (t) => {
  const a = await h2Upstream(t, '127.0.0.2', (stream, headers) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'x-te': headers['te'] },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '5', 'grpc-message': 'not found' }))
    stream.on('data', (part: Buffer) => stream.write(part))
    stream.on('end', () => stream.end())
  })
  const s = await scene(t, { a })
  const client = http2.connect(`http://127.0.0.1:${await s.front()}`)
  t.teardown(() => client.destroy())
  const stream = client.request({
    ':method': 'POST',
    ':path': '/pkg.Service/Call',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  t.match(headers, { ':status': 200, 'x-te': 'trailers', server: 'istio-envoy' })
  const trailers = once(stream, 'trailers')
  stream.write('ping')
  const [pong] = (await once(stream, 'data')) as [Buffer]
  t.equal(pong.toString(), 'ping', 'both directions are open at once')
  stream.end()
  const [told] = (await trailers) as [http2.IncomingHttpHeaders]
  t.match(told, { 'grpc-status': '5', 'grpc-message': 'not found' })
  await eventually(() => s.lines().length === 1, 'it is logged')
  t.match(s.lines()[0], /"POST \/pkg\.Service\/Call HTTP\/2" 200 - via_upstream /)
  t.match(
    await s.running.waypoint.registry.metrics(),
    /istio_requests_total\{.*request_protocol="grpc".*\} 1/,
  )
})

t.test('HTTP/1.1 in, HTTP/2 out', async (t) => {
  const a = await h2Upstream(t, '127.0.0.2', (stream, headers) => {
    stream.respond({ ':status': 200, 'x-authority': headers[':authority'] })
    stream.end('two')
  })
  const s = await scene(t, { a })
  await s.route({ http: [rule()] }, [policyOf({ http: 'http2' })])
  t.match(await s.get('/'), { status: 200, body: 'two', headers: { 'x-authority': 'web.demo' } })
})

t.test('WebSocket', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', () => undefined)
  const s = await scene(t, {
    a: await (async () => {
      const server = http.createServer()
      server.on('upgrade', (request, socket) => {
        socket.on('error', () => undefined)
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfirst ',
        )
        socket.pipe(socket)
        request.resume()
      })
      server.listen(0, '127.0.0.3')
      await once(server, 'listening')
      t.teardown(() => server.close())
      return { ...a, address: '127.0.0.3', port: (server.address() as AddressInfo).port }
    })(),
  })
  const socket = connect({ host: '127.0.0.1', port: await s.front() })
  const parts: string[] = []
  socket.on('data', (part: Buffer) => parts.push(part.toString()))
  socket.write('GET /chat HTTP/1.1\r\nhost: web\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n')
  await eventually(() => parts.join('').endsWith('first '), 'the server has spoken')
  t.match(parts.join(''), /^HTTP\/1\.1 101 /)
  socket.write('hello')
  await eventually(() => parts.join('').endsWith('first hello'), 'and echoes')
  socket.destroy()
})

t.test('a client that waits to be told to go on', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (request, response) => void request.pipe(response))
  const s = await scene(t, { a })
  const request = http.request({
    host: '127.0.0.1',
    port: await s.front(),
    agent: false,
    method: 'POST',
    headers: { host: 'web', expect: '100-continue', 'content-length': '4' },
  })
  request.flushHeaders()
  await once(request, 'continue', { signal: AbortSignal.timeout(20_000) })
  request.end('body')
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  t.equal(Buffer.concat(parts).toString(), 'body')
})

t.test('a client that reads nothing stops the upstream, and what it gets in the end is whole', async (t) => {
  const block = randomBytes(1 << 20)
  const blocks = 64
  let sent = 0
  const hash = createHash('sha256')
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    void (async () => {
      for (; sent < blocks; sent++) {
        hash.update(block)
        if (!response.write(block)) await once(response, 'drain')
      }
      response.end()
    })()
  })
  const s = await scene(t, { a })
  const request = http.get({
    host: '127.0.0.1',
    port: await s.front(),
    agent: false,
    headers: { host: 'web' },
  })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let before = -1
  await eventually(async () => {
    const still = sent === before
    before = sent
    await new Promise((done) => setTimeout(done, 200))
    return still
  }, 'it stands still')
  t.ok(sent < blocks, `after ${sent} of ${blocks} MiB`)
  const got = createHash('sha256')
  for await (const part of response) got.update(part as Buffer)
  t.equal(got.digest('hex'), hash.digest('hex'))
})

const attacks: [title: string, bytes: string, status: RegExp][] = [
  [
    'two lengths',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'length and chunks',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    /^HTTP\/1\.1 400 /,
  ],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
  ['a version of long ago', 'GET / HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 426 /],
  ['too many headers', `GET / HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(200)}\r\n`, /^HTTP\/1\.1 431 /],
]
t.test('what is no request never becomes one', async (t) => {
  let asked = 0
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    asked++
    response.end()
  })
  const s = await scene(t, { a })
  for (const [title, bytes, status] of attacks) {
    const socket = connect({ host: '127.0.0.1', port: await s.front() })
    const parts: string[] = []
    socket.on('data', (part: Buffer) => parts.push(part.toString()))
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => undefined)
    socket.write(bytes)
    await closed
    t.match(parts.join(''), status, title)
  }
  t.equal(asked, 0)
})
