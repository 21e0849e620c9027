import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ip, type SocketAddress } from '#base'
import type { InboundTunnel } from '#hbone'
import {
  client,
  dial,
  echo,
  listen,
  never,
  noise,
  poolOf,
  readAll,
  root,
  serve,
  type Served,
  server,
  sha,
  tcpPair,
  towards,
  until,
} from './support.ts'

/** node:http2 as the client of our server. */
async function oracleClient(t: Test, { address }: Served, settings = {}): Promise<ClientHttp2Session> {
  const session = connect(`https://${address.address}:${address.port}`, {
    key: client.privateKeyPem,
    cert: client.chainPem[0] ?? '',
    ca: root.certPem,
    checkServerIdentity: () => undefined,
    settings,
    maxSessionMemory: 1000,
  })
  session.on('error', () => undefined)
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  return session
}
const request = (session: ClientHttp2Session, headers = {}): ClientHttp2Stream => {
  const stream = session.request(
    { ':method': 'CONNECT', ':authority': '10.0.0.1:80', ...headers },
    { endStream: false },
  )
  stream.on('error', () => undefined)
  return stream
}
/** node:http2 as the server of our client. */
async function oracleServer(
  t: Test,
  onStream: (stream: ServerHttp2Stream) => void,
  settings = {},
): Promise<SocketAddress & { server: Http2SecureServer }> {
  const oracle = createSecureServer({
    key: server.privateKeyPem,
    cert: server.chainPem[0] ?? '',
    ca: root.certPem,
    requestCert: true,
    rejectUnauthorized: true,
    settings,
  })
  const sessions = new Set<{ destroy(): void }>()
  oracle.on('session', (session) => void sessions.add(session))
  oracle.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    onStream(stream)
  })
  oracle.listen(0, '127.0.0.1')
  await once(oracle, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    oracle.close()
  })
  const address = oracle.address()
  return {
    address: ip('127.0.0.1'),
    port: typeof address === 'object' && address ? address.port : 0,
    server: oracle,
  }
}
const respondAndEcho = (stream: ServerHttp2Stream) => {
  stream.respond({ ':status': 200, baggage: 'x=y' })
  stream.pipe(stream)
}
/** Forwards what a tunnel brings to a TCP server that echoes. */
const forwardTo = (sink: SocketAddress) => (tunnel: InboundTunnel) =>
  void dial(sink).then((app) => {
    tunnel.accept({ baggage: 'x=y' })
    return tunnel.forward(app, never)
  })
const echoServer = (t: Test) => listen(t, (socket) => void socket.pipe(socket))

t.test('node:http2 as client: bytes, headers and both half-closes', async (t) => {
  const served = await serve(t, forwardTo(await echoServer(t)))
  const session = await oracleClient(t, served)
  for (const size of [0, 1, 16_384, 16_385, 3_000_000]) {
    const stream = request(session, { forwarded: 'for="10.1.1.1:5"', 'x-long': 'v'.repeat(20_000) })
    const answered = once(stream, 'response')
    const bytes = noise(size)
    stream.end(bytes)
    const echoed = await readAll(stream)
    t.match((await answered)[0], { ':status': 200, baggage: 'x=y' })
    t.equal(sha(echoed), sha(bytes), `${size} bytes`)
  }
  t.equal(served.tunnels[0]?.headers.get('forwarded'), 'for="10.1.1.1:5"')
  t.equal(served.tunnels[0]?.headers.get('x-long')?.length, 20_000)
})

t.test('node:http2 as server: bytes, headers and both half-closes', async (t) => {
  const to = await oracleServer(t, respondAndEcho)
  const pool = poolOf(t)
  for (const size of [0, 1, 65_535, 65_536, 3_000_000]) {
    const [app, near] = await tcpPair(t)
    const tunnel = await pool.connect({
      ...towards(to),
      headers: { baggage: 'k=v', 'x-long': 'v'.repeat(20_000) },
    })
    t.equal(tunnel.responseHeaders.get('baggage'), 'x=y')
    const forwarded = tunnel.forward(near, never)
    const bytes = noise(size)
    app.end(bytes)
    t.equal(sha(await readAll(app)), sha(bytes), `${size} bytes`)
    t.strictSame(await forwarded, { toApp: size, fromApp: size })
  }
})

t.test('node:http2 as client with the smallest window there is', async (t) => {
  const served = await serve(t, forwardTo(await echoServer(t)))
  const session = await oracleClient(t, served, { initialWindowSize: 1 })
  const stream = request(session)
  const bytes = noise(300)
  stream.end(bytes)
  t.equal(sha(await readAll(stream)), sha(bytes))
})

t.test('a hundred tunnels at once each keep their own bytes', async (t) => {
  const served = await serve(t, forwardTo(await echoServer(t)))
  const session = await oracleClient(t, served)
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const stream = request(session)
      const bytes = noise(10_000 + 997 * i)
      stream.end(bytes)
      if (sha(await readAll(stream)) !== sha(bytes)) t.fail(`tunnel ${i}`)
    }),
  )
  t.equal(served.tunnels.length, 100)
  await until(() => served.connections[0]?.tunnels === 0)
})

t.test('a peer that stops reading stops its application, and nobody else', async (t) => {
  const apps: Socket[] = []
  const source = await listen(t, (socket) => {
    apps.push(socket)
    const chunk = Buffer.alloc(1 << 20)
    const more = () => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', more)
    more()
  })
  const echoes = await echoServer(t)
  const served = await serve(t, (tunnel) => forwardTo(served.tunnels.length === 1 ? source : echoes)(tunnel))
  const session = await oracleClient(t, served)
  const deaf = request(session)
  await once(deaf, 'response')
  await until(() => apps.length === 1)
  let before = -1
  await until(() => {
    const now = apps[0]?.bytesWritten ?? 0
    const still = now === before && now > 0
    before = now
    return still
  })
  const other = request(session)
  other.end('still here')
  t.equal((await readAll(other)).toString(), 'still here')
  t.ok(apps[0] && apps[0].writableLength > 0, 'the source is held back')
})

t.test('an application that stops reading holds back its peer, and nobody else', async (t) => {
  const apps: Socket[] = []
  const sink = await listen(t, (socket) => void apps.push(socket.pause()))
  const echoes = await echoServer(t)
  const served = await serve(t, (tunnel) => forwardTo(served.tunnels.length === 1 ? sink : echoes)(tunnel))
  const session = await oracleClient(t, served)
  const pushing = request(session)
  await once(pushing, 'response')
  const bytes = noise(40 << 20)
  pushing.end(bytes)
  await until(() => apps.length === 1)
  const other = request(session)
  other.end('still here')
  t.equal((await readAll(other)).toString(), 'still here')
  t.ok(pushing.writableLength > 0, 'the peer has to wait')
  const [app] = apps
  if (!app) return t.fail('no application')
  t.equal(sha(await readAll(app)), sha(bytes), 'and nothing is lost')
})

t.test('RST_STREAM from the peer ends the application, and a reset application the stream', async (t) => {
  const apps: Socket[] = []
  const held = await listen(t, (socket) => {
    apps.push(socket)
    socket.resume()
  })
  const served = await serve(t, forwardTo(held))
  const session = await oracleClient(t, served)
  const first = request(session)
  await once(first, 'response')
  await until(() => apps.length === 1)
  first.close(8)
  const [app] = apps
  if (!app) return t.fail('no application')
  await once(app, 'end')
  const second = request(session)
  await once(second, 'response')
  await until(() => apps.length === 2)
  second.on('error', () => undefined)
  const closed = new Promise((done) => second.once('close', done))
  apps[1]?.resetAndDestroy()
  await closed
  t.equal(second.rstCode, 5, 'STREAM_CLOSED, which ztunnel reads as a broken pipe')
  await until(() => served.connections[0]?.tunnels === 0)
  t.notOk(session.destroyed)
})

t.test('a refusal has no body and leaves the connection alone', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.refuse(tunnel.authority === '10.0.0.1:80' ? 503 : 400))
  const session = await oracleClient(t, served)
  const stream = request(session)
  const [answer] = await once(stream, 'response')
  t.equal(answer[':status'], 503)
  t.equal((await readAll(stream)).length, 0)
  const get = session.request({ ':path': '/' })
  get.on('error', () => undefined)
  const [other] = await once(get, 'response')
  t.equal(other[':status'], 400)
  t.equal(served.tunnels[1]?.method, 'GET')
})

t.test('drain: GOAWAY at once, open tunnels to their end, then the connection closes', async (t) => {
  const served = await serve(t, echo)
  const session = await oracleClient(t, served)
  const stream = request(session)
  await once(stream, 'response')
  const goaway = once(session, 'goaway')
  served.connections[0]?.drain()
  t.equal((await goaway)[0], 0)
  stream.end('late')
  t.equal((await readAll(stream)).toString(), 'late')
  t.strictSame(await served.connections[0]?.closed, {})
})

t.test('GOAWAY from a server: open tunnels go on, new ones take another connection', async (t) => {
  const to = await oracleServer(t, respondAndEcho)
  const sessions: { goaway(): void }[] = []
  to.server.on('session', (session) => void sessions.push(session))
  const pool = poolOf(t)
  const first = (await pool.connect(towards(to))).duplex()
  sessions[0]?.goaway()
  await until(() => pool.connections === 0)
  const second = (await pool.connect(towards(to))).duplex()
  t.equal(sessions.length, 2)
  first.end('one')
  second.end('two')
  t.equal((await readAll(first)).toString(), 'one')
  t.equal((await readAll(second)).toString(), 'two')
})
