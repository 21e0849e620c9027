import { once } from 'node:events'
import { connect as tlsConnect, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { ip, MeshError, sleep, type SocketAddress } from '#base'
import { HbonePool, type InboundTunnel } from '#hbone'
import {
  certificateOf,
  client,
  dial,
  echo,
  idOf,
  never,
  poolOf,
  readAll,
  root,
  serve,
  server,
  tcpPair,
  towards,
  until,
} from './support.ts'
import { unsentBudget } from '../../../lib/hbone/memory.ts'
import { errorCode } from '../../../lib/hbone/frames.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { frame, headers, hello, parseFrames, rst, type, windowUpdate } from './frames.ts'

const accept = (tunnel: InboundTunnel) => tunnel.accept()
const codeOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))

t.test('however many come first, one connection is dialled', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t)
  let dials = 0
  const tunnels = await Promise.all(
    Array.from({ length: 50 }, () =>
      pool.connect({ ...towards(served.address), dial: () => (dials++, dial(served.address)) }),
    ),
  )
  t.equal(dials, 1)
  t.equal(tunnels.length, 50)
  t.equal(served.connections.length, 1)
})

t.test('as many come first as a connection takes, with headers as long as names may be', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.accept({ baggage: 'y'.repeat(1_000) }))
  const pool = poolOf(t)
  const headers = { baggage: 'x'.repeat(2_000) }
  const open = () => pool.connect({ ...towards(served.address), headers })
  const results = await Promise.allSettled(Array.from({ length: 100 }, open))
  t.strictSame(
    results.filter(({ status }) => status === 'rejected'),
    [],
  )
  t.equal(served.connections.length, 1)
})

t.test('a full connection is found again when it has room', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t, { maxPooledStreams: 2 })
  const open = () => pool.connect(towards(served.address))
  const [first, , third] = await Promise.all([open(), open(), open()])
  t.equal(pool.connections, 2)
  await open()
  first.reset()
  third.reset()
  await until(() => served.connections.every(({ tunnels }) => tunnels === 1))
  await Promise.all([open(), open()])
  t.equal(pool.connections, 2, 'no third connection')
  t.strictSame(
    served.connections.map(({ tunnels }) => tunnels),
    [2, 2],
  )
})

t.test("the peer's own limit is honoured", async (t) => {
  const served = await serve(t, accept, { maxStreams: 3 })
  const pool = poolOf(t)
  for (let i = 0; i < 7; i++) await pool.connect(towards(served.address))
  t.equal(served.connections.length, 3)
  t.strictSame(
    served.connections.map(({ tunnels }) => tunnels),
    [3, 3, 1],
  )
})

t.test('no part of the key may differ on a shared connection', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t)
  const base = towards(served.address)
  const other = certificateOf(idOf('other'))
  await pool.connect(base)
  await pool.connect({ ...base, key: { ...base.key, sourceIp: '127.0.0.2' } })
  await pool.connect(towards(served.address, other))
  await pool.connect(towards(served.address, client, [server.id, idOf('another')]))
  t.equal(pool.connections, 4)
  await pool.connect(towards(served.address, client, [idOf('another'), server.id]))
  t.equal(pool.connections, 4, 'the order of the expected identities is no difference')
  t.strictSame(
    served.connections.map(({ peer }) => peer),
    [client.id, client.id, other.id, client.id],
  )
})

t.test('a failed dial is told to those who waited for it, and to nobody later', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t)
  let dials = 0
  const broken = {
    ...towards(served.address),
    dial: async () => {
      dials++
      throw new MeshError('network-policy', { unsent: true })
    },
  }
  const results = await Promise.allSettled([pool.connect(broken), pool.connect(broken)])
  t.strictSame(
    results.map((one) => one.status === 'rejected' && codeOf(one.reason)),
    ['network-policy', 'network-policy'],
  )
  t.equal(dials, 1)
  t.ok(await pool.connect(towards(served.address)))
})

t.test('a waiter may leave; the last one to leave stops the dial', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t)
  let dialSignal: AbortSignal | undefined
  const slow = {
    ...towards(served.address),
    dial: async (signal: AbortSignal) => {
      dialSignal = signal
      await sleep(60_000, signal)
      throw new Error('slept')
    },
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const first = pool.connect({ ...slow, signal: one.signal })
  const second = pool.connect({ ...slow, signal: two.signal })
  await until(() => dialSignal !== undefined)
  one.abort(new Error('left'))
  await t.rejects(first, { message: 'left' })
  t.equal(dialSignal?.aborted, false)
  two.abort(new Error('left too'))
  await t.rejects(second, { message: 'left too' })
  t.equal(dialSignal?.aborted, true)
})

t.test('a CONNECT that nobody answers times out and leaves the connection alone', async (t) => {
  const served = await serve(t, (tunnel) => served.tunnels.length > 1 && tunnel.accept())
  const pool = poolOf(t, { answerMs: 2_500 })
  const error: unknown = await pool.connect(towards(served.address)).catch((e: unknown) => e)
  t.equal(codeOf(error), 'timeout')
  t.ok(await pool.connect(towards(served.address)))
  t.equal(served.connections.length, 1)
})

t.test('a connection that dies takes its tunnels with it, and the next one is new', async (t) => {
  const served = await serve(t, echo)
  const pool = poolOf(t)
  const sockets: { destroy(): void }[] = []
  const tracked = {
    ...towards(served.address),
    dial: async () => {
      const socket = await dial(served.address)
      sockets.push(socket)
      return socket
    },
  }
  const stream = (await pool.connect(tracked)).duplex()
  const failed = new Promise((resolve) => stream.once('error', resolve))
  sockets[0]?.destroy()
  t.equal(codeOf(await failed), 'h2-failed')
  t.ok(await pool.connect(tracked))
  t.equal(sockets.length, 2)
})

t.test('disposing a pool ends everything that it carries', async (t) => {
  const served = await serve(t, echo)
  const pool = new HbonePool({ signal: never })
  const stream = (await pool.connect(towards(served.address))).duplex()
  stream.on('error', () => undefined)
  const closed = new Promise((resolve) => stream.once('close', resolve))
  await pool[Symbol.asyncDispose]()
  await closed
  await served.connections[0]?.closed
  const error: unknown = await pool.connect(towards(served.address)).catch((e: unknown) => e)
  t.equal(codeOf(error), 'draining')
})

t.test('a connection without new tunnels is released when its last tunnel ends', async (t) => {
  const served = await serve(t, echo)
  const pool = poolOf(t, { unusedReleaseMs: 400 })
  const stream = (await pool.connect(towards(served.address))).duplex()
  await until(() => pool.connections === 0)
  stream.end('still alive')
  t.equal((await readAll(stream)).toString(), 'still alive')
  t.strictSame(await served.connections[0]?.closed, {})
})

t.test('of the connections without a tunnel only so many stay, the last used ones', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t, { maxUnused: 4 })
  const { key, ...rest } = towards(served.address)
  const open = (n: number) => pool.connect({ ...rest, key: { ...key, sourceIp: `127.0.1.${n}` } })
  await open(0)
  for (let n = 1; n <= 40; n++) {
    const tunnel = await open(n)
    tunnel.reset()
    t.ok(pool.connections <= 10, `${pool.connections} connections`)
  }
  const dialled = served.connections.length
  await open(40)
  t.equal(served.connections.length, dialled, 'the last one is found again')
  await open(0)
  t.equal(served.connections.length, dialled, 'and the one that had a tunnel all the time')
})

t.test('a connection may stay unused for longer than a timer takes', async (t) => {
  const served = await serve(t, accept)
  const warnings: string[] = []
  const onWarning = ({ name }: Error) => void warnings.push(name)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const pool = poolOf(t, { unusedReleaseMs: 20_000 * 3_600_000 })
  await pool.connect(towards(served.address))
  t.same(warnings, [])
})

/** A peer that speaks TLS and sends whatever it likes. */
async function rawPeer(t: Test, { address, port }: SocketAddress): Promise<TLSSocket> {
  const socket = tlsConnect({
    host: address,
    port,
    key: client.privateKeyPem,
    cert: client.chainPem[0] ?? '',
    ca: root.certPem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  })
  socket.on('error', () => undefined)
  t.teardown(() => void socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

t.test('a peer that answers PING stays, one that falls silent does not', async (t) => {
  const limits = { pingIdleMs: 50, pingTimeoutMs: 4_000 }
  const served = await serve(t, accept, limits)
  await poolOf(t).connect(towards(served.address))
  const mute = await rawPeer(t, served.address)
  mute.write(hello)
  mute.resume()
  await until(() => served.connections.length === 2)
  t.match((await served.connections[1]?.closed)?.error, { code: 'timeout' })
  t.equal(served.connections[0]?.tunnels, 1)
})

t.test('a peer that asks for answers and does not read them is cut off', async (t) => {
  const served = await serve(t, accept, { maxControlFrames: 1_000_000 })
  const greedy = await rawPeer(t, served.address)
  const ping = frame(type.ping, 0, 0, Buffer.alloc(8))
  const pings = Buffer.concat([hello, ...Array.from({ length: 200_000 }, () => ping)])
  for (let i = 0; i < 4; i++) greedy.write(i === 0 ? pings : pings.subarray(hello.length))
  t.match((await served.connections[0]?.closed)?.error, { message: 'peer does not read' })
})

t.test('a CONNECT that was answered is not sent again, whatever comes after the answer', async (t) => {
  const refusal = hpackEncode([[':status', '503']])
  const asked: number[] = []
  const credentials = { key: server.privateKeyPem, cert: server.chainPem[0] ?? '', ca: root.certPem }
  const listener = createTlsServer({ ...credentials, requestCert: true, ALPNProtocols: ['h2'] }, (socket) => {
    socket.on('error', () => undefined)
    t.teardown(() => void socket.destroy())
    socket.write(frame(type.settings, 0, 0, Buffer.alloc(0)))
    socket.on('data', (bytes: Buffer) => {
      for (const { type: kind, id } of parseFrames(bytes)) {
        if (kind !== type.headers) continue
        asked.push(id)
        socket.write(Buffer.concat([headers(id, 0, refusal), rst(id, errorCode.refusedStream)]))
      }
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => void listener.close())
  const bound = listener.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  const error: unknown = await poolOf(t)
    .connect(towards({ address: ip('127.0.0.1'), port }))
    .catch((e: unknown) => e)
  t.match(error, { code: 'http-status', cause: { status: 503 } })
  t.strictSame(asked, [1])
})

t.test('what waits for a peer with small frames that does not read is accounted for', async (t) => {
  const [app, flood] = await tcpPair(t)
  flood.on('error', () => undefined)
  flood.write(Buffer.alloc(64 << 20))
  const served = await serve(t, (tunnel) => {
    tunnel.accept()
    void tunnel.forward(app, never)
  })
  const peer = await rawPeer(t, served.address)
  const wide = frame(type.settings, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]))
  peer.write(Buffer.concat([hello, wide, windowUpdate(0, 0x7000_0000), headers(1)]))
  peer.pause()
  await until(() => unsentBudget.used > 16 << 10)
  peer.destroy()
  await until(() => unsentBudget.used === 0)
})

t.test('those who come after a dial was given up wait for another', async (t) => {
  const served = await serve(t, accept)
  const pool = poolOf(t)
  const held = Promise.withResolvers<void>()
  const stop = new AbortController()
  const first = pool.connect({
    ...towards(served.address),
    // A dial that takes its time to notice that nobody wants it any more.
    dial: () => held.promise.then(() => dial(served.address)),
    signal: stop.signal,
  })
  stop.abort(new Error('left'))
  await t.rejects(first, { message: 'left' })
  t.ok(await pool.connect(towards(served.address)))
  held.resolve()
})

t.test('a crowd that a connection has no room for waits for the next, in its order', async (t) => {
  const served = await serve(t, accept, { maxStreams: 5 })
  const pool = poolOf(t, { maxPooledStreams: 5 })
  const order: number[] = []
  await Promise.all(
    Array.from({ length: 23 }, async (_, i) => {
      await pool.connect(towards(served.address))
      order.push(i)
    }),
  )
  t.equal(served.connections.length, 5)
  t.strictSame(
    order,
    order.toSorted((a, b) => a - b),
  )
})
