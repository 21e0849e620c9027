import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import type { HttpVersion } from '#http'
import { dial, listen, proxyTo } from './support.ts'

/** An origin that echoes what comes after an upgrade to `websocket`, and refuses any other. */
async function echo(t: Test, version: HttpVersion): Promise<number> {
  if (version === 'HTTP/1.1') {
    const server = http.createServer((_request, response) => void response.writeHead(403).end())
    server.on('upgrade', (request, socket: Duplex, head) => {
      if (request.headers.upgrade !== 'websocket')
        return void socket.end('HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n')
      socket.write(
        `HTTP/1.1 101 Yes\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-key: ${request.headers['sec-websocket-key']}\r\n\r\n`,
      )
      socket.write(head)
      socket.pipe(socket)
    })
    return listen(t, server)
  }
  const server = http2.createServer({ settings: { enableConnectProtocol: true } })
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on('error', () => undefined)
    if (headers[':protocol'] !== 'websocket') return stream.respond({ ':status': 403 }, { endStream: true })
    stream.respond({ ':status': 200, 'x-key': `${headers['sec-websocket-key']}` })
    stream.pipe(stream)
  })
  return listen(t, server)
}

type Opened = { status: number; headers: NodeJS.Dict<unknown>; stream: Duplex }

async function open(t: Test, version: HttpVersion, port: number, protocol: string): Promise<Opened> {
  if (version === 'HTTP/1.1') {
    const headers = {
      connection: 'keep-alive, Upgrade',
      upgrade: protocol,
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-version': '13',
    }
    const request = http.request({ port, host: '127.0.0.1', path: '/chat', headers })
    request.end()
    return new Promise((resolve, reject) => {
      request.on('error', reject)
      request.on('upgrade', (answer, stream) =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, stream }),
      )
      request.on('response', (answer) =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, stream: answer.socket }),
      )
    })
  }
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  await once(session, 'remoteSettings')
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': protocol,
    ':path': '/chat',
    ':scheme': 'http',
    ':authority': 'x',
  })
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
  return { status: headers[':status'], headers, stream }
}

const versions: readonly HttpVersion[] = ['HTTP/1.1', 'HTTP/2']
for (const down of versions) {
  for (const up of versions) {
    t.test(`an upgrade passes from ${down} to ${up}, with bytes and ends of both ways`, async (t) => {
      const proxy = await proxyTo(t, await echo(t, up), [down, up])
      const { status, headers, stream } = await open(t, down, proxy.port, 'websocket')
      t.equal(status, down === 'HTTP/2' ? 200 : 101)
      if (down === 'HTTP/1.1' && up === 'HTTP/2')
        t.equal(headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'the key has its answer')
      if (up === 'HTTP/1.1') t.match(headers['x-key'], /^[A-Za-z0-9+/]{22}==$/, 'the origin had a key')
      const body = Buffer.alloc(1 << 20, 'echo me')
      const parts: Buffer[] = []
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.end(body)
      await once(stream, 'end')
      t.ok(Buffer.concat(parts).equals(body))
    })

    t.test(`an upgrade that is refused is an answer, from ${down} to ${up}`, async (t) => {
      const proxy = await proxyTo(t, await echo(t, up), [down, up])
      const { status } = await open(t, down, proxy.port, 'something')
      t.equal(status, 403)
    })
  }
}

for (const down of versions) {
  for (const up of versions) {
    t.test(`CONNECT makes a tunnel from ${down} to ${up}`, async (t) => {
      const authorities: unknown[] = []
      let origin: http.Server | http2.Http2Server
      if (up === 'HTTP/1.1') {
        origin = http.createServer()
        origin.on('connect', (request, socket: Duplex, head) => {
          authorities.push(request.url)
          socket.write('HTTP/1.1 200 Yes\r\n\r\n')
          socket.write(head)
          socket.pipe(socket)
        })
      } else {
        origin = http2.createServer()
        origin.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
          authorities.push(headers[':authority'])
          stream.respond({ ':status': 200 })
          stream.pipe(stream)
        })
      }
      const proxy = await proxyTo(t, await listen(t, origin), [down, up])
      let stream: Duplex
      if (down === 'HTTP/1.1') {
        const request = http.request({
          port: proxy.port,
          host: '127.0.0.1',
          method: 'CONNECT',
          path: 'db:5432',
        })
        request.end()
        const [answer, socket] = (await once(request, 'connect')) as [http.IncomingMessage, Duplex]
        t.equal(answer.statusCode, 200)
        stream = socket
      } else {
        const session = http2.connect(`http://127.0.0.1:${proxy.port}`)
        t.teardown(() => session.destroy())
        const one = session.request({ ':method': 'CONNECT', ':authority': 'db:5432' })
        await once(one, 'response')
        stream = one
      }
      const body = Buffer.alloc(1 << 20, 'raw')
      const parts: Buffer[] = []
      stream.on('data', (part: Buffer) => parts.push(part))
      stream.end(body)
      await once(stream, 'end')
      t.ok(Buffer.concat(parts).equals(body))
      t.strictSame(authorities, ['db:5432'])
      t.strictSame(await proxy.exchanges[0]?.ended, { kind: 'complete' })
    })
  }
}

t.test('h2c by Upgrade is not offered on, and the request is answered as it is', async (t) => {
  let seen: http.IncomingHttpHeaders = {}
  const server = http.createServer((request, response) => {
    seen = request.headers
    response.end('plain')
  })
  const proxy = await proxyTo(t, await listen(t, server), ['HTTP/1.1', 'HTTP/1.1'])
  const socket = await dial(proxy.port)
  socket.write(
    'GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n',
  )
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part)
  t.match(Buffer.concat(parts).toString(), /^HTTP\/1.1 200 [^]*plain$/)
  t.notOk(seen.upgrade ?? seen['http2-settings'])
})

t.test('bytes behind a CONNECT that is refused are not a request', async (t) => {
  const seen: string[] = []
  const server = http.createServer((request, response) => {
    seen.push(request.url ?? '')
    response.end()
  })
  server.on('connect', (_request, socket) => socket.end('HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n'))
  const proxy = await proxyTo(t, await listen(t, server), ['HTTP/1.1', 'HTTP/1.1'])
  const socket = await dial(proxy.port)
  socket.write('CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n')
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part)
  t.match(Buffer.concat(parts).toString(), /^HTTP\/1.1 405 [^]*connection: close\r\n\r\n$/)
  t.strictSame(seen, [])
})
