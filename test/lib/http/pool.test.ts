import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Body, HttpPool, type PoolDestination, type SendOutcome } from '#http'
import { until } from '../../fakes/until.ts'
import { destinationOf, get, listen, told } from './support.ts'

const poolOf = (t: Test): HttpPool => {
  const pool = new HttpPool()
  t.teardown(() => pool.close())
  return pool
}

const send = (pool: HttpPool, to: PoolDestination, path = '/', signal = new AbortController().signal) =>
  pool.send(to, get(path), undefined, { signal })

/** An origin that answers when it is told to. */
async function patient(t: Test) {
  const waiting: (() => void)[] = []
  const sockets = new Set<Socket>()
  const server = http.createServer((request, response) => {
    waiting.push(() => response.end(request.url))
  })
  server.on('connection', (socket: Socket) => sockets.add(socket))
  const port = await listen(t, server)
  const arrived = (n: number) => until(() => waiting.length >= n, `${n} requests have arrived`)
  return { port, waiting, sockets, arrived, answer: () => waiting.shift()?.() }
}

t.test('what a policy has no room for is refused, and nothing of it sent', async (t) => {
  const origin = await patient(t)
  const pool = poolOf(t)
  const to = destinationOf(origin.port, 'HTTP/1.1', { maxConnections: 1, maxPending: 1, maxRequests: 3 })
  const first = send(pool, to, '/1')
  await origin.arrived(1)
  const second = send(pool, to, '/2')
  t.match(await send(pool, to, '/3'), { kind: 'failure', reason: 'pool-overflow', sent: false }, 'pending')
  t.strictSame(pool.use('group'), { connections: 1, pending: 1, requests: 2 })
  const tight = { ...to, policy: { ...to.policy, maxPending: 10, maxRequests: 2 } }
  t.match(await send(pool, tight), { kind: 'failure', reason: 'pool-overflow', sent: false }, 'requests')
  origin.answer()
  t.equal(await told(await first), '/1')
  await origin.arrived(1)
  origin.answer()
  t.equal(await told(await second), '/2', 'who waited is served by the same connection')
  t.equal(origin.sockets.size, 1)
  t.strictSame(pool.use('group'), { connections: 1, pending: 0, requests: 0 })
})

t.test('a destination without a connection may open one, however many others have', async (t) => {
  const [one, two] = [await patient(t), await patient(t)]
  const pool = poolOf(t)
  const answers = [one, two].map(({ port }) =>
    send(pool, destinationOf(port, 'HTTP/1.1', { maxConnections: 1 })),
  )
  await Promise.all([one.arrived(1), two.arrived(1)])
  one.answer()
  two.answer()
  for (const answer of answers) t.equal(await told(await answer), '/')
})

t.test('all that wait hear at once that there is no connection', async (t) => {
  const pool = poolOf(t)
  // Timeouts alone keep no process alive.
  const { port } = await patient(t)
  const refusing = { ...destinationOf(1, 'HTTP/2'), dial: () => Promise.reject(new Error('no')) }
  const answers = await Promise.all([send(pool, refusing), send(pool, refusing), send(pool, refusing)])
  for (const answer of answers) t.match(answer, { reason: 'connect-failure', sent: false })
  const silent: PoolDestination = {
    ...destinationOf(port, 'HTTP/1.1', { connectMs: 10 }),
    key: 'silent',
    dial: (signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  }
  t.match(await send(pool, silent), { reason: 'connect-timeout', sent: false })
  t.strictSame(pool.use('group'), { connections: 0, pending: 0, requests: 0 })
})

t.test('who leaves while waiting is not served, and makes room', async (t) => {
  const origin = await patient(t)
  const pool = poolOf(t)
  const to = destinationOf(origin.port, 'HTTP/1.1', { maxConnections: 1, maxPending: 1 })
  const first = send(pool, to, '/1')
  await origin.arrived(1)
  const leaving = new AbortController()
  const second = send(pool, to, '/2', leaving.signal)
  leaving.abort(new Error('enough'))
  t.match(await second, { reason: 'local-reset', sent: false })
  const third = send(pool, to, '/3')
  origin.answer()
  await told(await first)
  await origin.arrived(1)
  origin.answer()
  t.equal(await told(await third), '/3')
})

t.test('a connection ends after its share of requests, and when nobody has used it for long', async (t) => {
  let connections = 0
  const server = http.createServer((request, response) => response.end(request.url))
  server.on('connection', () => connections++)
  const port = await listen(t, server)
  const pool = poolOf(t)
  const two = destinationOf(port, 'HTTP/1.1', { maxRequestsPerConnection: 2 })
  for (const path of ['/1', '/2', '/3', '/4']) t.equal(await told(await send(pool, two, path)), path)
  t.equal(connections, 2)
  await until(() => pool.use('group').connections === 0, 'both have been closed')
  const brief = destinationOf(port, 'HTTP/1.1', { idleMs: 10 })
  await told(await send(pool, brief))
  await until(() => pool.use('group').connections === 0, 'an idle one is closed')
})

t.test('a connection that is old enough takes no more requests, but ends the one that it has', async (t) => {
  const origin = await patient(t)
  const pool = poolOf(t)
  const to = destinationOf(origin.port, 'HTTP/1.1', { maxConnectionMs: 20, idleMs: 0 })
  const first = send(pool, to, '/1')
  await origin.arrived(1)
  await delay(60)
  t.equal([...origin.sockets].filter((socket) => !socket.destroyed).length, 1, 'it is busy')
  origin.answer()
  t.equal(await told(await first), '/1')
  await until(() => pool.use('group').connections === 0, 'it is closed then')
})

t.test('a connection may be kept for ever', async (t) => {
  const server = http.createServer((request, response) => response.end(request.url))
  const port = await listen(t, server)
  const pool = poolOf(t)
  await told(await send(pool, destinationOf(port, 'HTTP/1.1', { idleMs: 0 })))
  await delay(20)
  t.equal(pool.use('group').connections, 1)
})

t.test('a peer of HTTP/2 that is asked and says nothing is given up, one that answers is not', async (t) => {
  const server = http2.createServer()
  const asked: Buffer[] = []
  server.on('session', (session) => session.on('ping', (payload: Buffer) => void asked.push(payload)))
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 })
    stream.end('well')
  })
  const limits = { keepAliveMs: 20, keepAliveTimeoutMs: 5_000 }
  const pool = poolOf(t)
  const well = { ...destinationOf(await listen(t, server), 'HTTP/2', { idleMs: 0 }), limits }
  t.equal(await told(await send(pool, well)), 'well')
  await until(() => asked.length >= 3, 'it is asked again and again')
  t.equal(pool.use('group').connections, 1)
  const mute = createServer((socket) => void socket.on('error', () => undefined).resume())
  const silent = {
    ...destinationOf(await listen(t, mute), 'HTTP/2'),
    group: 'mute',
    limits: { keepAliveMs: 20, keepAliveTimeoutMs: 50 },
  }
  t.match(await send(pool, silent), { kind: 'failure', reason: 'connection-termination' })
  t.equal(pool.use('mute').connections, 0)
})

t.test('an answer that nobody has asked for reaches nobody', async (t) => {
  const answer = (text: string) => `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write(`${answer('mine')}${answer('poison')}`))
  })
  const to = destinationOf(await listen(t, server), 'HTTP/1.1')
  const pool = poolOf(t)
  t.equal(await told(await send(pool, to)), 'mine')
  await until(() => pool.use('group').connections === 0, 'the connection is given up')
  t.equal(await told(await send(pool, to)), 'mine')
  t.equal(sockets.length, 2)
})

t.test('an early answer ends the upload, and the connection with it', async (t) => {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno'))
  })
  const to = destinationOf(await listen(t, server), 'HTTP/1.1')
  const pool = poolOf(t)
  let discarded = false
  const endless: Body = {
    length: undefined,
    received: 0,
    read: (reader) => void reader.bytes(Buffer.from('some'), 0, 4),
    resume: () => undefined,
    discard: () => {
      discarded = true
    },
  }
  const signal = new AbortController().signal
  const outcome = await pool.send(to, { ...get(), method: 'POST' }, endless, { signal })
  t.match(outcome, { kind: 'response', response: { head: { status: 413 } } })
  t.equal(await told(outcome), 'no')
  t.ok(discarded, 'nobody reads the rest of the upload')
  await until(() => pool.use('group').connections === 0, 'the connection is not used again')
  t.equal(connections, 1)
})

t.test('requests share an HTTP/2 connection, up to what both ends allow', async (t) => {
  let connections = 0
  const waiting: (() => void)[] = []
  const server = http2.createServer({ settings: { maxConcurrentStreams: 3 } })
  server.on('session', () => connections++)
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    waiting.push(() => {
      stream.respond({ ':status': 200 })
      stream.end(headers[':path'])
    })
  })
  const pool = poolOf(t)
  const to = destinationOf(await listen(t, server), 'HTTP/2', { maxConcurrentStreams: 10 })
  // Until the settings are known nobody holds back: one request finds them out.
  const first = send(pool, to, '/first')
  await until(() => waiting.length === 1, 'the first has arrived')
  waiting.shift()?.()
  await told(await first)
  const answers = ['/1', '/2', '/3', '/4'].map((path) => send(pool, to, path))
  await until(() => waiting.length === 4, 'all have arrived')
  t.equal(connections, 2, 'the fourth has a connection of its own')
  for (const answer of waiting.splice(0)) answer()
  t.strictSame(await Promise.all(answers.map(async (one) => told(await one))), ['/1', '/2', '/3', '/4'])
  t.strictSame(pool.use('group'), { connections: 2, pending: 0, requests: 0 })
})

t.test('after a GOAWAY new requests go elsewhere, and those on their way end well', async (t) => {
  const sessions: http2.ServerHttp2Session[] = []
  const waiting: (() => void)[] = []
  const server = http2.createServer()
  server.on('session', (session) => sessions.push(session))
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    waiting.push(() => {
      stream.respond({ ':status': 200 })
      stream.end(headers[':path'])
    })
  })
  const pool = poolOf(t)
  const to = destinationOf(await listen(t, server), 'HTTP/2')
  const first = send(pool, to, '/1')
  await until(() => waiting.length === 1, 'the first has arrived')
  const [session] = sessions
  session?.close()
  // One that crosses the GOAWAY is refused unseen, so it may be sent again.
  const again = async (): Promise<SendOutcome> => {
    const outcome = await send(pool, to, '/2')
    return outcome.kind === 'failure' && !outcome.sent ? again() : outcome
  }
  const second = again()
  await until(() => waiting.length === 2, 'the second has arrived')
  t.equal(sessions.length, 2, 'on a connection of its own')
  for (const answer of waiting.splice(0)) answer()
  t.equal(await told(await first), '/1')
  t.equal(await told(await second), '/2')
})

t.test('a stream that was refused unseen says so', async (t) => {
  const server = http2.createServer()
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => undefined)
    stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
  })
  const pool = poolOf(t)
  const to = destinationOf(await listen(t, server), 'HTTP/2')
  t.match(await send(pool, to), { kind: 'failure', reason: 'refused-stream', sent: false })
})

t.test('closing a pool ends its connections', async (t) => {
  const origin = await patient(t)
  const pool = new HttpPool()
  const first = send(pool, destinationOf(origin.port, 'HTTP/1.1'))
  await origin.arrived(1)
  const [socket] = origin.sockets
  const broken = socket && t.rejects(once(socket, 'end'), { code: 'ECONNRESET' })
  pool.close()
  t.match(await first, { kind: 'failure', reason: 'local-reset' })
  await broken
  t.match(await send(pool, destinationOf(origin.port, 'HTTP/1.1')), { kind: 'failure' })
})

t.test(
  'a place that is left: idle connections close, busy ones after their answer, and new ones are made',
  async (t) => {
    const origin = await patient(t)
    const pool = poolOf(t)
    const to = { ...destinationOf(origin.port, 'HTTP/1.1'), place: 'here' }
    const other = { ...to, key: 'another way', place: 'elsewhere' }
    const begun = ['/1', '/2', '/3'].map((path, i) => send(pool, i === 2 ? other : to, path))
    await origin.arrived(3)
    origin.answer()
    t.equal(await told((await begun[0]) as SendOutcome), '/1')
    pool.drain('here')
    await until(() => pool.use('group').connections === 2, 'the idle one is closed')
    const third = send(pool, to, '/4')
    await origin.arrived(3)
    t.equal(origin.sockets.size, 4, 'one who comes back gets a connection of its own')
    for (let i = 0; i < 3; i++) origin.answer()
    t.strictSame(
      await Promise.all([...begun.slice(1), third].map(async (one) => told(await one))),
      ['/2', '/3', '/4'],
      'nobody on the way has lost anything',
    )
    await until(() => pool.use('group').connections === 2, 'the busy one has closed after its answer')
    const last = send(pool, other, '/5')
    await origin.arrived(1)
    origin.answer()
    t.equal(await told(await last), '/5')
    t.equal(origin.sockets.size, 4, 'other places keep theirs')
  },
)

t.test(
  'a connection that is being made when its place is left serves those that wait, and no others',
  async (t) => {
    const origin = await patient(t)
    const pool = poolOf(t)
    const opened = Promise.withResolvers<void>()
    const plain = destinationOf(origin.port, 'HTTP/1.1')
    const to: PoolDestination = { ...plain, dial: (...o) => opened.promise.then(() => plain.dial(...o)) }
    const first = send(pool, to, '/1')
    pool.drain(to.key)
    opened.resolve()
    await origin.arrived(1)
    origin.answer()
    t.equal(await told(await first), '/1')
    await until(() => pool.use('group').connections === 0, 'then it is closed')
  },
)

t.test('a connection whose carrier leaves takes no more requests, whenever it is told', async (t) => {
  const origin = await patient(t)
  const pool = poolOf(t)
  const plain = destinationOf(origin.port, 'HTTP/1.1')
  const leave: (() => void)[] = []
  const to: PoolDestination = {
    ...plain,
    dial: (signal, leaving) => {
      leave.push(leaving)
      // The second is told before it is there.
      if (leave.length === 2) leaving()
      return plain.dial(signal, leaving)
    },
  }
  const first = send(pool, to, '/1')
  await origin.arrived(1)
  leave[0]?.()
  const second = send(pool, to, '/2')
  await origin.arrived(2)
  origin.answer()
  origin.answer()
  t.equal(await told(await first), '/1', 'what is under way ends well')
  t.equal(await told(await second), '/2')
  await until(() => pool.use('group').connections === 0, 'both are closed')
  t.equal(leave.length, 2)
})
