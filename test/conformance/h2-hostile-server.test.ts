// What a hostile HBONE server may try on our client: H2-9 and row 11 of facts/security.md, and cold crowds (row 64).
import t, { type Test } from 'tap'
import { MeshError } from '#base'
import { HbonePool, type OutboundTunnel } from '#hbone'
import { errorCode } from '../../lib/hbone/frames.ts'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { block, data, frame, headers, many, peerOf, rst, setting, type, u32 } from '../lib/hbone/frames.ts'
import { dial, never, poolOf, serve, towards } from '../lib/hbone/support.ts'
import { figure, greeting, soonMs } from './h2-attack-kit.ts'
import { hasText, type RawServer, rawServer, type Wire } from './h2-kit.ts'
import { text } from './h2-rows/requests.ts'

const hello = greeting.subarray(24)
const ok = (id: number) => headers(id, 0, hpackEncode([[':status', '200']]))
const codeOf = (error: unknown) => (error instanceof MeshError ? error.code : String(error))
const isConnect = (one: { type: number }) => one.type === type.headers

/** Our client's connections one after the other, each asked for CONNECT. */
async function connected(peer: RawServer, n = 0): Promise<Wire> {
  const wire = await peer.accepted(n)
  await wire.frames((all) => all.some(isConnect))
  return wire
}

async function tunnelTo(t: Test, peer: RawServer): Promise<{ tunnel: OutboundTunnel; wire: Wire }> {
  const attempt = poolOf(t).connect(towards(peer.address))
  const wire = await connected(peer)
  wire.send([hello, ok(1)])
  return { tunnel: await attempt, wire }
}

const floods: [string, Buffer, number][] = [
  ['ORIGIN', frame(0xc, 0, 0, Buffer.concat([Buffer.from([0, 9]), Buffer.from('https://a')])), 100_000],
  ['ALTSVC', frame(0xa, 0, 0, Buffer.alloc(40)), 100_000],
  ['PUSH_PROMISE', frame(type.pushPromise, 4, 1, Buffer.concat([u32(2), block])), 1_000],
  ['GOAWAY', frame(type.goaway, 0, 0, u32(1, 0)), 10_000],
  ['PING', frame(type.ping, 0, 0, Buffer.alloc(8)), 50_000],
  ['SETTINGS', setting(4, 0), 50_000],
  ['empty DATA', data(1, 0), 50_000],
  ['interim answers', headers(3, 0, hpackEncode([[':status', '103']])), 10_000],
]
for (const [title, one, count] of floods) {
  t.test(`H2-9 a flood of ${title} by a server ends the connection, and nothing of it is kept`, async (t) => {
    const counted = peerOf('client')
    const open = () =>
      counted.connection.open([
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ])
    counted.feed(hello)
    open()
    open()
    counted.feed(ok(1))
    let frames = 0
    while (counted.failure() === undefined && frames < count) {
      counted.feed(one)
      frames++
    }
    t.ok(counted.failure(), 'the connection has failed')
    t.ok(frames <= 1_000, `${frames} frames`)
    const peer = await rawServer(t)
    const { tunnel, wire } = await tunnelTo(t, peer)
    const stream = tunnel.duplex()
    const broken = new Promise((resolve) => stream.once('error', resolve))
    const began = performance.now()
    wire.send(many(count, () => (title === 'interim answers' ? headers(1, 0, one.subarray(9)) : one)))
    t.equal(codeOf(await broken), 'h2-failed')
    const ms = Math.round(performance.now() - began)
    figure(t, 'H2-9', { title, frames, ms })
    t.ok(ms <= soonMs, `${ms} ms`)
  })
}

t.test('the twin: 900 ORIGIN frames, a GOAWAY and an interim answer are no reason to leave', async (t) => {
  const peer = await rawServer(t)
  const attempt = poolOf(t).connect(towards(peer.address))
  const wire = await connected(peer)
  const origins = many(900, () => frame(0xc, 0, 0, Buffer.alloc(20)))
  wire.send([
    hello,
    origins,
    headers(1, 0, hpackEncode([[':status', '103']])),
    ok(1),
    frame(7, 0, 0, u32(1, 0)),
  ])
  const stream = (await attempt).duplex()
  stream.on('error', () => undefined)
  stream.write('hi')
  t.ok((await wire.frames((all) => hasText(all, 1, 'hi'))).frames)
})

t.test('row 11 a window of 0 from the start holds the bytes back, and not the answer', async (t) => {
  const peer = await rawServer(t)
  const attempt = poolOf(t).connect(towards(peer.address))
  const wire = await connected(peer)
  wire.send([hello, setting(4, 0), ok(1)])
  const stream = (await attempt).duplex()
  stream.on('error', () => undefined)
  stream.write('held back')
  wire.send([setting(4, 4), frame(type.ping, 0, 0, Buffer.from('in order'))])
  const { frames } = await wire.frames((all) => hasText(all, 1, 'held'))
  t.ok(hasText(frames, 1, 'held'))
})

const unserved: [string, (wire: Wire) => void][] = [
  ['REFUSED_STREAM', (wire) => wire.send([hello, rst(1, errorCode.refusedStream)])],
  ['GOAWAY that does not cover it', (wire) => wire.send([hello, frame(type.goaway, 0, 0, u32(0, 0))])],
  [
    'GOAWAY in two steps',
    (wire) =>
      wire.send([
        hello,
        frame(type.goaway, 0, 0, u32(0x7fff_ffff, 0)),
        frame(type.ping, 0, 0, Buffer.alloc(8)),
        frame(type.goaway, 0, 0, u32(0, 0)),
      ]),
  ],
]
for (const [title, refuse] of unserved) {
  t.test(`row 11 a CONNECT met by ${title} is sent again, and the caller does not notice`, async (t) => {
    const peer = await rawServer(t)
    const attempt = poolOf(t).connect(towards(peer.address))
    refuse(await connected(peer))
    // REFUSED_STREAM is about the stream: the same connection may take the next.
    const again = title === 'REFUSED_STREAM' ? await peer.accepted() : await connected(peer, 1)
    const { frames } = await again.frames(
      (all) => all.filter(isConnect).length >= (title === 'REFUSED_STREAM' ? 2 : 1),
    )
    const id = frames.filter(isConnect).at(-1)?.id ?? 0
    again.send([...(title === 'REFUSED_STREAM' ? [] : [hello]), ok(id), text(id, 'served')])
    const stream = (await attempt).duplex().on('error', () => undefined)
    const said = await new Promise((resolve) => stream.once('data', resolve))
    t.equal(String(said), 'served')
  })
}

t.test('a server that refuses for ever is asked 20 times and no more', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.accept(), { maxStreams: 0 })
  let dials = 0
  const options = { ...towards(served.address), dial: () => (dials++, dial(served.address)) }
  const error: unknown = await poolOf(t)
    .connect(options)
    .catch((e: unknown) => e)
  t.equal(codeOf(error), 'h2-failed')
  t.ok(dials <= 20, `${dials} dials`)
})

const rejected: [string, (wire: Wire) => void][] = [
  ['a stream reset', (wire) => wire.send([hello, rst(1, errorCode.internalError)])],
  ['401', (wire) => wire.send([hello, headers(1, 1, hpackEncode([[':status', '401']]))])],
  ['the end of the connection', (wire) => wire.socket.destroy()],
  ['nonsense', (wire) => wire.send(Buffer.alloc(100, 0xff))],
]
for (const [title, refuse] of rejected) {
  t.test(`the twin: ${title} is an answer, which is not asked for twice`, async (t) => {
    const peer = await rawServer(t)
    let dials = 0
    const options = { ...towards(peer.address), dial: () => (dials++, dial(peer.address)) }
    const attempt = poolOf(t)
      .connect(options)
      .catch((e: unknown) => e)
    refuse(await connected(peer))
    t.type(await attempt, MeshError)
    t.equal(dials, 1)
  })
}

t.test('row 64: 2 000 cold CONNECTs to one place make 20 connections, and none fails', async (t) => {
  const served = await serve(t, (tunnel) => tunnel.accept())
  const pool = new HbonePool({ signal: never })
  let dials = 0
  const options = { ...towards(served.address), dial: () => (dials++, dial(served.address)) }
  const began = performance.now()
  const results = await Promise.allSettled(Array.from({ length: 2_000 }, () => pool.connect(options)))
  figure(t, 'row 64', { dials, ms: Math.round(performance.now() - began) })
  t.equal(results.filter(({ status }) => status === 'rejected').length, 0)
  t.ok(dials <= 21, `${dials} dials`)
  await pool[Symbol.asyncDispose]()
})
