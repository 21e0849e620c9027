import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import t from 'tap'
import { type Exchange, HeaderList, type HttpVersion } from '#http'
import { until } from '../../fakes/until.ts'
import { ask, dial, raw, serve } from './support.ts'

const answer = (exchange: Exchange, text: string): void => {
  const bytes = Buffer.from(text)
  const headers = HeaderList.of({ 'content-length': `${bytes.length}` })
  const writer = exchange.respond({ status: 200, headers }, 'follows')
  writer.write(bytes, 0, bytes.length)
  writer.end()
}

t.test('pipelined requests are answered one after the other, in their order', async (t) => {
  const open: Exchange[] = []
  const served = await serve(t, 'HTTP/1.1', (exchange) => open.push(exchange))
  const socket = await dial(served.port)
  let text = ''
  socket.on('data', (part: Buffer) => (text += part.toString()))
  socket.write(
    'GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nhost: x\r\n\r\n',
  )
  for (const n of [1, 2, 3]) {
    await until(() => open.length === n, `request ${n}`)
    t.equal(open.length, n, 'one at a time')
    const [last] = open.slice(-1)
    last?.body.discard()
    if (n === 2) await until(() => last?.marks.requestEndedAt !== 0, 'its body has ended')
    if (last) answer(last, `${n}`)
    await until(() => text.endsWith(`\r\n\r\n${n}`), `answer ${n}`)
  }
  t.strictSame(
    open.map(({ request }) => request.path),
    ['/1', '/2', '/3'],
  )
  t.strictSame(await Promise.all(open.map(({ ended }) => ended)), Array(3).fill({ kind: 'complete' }))
  socket.destroy()
  await until(() => served.ends.length === 1, 'the connection is over')
})

t.test('a head that does not come to its end is not waited for', async (t) => {
  const served = await serve(t, 'HTTP/1.1', () => t.fail('no request'), { headMs: 30, lingerMs: 10 })
  t.match(await raw(served.port, 'GET / HTTP/1.1\r\nhost:'), /^HTTP\/1.1 408 [^]*connection: close\r\n\r\n$/)
  await until(() => served.ends.length === 1, 'the connection is over')
})

t.test('a connection that nobody uses is closed', async (t) => {
  const served = await serve(t, 'HTTP/1.1', (exchange) => answer(exchange, 'a'), { idleMs: 50, lingerMs: 10 })
  t.equal(await raw(served.port, ''), '')
  t.match(await raw(served.port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'), /^HTTP\/1.1 200 [^]*\r\n\r\na$/)
})

t.test('a client that drains was not told of is answered once more, and then knows', async (t) => {
  const open: Exchange[] = []
  const served = await serve(t, 'HTTP/1.1', (exchange) => open.push(exchange), { lingerMs: 50 })
  const socket = await dial(served.port)
  let text = ''
  socket.on('data', (part: Buffer) => (text += part.toString()))
  const request = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'
  socket.write(request)
  await until(() => open.length === 1, 'the request')
  const headers = HeaderList.of({ 'content-length': '1' })
  const writer = open[0]?.respond({ status: 200, headers }, 'follows')
  served.connections[0]?.drain()
  writer?.write(Buffer.from('a'), 0, 1)
  writer?.end()
  await until(() => text.endsWith('a'), 'an answer that began before')
  t.notMatch(text, /connection: close/)
  t.equal(served.ends.length, 0, 'the connection is kept')
  text = ''
  socket.write(request)
  await until(() => open.length === 2, 'another request')
  if (open[1]) answer(open[1], 'b')
  await until(() => text.endsWith('b'), 'its answer')
  t.match(text, /connection: close/)
  await until(() => served.ends.length === 1, 'the connection is over')
  socket.destroy()
})

t.test('a connection that nobody uses ends a while after the draining began', async (t) => {
  const served = await serve(t, 'HTTP/1.1', () => t.fail('no request'), { lingerMs: 10, drainIdleMs: 50 })
  const socket = await dial(served.port)
  await until(() => served.connections.length === 1, 'the connection')
  served.connections[0]?.drain()
  await once(socket.resume(), 'end')
  socket.end()
  await until(() => served.ends.length === 1, 'it is over')
})

for (const version of ['HTTP/1.1', 'HTTP/2'] satisfies readonly HttpVersion[]) {
  t.test(`${version}: draining lets what is open end, and takes no more`, async (t) => {
    const open: Exchange[] = []
    const served = await serve(t, version, (exchange) => open.push(exchange), { lingerMs: 50 })
    let text = ''
    if (version === 'HTTP/1.1') {
      const agent = new http.Agent({ keepAlive: true })
      t.teardown(() => agent.destroy())
      const told = ask(served.port, { agent })
      await until(() => open.length === 1, 'the request')
      served.connections[0]?.drain()
      if (open[0]) answer(open[0], 'done')
      const got = await told
      t.equal(got.headers.connection, 'close')
      text = got.body.toString()
    } else {
      const session = http2.connect(`http://127.0.0.1:${served.port}`)
      const goaway = once(session, 'goaway')
      const stream = session.request({ ':path': '/' })
      await until(() => open.length === 1, 'the request')
      served.connections[0]?.drain()
      await goaway
      if (open[0]) answer(open[0], 'done')
      for await (const part of stream) text += String(part)
    }
    t.equal(text, 'done')
    await until(() => served.ends.length === 1, 'the connection is over')
    t.strictSame(served.ends, [
      version === 'HTTP/1.1' ? { error: undefined, fault: undefined } : { error: undefined },
    ])
  })

  t.test(`${version}: a body shorter or longer than its length is broken, not whole`, async (t) => {
    const bytes = Buffer.from('abcdef')
    const lengths = [3, 9]
    const ends: unknown[] = []
    const served = await serve(t, version, (exchange) => {
      const headers = HeaderList.of({ 'content-length': exchange.request.path.slice(1) })
      const writer = exchange.respond({ status: 200, headers }, 'follows')
      writer.write(bytes, 0, bytes.length)
      writer.end()
      void exchange.ended.then((end) => ends.push(end))
    })
    for (const length of lengths) {
      const path = `/${length}`
      if (version === 'HTTP/1.1') await t.rejects(ask(served.port, { path }))
      else {
        const session = http2.connect(`http://127.0.0.1:${served.port}`)
        const stream = session.request({ ':path': path })
        stream.resume()
        await t.rejects(once(stream, 'end'))
        session.destroy()
      }
    }
    await until(() => ends.length === 2, 'both are over')
    t.match(ends, Array(2).fill({ kind: 'broken', by: 'local', reason: 'protocol-error' }))
  })

  t.test(`${version}: a fault of whoever answers ends its connection and no other`, async (t) => {
    const served = await serve(t, version, (exchange) => {
      if (exchange.request.path === '/bug') throw new TypeError('a bug')
      answer(exchange, 'fine')
    })
    if (version === 'HTTP/1.1') {
      await t.rejects(ask(served.port, { path: '/bug' }))
      t.match(await ask(served.port), { status: 200 })
    } else {
      const session = http2.connect(`http://127.0.0.1:${served.port}`)
      session.on('error', () => undefined)
      const stream = session.request({ ':path': '/bug' })
      stream.on('error', () => undefined)
      await new Promise<void>((done) => session.once('close', () => done()))
    }
    await until(() => served.ends.length === 1, 'the connection is over')
    t.match(served.ends, [{ error: { message: 'a bug' } }])
  })
}

t.test('a slow reader gets all of the last answer of a connection', async (t) => {
  const piece = Buffer.alloc(64 << 10, 'x')
  const pieces = 256
  const served = await serve(
    t,
    'HTTP/1.1',
    (exchange) => {
      const writer = exchange.respond({ status: 200, headers: new HeaderList() }, 'follows')
      let left = pieces
      const more = () => {
        while (left-- > 0) if (!writer.write(piece, 0, piece.length)) return
        writer.end()
      }
      writer.use({ drained: more, stopped: () => t.fail('stopped') })
      more()
    },
    { lingerMs: 5 },
  )
  const socket = await dial(served.port)
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  let bytes = 0
  let last = ''
  for await (const part of socket as AsyncIterable<Buffer>) {
    bytes += part.length
    last = part.toString('latin1', Math.max(0, part.length - 5))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  t.ok(bytes > pieces * piece.length, `${bytes} bytes`)
  t.equal(last, '0\r\n\r\n')
})

t.test('what rules set cannot add lines', (t) => {
  const headers = new HeaderList()
  for (const [name, value] of [
    ['x', 'a\r\nb: c'],
    ['x', 'a\nb'],
    ['x', 'a\0b'],
    ['x', ' a'],
    ['x', 'ƀ'],
    ['x y', 'a'],
    ['x\r\n', 'a'],
    ['X', 'a'],
    ['', 'a'],
    [':path', 'a'],
  ] as const) {
    t.throws(() => headers.set(name, value), { code: 'bad-request' }, JSON.stringify([name, value]))
    t.throws(() => headers.add(name, value), { code: 'bad-request' })
  }
  headers.add('a', '1')
  headers.add('b', '2')
  headers.add('a', '3')
  t.equal(headers.joined('a'), '1,3')
  headers.set('a', '4')
  t.strictSame(
    [...headers],
    [
      ['a', '4'],
      ['b', '2'],
    ],
  )
  headers.delete('b')
  t.strictSame([headers.size, headers.has('b'), headers.all('a')], [1, false, ['4']])
  t.end()
})
