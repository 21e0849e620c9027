import { once } from 'node:events'
import t from 'tap'
import { MeshError } from '#base'
import { serveHbone } from '#hbone'
import {
  dial,
  echo,
  idOf,
  listen,
  never,
  noise,
  poolOf,
  readAll,
  serve,
  server,
  sha,
  tcpPair,
  towards,
  until,
} from './support.ts'

t.test('a tunnel carries bytes both ways and knows its peers', async (t) => {
  const served = await serve(t, (tunnel) => {
    tunnel.accept({ baggage: 'a=b' })
    const stream = tunnel.duplex()
    stream.pipe(stream)
  })
  const tunnel = await poolOf(t).connect({
    ...towards(served.address),
    headers: { forwarded: 'for="1.2.3.4:5"' },
  })
  t.equal(tunnel.peer, server.id)
  t.equal(tunnel.responseHeaders.get('baggage'), 'a=b')
  const stream = tunnel.duplex()
  stream.end('hello')
  t.equal((await readAll(stream)).toString(), 'hello')
  const [inbound] = served.tunnels
  t.equal(inbound?.peer, idOf('client'))
  t.equal(inbound?.method, 'CONNECT')
  t.equal(inbound?.authority, '10.0.0.1:80')
  t.equal(inbound?.headers.get('forwarded'), 'for="1.2.3.4:5"')
})

t.test('forwarded connections keep every byte in both directions at once', async (t) => {
  const sink = await listen(t, (socket) => void socket.pipe(socket))
  const results: unknown[] = []
  const served = await serve(t, (tunnel) => {
    void dial(sink).then(async (app) => {
      tunnel.accept()
      results.push(await tunnel.forward(app, never))
    })
  })
  const pool = poolOf(t)
  const sizes = [1, 16_384, 300_000, 5_000_000, 12_000_000, 3, 700_001]
  await Promise.all(
    sizes.map(async (size) => {
      const [app, near] = await tcpPair(t)
      const tunnel = await pool.connect(towards(served.address))
      const forwarded = tunnel.forward(near, never)
      const bytes = noise(size)
      app.end(bytes)
      t.equal(sha(await readAll(app)), sha(bytes), `${size} bytes`)
      t.strictSame(await forwarded, { toApp: size, fromApp: size })
    }),
  )
  await until(() => results.length === sizes.length)
  t.equal(pool.connections, 1, 'all on one connection')
})

t.test('either side may end first and still be answered', async (t) => {
  const [appFar, far] = await tcpPair(t)
  const [appNear, near] = await tcpPair(t)
  const served = await serve(t, (tunnel) => {
    tunnel.accept()
    void tunnel.forward(far, never)
  })
  const tunnel = await poolOf(t).connect(towards(served.address))
  const forwarded = tunnel.forward(near, never)
  appFar.end('server first')
  t.equal((await readAll(appNear)).toString(), 'server first')
  appNear.end('client later')
  t.equal((await readAll(appFar)).toString(), 'client later')
  t.strictSame(await forwarded, { toApp: 12, fromApp: 12 })
})

t.test('a refusal is an error with its status, and no connection is lost', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.refuse(401))
  const pool = poolOf(t)
  for (let i = 0; i < 3; i++) {
    const error: unknown = await pool.connect(towards(served.address)).catch((e: unknown) => e)
    t.ok(error instanceof MeshError && error.code === 'http-status')
    t.match(String(error), 'http status: 401')
  }
  t.equal(served.connections.length, 1)
})

t.test('aborting a forward resets its application and ends the tunnel', async (t) => {
  const served = await serve(t, echo)
  const [app, near] = await tcpPair(t)
  const tunnel = await poolOf(t).connect(towards(served.address))
  const stop = new AbortController()
  const forwarded = tunnel.forward(near, stop.signal)
  app.write('x')
  await once(app, 'data')
  const reason = new Error('closed due to policy change')
  stop.abort(reason)
  t.strictSame(await forwarded, { toApp: 1, fromApp: 1, error: reason })
  await t.rejects(once(app, 'end'), { code: 'ECONNRESET' })
  await until(() => served.connections[0]?.tunnels === 0)
})

t.test('an application that ended before the forward began is ended at the other side', async (t) => {
  const served = await serve(t, echo)
  const [app, near] = await tcpPair(t)
  app.end()
  await once(near, 'end')
  const tunnel = await poolOf(t).connect(towards(served.address))
  t.strictSame(await tunnel.forward(near, never), { toApp: 0, fromApp: 0 })
})

t.test('a socket that is gone before the handshake, or before the forward, harms nobody', async (t) => {
  const [, gone] = await tcpPair(t)
  gone.destroy()
  await once(gone, 'close')
  const connection = serveHbone(gone, { certificate: server, onTunnel() {}, signal: never })
  t.match((await connection.closed).error, { code: 'tls-failed' })
  const served = await serve(t, echo)
  const tunnel = await poolOf(t).connect(towards(served.address))
  t.strictSame(await tunnel.forward(gone, never), { toApp: 0, fromApp: 0 })
  await until(() => served.connections[0]?.tunnels === 0)
})

t.test('a tunnel that its peer gave up before the answer ends its forward', async (t) => {
  const served = await serve(t, () => undefined)
  const [app, near] = await tcpPair(t)
  const stop = new AbortController()
  const pending = poolOf(t).connect({ ...towards(served.address), signal: stop.signal })
  await until(() => served.tunnels.length === 1)
  stop.abort(new Error('left'))
  await t.rejects(pending, { message: 'left' })
  await until(() => served.connections[0]?.tunnels === 0)
  const [inbound] = served.tunnels
  inbound?.accept()
  t.strictSame(await inbound?.forward(near, never), { toApp: 0, fromApp: 0 })
  t.equal((await readAll(app)).length, 0)
})
