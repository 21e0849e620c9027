import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import t, { type Test } from 'tap'
import { MeshError, type SocketAddress } from '#base'
import type { InboundTunnel } from '#hbone'
import { drainPing, errorCode } from '../../../lib/hbone/frames.ts'
import {
  block,
  type Frame,
  frame,
  headers,
  hello,
  none,
  parseFrames,
  peerOf,
  rst,
  type,
  u32,
  wants,
} from './frames.ts'
import { client, dial, echo, poolOf, readAll, root, serve, towards, until } from './support.ts'

const goaways = (frames: readonly Frame[]) =>
  frames.filter((one) => one.type === type.goaway).map(({ payload }) => payload.readUInt32BE())
const pinged = (frames: readonly Frame[]) =>
  frames.some((one) => one.type === type.ping && one.payload.equals(drainPing))
const codeOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))

t.test(
  'a server that leaves takes what was on the way, and says then which stream was the last',
  async (t) => {
    const peer = peerOf('server')
    peer.feed(hello, headers(1))
    peer.connection.goaway()
    const first = peer.feed()
    t.strictSame(goaways(first), [0x7fff_ffff])
    t.ok(pinged(first))
    peer.feed(headers(3))
    t.equal(peer.streams.length, 2, 'a CONNECT that crossed the GOAWAY is served')
    t.ok(peer.connection.leaving)
    t.strictSame(goaways(peer.feed(frame(type.ping, 1, 0, drainPing))), [3])
    t.notOk(peer.connection.leaving)
    const late = peer.feed(headers(5))
    t.strictSame(
      late.map((one) => [one.type, one.id, one.payload.readUInt32BE()]),
      [[type.rstStream, 5, errorCode.refusedStream]],
    )
    t.equal(peer.failure(), undefined)
  },
)

t.test('a peer that has been told which stream was the last opens others for a while only', async (t) => {
  const peer = peerOf('server', { maxControlFrames: 20 })
  peer.feed(hello, frame(type.settings, 1, 0, none), headers(1))
  peer.connection.endGoaway()
  for (let id = 3; id < 3 + 2 * 15; id += 2) peer.feed(headers(id))
  t.equal(peer.failure(), undefined, 'those may have been on the way')
  for (let id = 101; id < 101 + 2 * 15; id += 2) peer.feed(headers(id))
  t.equal(peer.failure()?.code, errorCode.enhanceYourCalm)
})

/** A client that speaks TLS and says whatever it likes; it keeps what it hears. */
async function rawClient(t: Test, { address, port }: SocketAddress) {
  const socket = tlsConnect({
    host: address,
    port,
    key: client.privateKeyPem,
    cert: client.chainPem[0] ?? '',
    ca: root.certPem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  })
  let heard = none
  socket.on('error', () => undefined)
  socket.on('data', (bytes: Buffer) => {
    heard = Buffer.concat([heard, bytes])
  })
  t.teardown(() => void socket.destroy())
  await once(socket, 'secureConnect')
  return { write: (bytes: Buffer) => void socket.write(bytes), frames: () => parseFrames(heard) }
}

t.test('a client that says GOAWAY itself cannot keep a server from leaving', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.accept())
  const peer = await rawClient(t, served.address)
  peer.write(Buffer.concat([hello, headers(1), frame(type.goaway, 0, 0, u32(0, 0))]))
  await until(() => served.tunnels.length === 1)
  served.connections[0]?.drain()
  await until(() => goaways(peer.frames()).length === 1)
  peer.write(Buffer.concat([frame(type.ping, 1, 0, drainPing), headers(3)]))
  await until(() => peer.frames().some((one) => one.type === type.rstStream && one.id === 3))
  t.strictSame(goaways(peer.frames()), [0x7fff_ffff, 1])
  t.equal(served.tunnels.length, 1, 'nothing new begins')
})

t.test('a server that hears no answer leaves all the same', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, headers(1))
  peer.connection.goaway()
  peer.connection.endGoaway()
  t.strictSame(goaways(peer.feed()), [0x7fff_ffff, 1])
  peer.connection.goaway()
  t.strictSame(goaways(peer.feed()), [], 'once is enough')
})

t.test('a client has nothing to wait for when it leaves', async (t) => {
  const peer = peerOf('client')
  peer.feed(frame(type.settings, 0, 0, none))
  peer.connection.goaway()
  t.strictSame(goaways(peer.feed()), [0])
  t.notOk(peer.connection.hasIds)
})

t.test('SETTINGS that are not acknowledged end the connection, and those that are do not', async (t) => {
  for (const role of ['server', 'client'] as const) {
    const silent = peerOf(role)
    silent.feed(role === 'server' ? hello : hello.subarray(24))
    silent.advance(10_000)
    silent.connection.checkTime()
    t.equal(silent.failure(), undefined)
    silent.advance(1)
    silent.connection.checkTime()
    wants(t, silent, silent.feed(), errorCode.settingsTimeout)
    const good = peerOf(role)
    good.feed(role === 'server' ? hello : hello.subarray(24), frame(type.settings, 1, 0, none))
    good.advance(60_000)
    good.connection.checkTime()
    t.equal(good.failure(), undefined)
  }
})

t.test('a header block that does not end ends the connection', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, frame(type.settings, 1, 0, none))
  peer.advance(60_000)
  peer.feed(frame(type.headers, 0, 1, block.subarray(0, 3)))
  peer.advance(5_000)
  peer.connection.checkTime()
  t.equal(peer.failure(), undefined)
  peer.advance(1)
  peer.connection.checkTime()
  wants(t, peer, peer.feed(), errorCode.enhanceYourCalm)
})

t.test('no CONNECT is lost while a server leaves', async (t) => {
  const served = await serve(t, echo)
  const pool = poolOf(t)
  const talk = async (i: number) => {
    const stream = (await pool.connect(towards(served.address))).duplex()
    stream.end(`hello ${i}`)
    return (await readAll(stream)).toString()
  }
  const wanted = Array.from({ length: 300 }, (_, i) => `hello ${i}`)
  const answers = wanted.map(async (_, i) => {
    if (i % 50 === 25) served.connections.at(-1)?.drain()
    await new Promise((resolve) => setTimeout(resolve, i % 7))
    return talk(i)
  })
  t.strictSame(await Promise.all(answers), wanted)
  t.ok(served.connections.length > 1, `${served.connections.length} connections`)
})

const tunnelsOn = (t: Test, onTunnel: (tunnel: InboundTunnel, connection: number) => void) => {
  const served = serve(t, (tunnel) => onTunnel(tunnel, connections()))
  let connections = () => 0
  return served.then((one) => {
    connections = () => one.connections.length
    return one
  })
}

t.test('a CONNECT that a broken connection took with it is sent on a new one', async (t) => {
  let breaks = 0
  const served = await tunnelsOn(t, (tunnel, connection) => {
    // The first connection serves one tunnel and breaks on the second.
    if (connection > 1 || served.tunnels.length === 1) tunnel.accept()
    else {
      breaks++
      sockets[0]?.destroy()
    }
  })
  const sockets: { destroy(): void }[] = []
  const tracked = {
    ...towards(served.address),
    dial: async () => {
      const socket = await dial(served.address)
      sockets.push(socket)
      return socket
    },
  }
  const pool = poolOf(t)
  await pool.connect(tracked)
  t.ok(await pool.connect(tracked))
  t.equal(breaks, 1)
  t.equal(sockets.length, 2)
})

t.test('a connection that breaks at once is not dialled for ever', async (t) => {
  const served = await tunnelsOn(t, () => sockets.at(-1)?.destroy())
  const sockets: { destroy(): void }[] = []
  const tracked = {
    ...towards(served.address),
    dial: async () => {
      const socket = await dial(served.address)
      sockets.push(socket)
      return socket
    },
  }
  const error: unknown = await poolOf(t)
    .connect(tracked)
    .catch((e: unknown) => e)
  t.equal(codeOf(error), 'h2-failed')
  t.equal(sockets.length, 1)
})

t.test('a peer that gives up before the answer is noticed at once', async (t) => {
  const lost = Promise.withResolvers<unknown>()
  const served = await serve(t, ({ lost: signal }) => {
    signal.addEventListener('abort', () => lost.resolve(signal.reason))
  })
  const stop = new AbortController()
  const attempt = poolOf(t).connect({ ...towards(served.address), signal: stop.signal })
  await until(() => served.tunnels.length === 1)
  stop.abort(new Error('enough'))
  await t.rejects(attempt, { message: 'enough' })
  t.equal(codeOf(await lost.promise), 'h2-failed')
  t.equal(served.connections[0]?.tunnels, 0)
})

t.test('a peer that was lost before anybody asked is known as such', async (t) => {
  const peer = peerOf('server', {}, false)
  peer.feed(hello, headers(1), rst(1))
  t.strictSame(peer.events, ['1 CONNECT 10.0.0.1:80', '1 reset 8'])
  const served = await serve(t, () => undefined)
  const stop = new AbortController()
  const attempt = poolOf(t).connect({ ...towards(served.address), signal: stop.signal })
  await until(() => served.tunnels.length === 1)
  stop.abort()
  await attempt.catch(() => undefined)
  await until(() => served.connections[0]?.tunnels === 0)
  t.ok(served.tunnels[0]?.lost.aborted)
})

t.test('a peer that ends before it has said anything is let go at once', async (t) => {
  const served = await serve(t, echo, { handshakeMs: 60_000 })
  const { address, port } = served.address
  const socket = connect({ host: address, port, allowHalfOpen: true })
  await once(socket, 'connect')
  await until(() => served.connections.length === 1)
  socket.end()
  const { error } = (await served.connections[0]?.closed) ?? {}
  t.ok(error)
  t.not(codeOf(error), 'timeout', 'long before the deadline of the handshake')
  socket.destroy()
})

t.test('GOAWAY frames in a storm only ever make new connections', async (t) => {
  const peer = peerOf('client')
  const open = () =>
    peer.connection.open([
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ])
  peer.feed(frame(type.settings, 0, 0, none))
  open()
  const out = peer.feed(...Array.from({ length: 2_000 }, () => frame(type.goaway, 0, 0, u32(1, 0))))
  wants(t, peer, out, errorCode.enhanceYourCalm)
})

t.test('whoever is in a tunnel hears that its connection leaves, once, whichever end it is', async (t) => {
  const heard: string[] = []
  const served = await serve(t, (tunnel) => {
    tunnel.accept()
    tunnel.onLeaving(() => heard.push('server'))
  })
  const pool = poolOf(t)
  for (const leave of [() => pool.drain(), () => served.connections.at(-1)?.drain()]) {
    const tunnel = await pool.connect(towards(served.address))
    tunnel.onLeaving(() => heard.push('client'))
    t.strictSame(heard, [])
    leave()
    leave()
    await until(() => heard.length === 2)
    t.strictSame(heard.splice(0).sort(), ['client', 'server'])
    tunnel.onLeaving(() => heard.push('late'))
    await until(() => heard.length === 1)
    t.strictSame(heard.splice(0), ['late'], 'who asks later hears at once')
    tunnel.reset()
  }
})

t.test(
  'a connection that gets no new tunnels is left to the ones that it has, which hear nothing of it',
  async (t) => {
    const heard: string[] = []
    const served = await serve(t, (tunnel) => {
      tunnel.accept()
      tunnel.onLeaving(() => heard.push('server'))
    })
    const pool = poolOf(t, { unusedReleaseMs: 40 })
    const old = await pool.connect(towards(served.address))
    old.onLeaving(() => heard.push('client'))
    await until(() => pool.connections === 0)
    const next = await pool.connect(towards(served.address))
    t.equal(served.connections.length, 2, 'the next tunnel is in another one')
    t.strictSame(heard, [])
    await until(() => pool.connections === 0)
    pool.drain()
    await until(() => heard.length === 3)
    t.strictSame(heard.sort(), ['client', 'server', 'server'], 'when the pool leaves it is told')
    for (const tunnel of [old, next]) tunnel.reset()
    await until(() => served.connections.every((one) => one.tunnels === 0))
    await Promise.all(served.connections.map((one) => one.closed))
    t.pass('and it ends with its last tunnel')
  },
)
