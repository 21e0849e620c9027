import fc from 'fast-check'
import t from 'tap'
import { errorCode } from '../../../lib/hbone/frames.ts'
import { defaultLimits, limitsOf } from '../../../lib/hbone/limits.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import {
  block,
  data,
  frame,
  headers,
  hello,
  many,
  none,
  type Peer,
  peerOf,
  rst,
  setting,
  type,
  u32,
  wants,
  windowUpdate,
} from './frames.ts'
import '../../fakes/seed.ts'

const { protocolError, flowControlError, enhanceYourCalm } = errorCode
t.test('credit that follows DATA of ours is no flood, in whatever slices', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, headers(1), windowUpdate(0, 1 << 20), windowUpdate(1, 1 << 20))
  const [stream] = peer.streams
  if (!stream) return t.fail('no stream')
  for (let i = 0; i < 5000; i++) {
    peer.connection.claim(stream, 100)
    peer.feed(windowUpdate(0, 100), windowUpdate(1, 100))
  }
  t.equal(peer.failure(), undefined)
})

t.test('rapid reset: streams reset before their answer count, others do not', async (t) => {
  const cycle = (n: number) => many(n, (i) => Buffer.concat([headers(2 * i + 1), rst(2 * i + 1)]))
  const calm = peerOf('server')
  calm.feed(hello, cycle(900))
  t.equal(calm.failure(), undefined, 'answered streams may be reset')
  const rapid = peerOf('server', {}, false)
  const out = rapid.feed(hello, cycle(10_000))
  wants(t, rapid, out, enhanceYourCalm)
  t.ok(rapid.streams.length <= 101, `${rapid.streams.length} reached the caller`)
})

t.test('streams above the limit are refused, and the others live', async (t) => {
  const peer = peerOf('server', { maxStreams: 3 })
  peer.feed(hello)
  const out = peer.feed(many(5, (i) => headers(2 * i + 1)))
  const refused = out.filter((one) => one.type === type.rstStream)
  t.strictSame(
    refused.map(({ id, payload }) => [id, payload.readUInt32BE()]),
    [
      [7, 7],
      [9, 7],
    ],
  )
  t.equal(peer.connection.streamCount, 3)
  t.equal(peer.failure(), undefined)
})

t.test('a peer that sends more than its stream may is cut off', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, headers(1))
  const [stream] = peer.streams
  if (!stream?.listener) return t.fail('no stream')
  stream.listener.bytes = () => undefined
  // What a peer may send that has not read our SETTINGS.
  peer.feed(many(4, () => data(1, 16_383)))
  t.equal(peer.failure(), undefined)
  t.equal(peer.connection.held, 65_532)
  wants(t, peer, peer.feed(data(1, 4)), flowControlError)
})

t.test('a hundred malformed requests are enough', async (t) => {
  const peer = peerOf('server')
  const bad = hpackEncode([[':method', 'CONNECT']])
  const out = peer.feed(
    hello,
    many(200, (i) => headers(2 * i + 1, 0, bad)),
  )
  wants(t, peer, out, enhanceYourCalm)
})

t.test('padding, priority and CONTINUATION are read as what they carry', async (t) => {
  const peer = peerOf('server')
  const padded = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block, Buffer.alloc(3)])
  peer.feed(
    hello,
    frame(type.headers, 4 | 8 | 0x20, 1, padded),
    frame(type.data, 8, 1, Buffer.from([2, 65, 66, 0, 0])),
  )
  peer.feed(
    frame(type.headers, 0, 3, block.subarray(0, 3)),
    frame(type.continuation, 4, 3, block.subarray(3)),
  )
  t.strictSame(peer.events, ['1 CONNECT 10.0.0.1:80', '3 CONNECT 10.0.0.1:80'])
  t.equal(peer.received(), 2)
  t.equal(peer.connection.held, 0, 'padding is given back too')
})

t.test('bytes may be cut anywhere', async () => {
  const whole = Buffer.concat([
    hello,
    headers(1),
    data(1, 300),
    frame(type.data, 8, 1, Buffer.from([2, 65, 66, 0, 0])),
    headers(3, 1),
    rst(1),
  ])
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 200 }), (cuts) => {
      const peer = peerOf('server')
      for (let at = 0, i = 0; at < whole.length; i++) {
        const n = cuts[i % cuts.length] ?? 1
        peer.feed(whole.subarray(at, at + n))
        at += n
      }
      return (
        peer.received() === 302 &&
        peer.events.join() === '1 CONNECT 10.0.0.1:80,3 CONNECT 10.0.0.1:80,3 ended,1 reset 8'
      )
    }),
    { numRuns: 200 },
  )
})

const updates = (out: ReturnType<Peer['feed']>) =>
  out
    .filter((one) => one.type === type.windowUpdate)
    .map(({ id, payload }): [number, number] => [id, payload.readUInt32BE()])
/** Streams whose readers stand still. */
const mute = (peer: Peer) => {
  for (const stream of peer.streams) if (stream.listener) stream.listener.bytes = () => undefined
}
const mib = 1 << 20

t.test('credit is returned at half a window, and only after the bytes were consumed', async (t) => {
  const fixed = { firstStreamWindow: 100_000, streamWindow: 100_000, connectionWindow: 200_000 }
  const peer = peerOf('server', fixed)
  peer.feed(hello, headers(1))
  t.strictSame(peer.feed(data(1, 40_000)), [])
  t.strictSame(updates(peer.feed(data(1, 20_000))), [
    [1, 60_000],
    [0, 60_000],
  ])
  mute(peer)
  t.strictSame(peer.feed(data(1, 100_000)), [], 'no credit for what has not been read')
  peer.connection.consumed(peer.streams[0]!, 100_000)
  t.strictSame(updates(peer.feed()), [
    [1, 100_000],
    [0, 100_000],
  ])
})

t.test('a window grows while its bytes are taken, up to the largest', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, headers(1))
  const sizeAfter = (total: number) => {
    for (; peer.received() < total; ) peer.feed(data(1, 16_384))
    return peer.streams[0]?.receiveWindow.size ?? 0
  }
  t.equal(sizeAfter(128 << 10), 32 << 10)
  for (const moved of [mib, 4 * mib, 20 * mib]) {
    const size = sizeAfter(moved)
    t.ok(size <= moved / 8 && size > moved / 24, `${size} after ${moved}`)
  }
  t.equal(sizeAfter(40 * mib), 4 * mib)
  t.equal(peer.failure(), undefined)
})

t.test('limits that follow from the window of the connection follow it', async (t) => {
  t.strictSame(limitsOf(), defaultLimits)
  const { maxHeldBytes, maxBufferBytes, connectionWindow } = limitsOf({ connectionWindow: 16 * mib })
  t.strictSame([connectionWindow, maxHeldBytes, maxBufferBytes], [16 * mib, 14 * mib, 28 * mib])
  t.equal(limitsOf({ connectionWindow: 65_535 }).maxBufferBytes, 14 * mib, 'buffers are larger than bytes')
  t.equal(limitsOf({ connectionWindow: 16 * mib, maxHeldBytes: 5 }).maxHeldBytes, 5)
})

t.test('without memory to spare no window grows', async (t) => {
  const peer = peerOf('server', {}, true, () => false)
  peer.feed(hello, headers(1))
  for (let i = 0; i < 100; i++) peer.feed(data(1, 16_384))
  t.equal(peer.streams[0]?.receiveWindow.size, 32 << 10)
  t.equal(peer.failure(), undefined)
})

t.test('what stands still from the start is never given more than the first window', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, headers(1))
  mute(peer)
  t.strictSame(updates(peer.feed(data(1, 32_768))), [])
  t.equal(peer.streams[0]?.receiveWindow.size, 32_768)
})

t.test('streams that all want much get equal shares, and there is one share more', async (t) => {
  const peer = peerOf('server')
  const ids = Array.from({ length: 10 }, (_, i) => 2 * i + 1)
  peer.feed(hello, ...ids.map((id) => headers(id)))
  for (let round = 0; round < 200; round++) {
    for (const stream of peer.streams) {
      const n = Math.ceil(stream.receiveWindow.size / 2)
      peer.feed(...Array.from({ length: Math.ceil(n / mib) }, () => data(stream.id, Math.min(mib, n))))
    }
  }
  t.equal(peer.failure(), undefined)
  const sizes = peer.streams.map(({ receiveWindow }) => receiveWindow.size)
  const share = (8 * mib) / 11
  t.ok(
    sizes.every((size) => Math.abs(size - share) < share / 10),
    `${sizes.join()} of ${share}`,
  )
})

t.test('two hundred streams that stand still leave room for the connection to go on', async (t) => {
  const peer = peerOf('server')
  peer.feed(hello, ...Array.from({ length: 199 }, (_, i) => headers(2 * i + 1)))
  mute(peer)
  for (const { id } of peer.streams) peer.feed(data(id, 32_768))
  t.equal(peer.connection.held, 199 * 32_768)
  t.notOk(peer.connection.starved)
  peer.feed(headers(1001))
  for (let i = 0; i < 1000; i++) peer.feed(data(1001, 16_384))
  t.equal(peer.failure(), undefined, 'the fast one has had credit for 16 MiB')
  t.equal(peer.received(), 1000 * 16_384)
})

t.test('a shared window that is nearly closed is opened soon', async (t) => {
  const peer = peerOf('server', { connectionWindow: mib, firstStreamWindow: mib, streamWindow: mib })
  peer.feed(hello, headers(1), headers(3))
  const [stalled] = peer.streams
  if (!stalled?.listener) return t.fail('no stream')
  stalled.listener.bytes = () => undefined
  peer.feed(data(1, 850_000))
  t.strictSame(
    updates(peer.feed(data(3, 100_000))).filter(([id]) => id === 0),
    [[0, 100_000]],
  )
})

t.test('one peer is held to the connection window, however many streams it uses', async (t) => {
  const peer = peerOf('server', { maxStreams: 1000 })
  peer.feed(hello, ...Array.from({ length: 300 }, (_, i) => headers(2 * i + 1)))
  mute(peer)
  for (const { id } of peer.streams) {
    if (peer.failure()) break
    peer.feed(data(id, 60_000))
    t.ok(peer.connection.held <= 8 * mib)
  }
  t.equal(peer.failure()?.code, flowControlError)
})

t.test('fields of open requests are bounded per connection', async (t) => {
  const peer = peerOf('server')
  const large = hpackEncode([
    [':method', 'CONNECT'],
    [':authority', 'a:1'],
    ['baggage', 'v'.repeat(60_000)],
  ])
  peer.feed(hello)
  const out = peer.feed(...Array.from({ length: 20 }, (_, i) => headers(2 * i + 1, 0, large)))
  t.equal(peer.streams.length, 17)
  t.strictSame(
    out.filter((one) => one.type === type.rstStream).map(({ payload }) => payload.readUInt32BE()),
    [7, 7, 7],
  )
  peer.feed(rst(1))
  peer.feed(headers(101, 0, large))
  t.equal(peer.streams.length, 18, 'room that was given back is used')
})

t.test('where stalled readers leave no room, the worst of them is reset', async (t) => {
  const peer = peerOf('server', { maxHeldBytes: 100_000 })
  peer.feed(hello, headers(1), headers(3), headers(5))
  for (const stream of peer.streams) if (stream.listener) stream.listener.bytes = () => undefined
  peer.feed(data(1, 30_000), data(3, 60_000))
  peer.advance(20_000)
  peer.connection.relieve(10_000)
  t.strictSame(peer.events.slice(3), [], 'there is room')
  peer.feed(data(5, 20_000))
  peer.connection.relieve(30_000)
  t.strictSame(peer.events.slice(3), [], 'nobody has stood still for that long')
  peer.connection.relieve(10_000)
  t.strictSame(peer.events.slice(3), [`3 reset ${enhanceYourCalm}`])
})

t.test('DATA on the way to a stream that we reset costs the connection nothing', async (t) => {
  const peer = peerOf('server', { connectionWindow: 100_000 })
  peer.feed(hello, headers(1))
  const [stream] = peer.streams
  if (!stream) return t.fail('no stream')
  peer.connection.reset(stream, 8)
  const out = peer.feed(data(1, 60_000), rst(1), windowUpdate(1, 5), headers(1))
  t.equal(peer.failure(), undefined)
  t.ok(
    out.some(
      ({ type: kind, id, payload }) =>
        kind === type.windowUpdate && id === 0 && payload.readUInt32BE() === 60_000,
    ),
  )
})

t.test('a client refuses DATA before the answer, and skips interim answers', async (t) => {
  const open = () => {
    const peer = peerOf('client')
    const stream = peer.connection.open([
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ])
    stream.listener = {
      response: ({ status }) => void peer.events.push(`status ${status}`),
      bytes() {},
      ended() {},
      reset: (code) => void peer.events.push(`reset ${code}`),
      writable() {},
    }
    peer.feed(frame(type.settings, 0, 0, none))
    return peer
  }
  const early = open()
  wants(t, early, early.feed(data(1, 1)), protocolError)
  const interim = open()
  interim.feed(
    headers(1, 0, hpackEncode([[':status', '103']])),
    headers(1, 0, hpackEncode([[':status', '200']])),
  )
  t.strictSame(interim.events, ['status 200'])
  const going = open()
  going.feed(frame(type.goaway, 0, 0, u32(0, 0)))
  t.strictSame(
    going.events,
    ['goaway 0 0', `reset ${errorCode.refusedStream}`],
    'unprocessed streams are told so',
  )
})

t.test('neither noise nor mutations throw, or hold more than the windows allow', async () => {
  const seed = Buffer.concat([
    hello,
    headers(1),
    data(1, 200),
    headers(3, 1),
    windowUpdate(1, 10),
    frame(type.ping, 0, 0, Buffer.alloc(8)),
    setting(4, 100_000),
    rst(3),
    frame(type.headers, 0, 5, block),
    frame(type.continuation, 4, 5, none),
    data(5, 50, 1),
    frame(type.goaway, 0, 0, u32(0, 0)),
  ])
  const edit = fc.tuple(fc.nat(seed.length - 1), fc.nat(255))
  fc.assert(
    fc.property(
      fc.array(edit, { maxLength: 12 }),
      fc.constantFrom('server' as const, 'client' as const),
      (edits, role) => {
        const bytes = Buffer.from(seed)
        for (const [at, value] of edits) bytes[at] = value
        const peer = peerOf(role)
        peer.feed(role === 'client' ? bytes.subarray(24) : bytes)
        return peer.connection.held <= 48 << 20
      },
    ),
    { numRuns: 6_000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      const peer = peerOf('server')
      peer.feed(hello, Buffer.from(noise))
      return peer.connection.held <= 48 << 20
    }),
    { numRuns: 2_000 },
  )
})
