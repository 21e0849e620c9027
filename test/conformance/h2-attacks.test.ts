// The attacks on HTTP/2 servers of facts/security.md §2.1, each with its pass figure and with the legal traffic that
// resembles it most. What they cost in memory is in h2-memory.test.ts.
import t from 'tap'
import { errorCode } from '../../lib/hbone/frames.ts'
import { HpackDecoder } from '../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import {
  block,
  data,
  frame,
  headers,
  many,
  none,
  peerOf,
  rst,
  type,
  u32,
  windowUpdate,
} from '../lib/hbone/frames.ts'
import { echo } from '../lib/hbone/support.ts'
import { figure, greeting, nth, outcomeOf, sceneOf, soonMs, streams } from './h2-attack-kit.ts'
import { hasStatus, hasText, isProbed, probePing } from './h2-kit.ts'
import {
  connectFields,
  connectWith,
  dependsOn,
  opening,
  ping,
  priority,
  settings,
  text,
} from './h2-rows/requests.ts'

t.test('H2-1 rapid reset: 10 000 streams opened and reset start at most 100 dials', async (t) => {
  const scene = await sceneOf(t)
  const cycle = streams(10_000, (id) => Buffer.concat([headers(id), rst(id)]))
  const outcome = await outcomeOf(scene, Buffer.concat([greeting, cycle]))
  const { dials } = scene
  figure(t, 'H2-1', { ...outcome, ...dials })
  t.ok(outcome.closed && outcome.ms <= soonMs, `closed after ${outcome.ms} ms`)
  t.ok(dials.started <= 100, `${dials.started} dials`)
  t.equal(dials.active, 0, 'no dial is left')
  t.ok(await scene.neighbourLives())
})

t.test('H2-1, the twin: tunnels that are reset after their answer may be as many as like', async (t) => {
  const { wire } = await sceneOf(t, {}, echo)
  wire.send(greeting)
  for (let round = 0; round < 9; round++) {
    const ids = Array.from({ length: 100 }, (_, i) => nth(100 * round + i))
    wire.send(ids.map((id) => headers(id)))
    await wire.frames((all) => ids.every((id) => hasStatus(all, id, 200)))
    wire.send(ids.map((id) => rst(id)))
  }
  wire.send(probePing)
  t.notOk((await wire.frames(isProbed)).closed)
})

const madeYouReset: [string, (id: number) => Buffer][] = [
  ['WINDOW_UPDATE of 0', (id) => Buffer.concat([headers(id), windowUpdate(id, 0)])],
  ['a window beyond its end', (id) => Buffer.concat([headers(id), windowUpdate(id, 0x7fff_ffff)])],
  ['DATA after END_STREAM', (id) => Buffer.concat([headers(id, 1), data(id, 1)])],
  ['HEADERS after END_STREAM', (id) => Buffer.concat([headers(id, 1), headers(id, 1)])],
  ['PRIORITY of a wrong length', (id) => Buffer.concat([headers(id), priority(id, Buffer.alloc(4))])],
  ['HEADERS in a tunnel', (id) => Buffer.concat([headers(id), headers(id, 1)])],
  ['malformed requests', (id) => headers(id, 0, hpackEncode([[':method', 'CONNECT']]))],
]
for (const [title, primitive] of madeYouReset) {
  t.test(`H2-2 made you reset, by ${title}: 500 streams start at most 50 dials`, async (t) => {
    const scene = await sceneOf(t)
    const outcome = await outcomeOf(scene, Buffer.concat([greeting, streams(500, primitive)]))
    figure(t, 'H2-2', { title, ...outcome, ...scene.dials })
    t.ok(outcome.closed && outcome.ms <= soonMs)
    t.ok(scene.dials.started <= 50, `${scene.dials.started} dials`)
    t.equal(scene.dials.active, 0)
    t.ok(await scene.neighbourLives())
  })
}

t.test('H2-2, by PRIORITY of a stream on itself: nothing is reset, so nothing is gained', async (t) => {
  const scene = await sceneOf(t)
  const primitive = (id: number) => Buffer.concat([headers(id), priority(id, dependsOn(id))])
  t.notOk((await outcomeOf(scene, Buffer.concat([greeting, streams(200, primitive)]))).closed)
  t.equal(scene.dials.active, 200, 'they count as what they are: open streams')
})

t.test('H2-2, the twin: 500 tunnels in turn with windows, priorities and ends in order', async (t) => {
  const { wire } = await sceneOf(t, {}, echo)
  const tunnel = (id: number) =>
    Buffer.concat([headers(id), priority(id), windowUpdate(id, 1), text(id, 'hi', 1)])
  wire.send(greeting)
  for (let round = 0; round < 5; round++) {
    const ids = Array.from({ length: 100 }, (_, i) => nth(100 * round + i))
    wire.send(ids.map(tunnel))
    const done = await wire.frames((all) => ids.every((id) => hasText(all, id, 'hi')))
    t.notOk(done.closed)
  }
})

const continuations: [string, Buffer, number][] = [
  ['1 byte', Buffer.from([0x82]), 10_000],
  ['0 bytes', none, 10_000],
  ['16 KiB', Buffer.alloc(16_384, 0x82), 1_000],
]
for (const [title, fragment, count] of continuations) {
  t.test(`H2-3 ${count} CONTINUATION of ${title} end the connection and reach nobody`, async (t) => {
    const scene = await sceneOf(t)
    const flood = many(count, () => frame(type.continuation, 0, 1, fragment))
    const outcome = await outcomeOf(scene, Buffer.concat([greeting, opening(1, block), flood]))
    figure(t, 'H2-3', { title, ...outcome })
    t.ok(outcome.closed && outcome.ms <= soonMs)
    t.equal(scene.dials.started, 0)
    t.ok(await scene.neighbourLives())
  })
}

t.test('H2-3 connections that break in the middle of a block harm nobody', async (t) => {
  const scene = await sceneOf(t)
  scene.wire.send([greeting, opening(1, block.subarray(0, 4)), frame(type.continuation, 0, 1, none)])
  await scene.wire.frames((all) => all.length > 0)
  scene.wire.socket.destroy()
  await scene.served.connections[1]?.closed
  t.equal(scene.dials.started, 0)
  t.ok(await scene.neighbourLives())
})

t.test('H2-3, the twin: a block of 60 KiB in sixteen pieces is a request', async (t) => {
  const { wire, dials } = await sceneOf(t)
  const large = connectWith(
    ['baggage', 'b'.repeat(20_000)],
    ['x', 'x'.repeat(20_000)],
    ['y', 'y'.repeat(20_000)],
  )
  const size = Math.ceil(large.length / 16)
  const pieces = Array.from({ length: 16 }, (_, i) => large.subarray(size * i, size * (i + 1)))
  wire.send([
    greeting,
    ...pieces.map((piece, i) => frame(i === 0 ? 1 : 9, i === 15 ? 4 : 0, 1, piece)),
    probePing,
  ])
  t.notOk((await wire.frames(isProbed)).closed)
  t.equal(dials.started, 1)
})

/** Each ends 50 000 frames early; `first` makes them legal. */
const floods: [string, Buffer, Buffer?][] = [
  ['PING', ping()],
  ['PING acknowledgements', ping('pingping', 1)],
  ['empty SETTINGS', frame(type.settings, 0, 0, none)],
  ['SETTINGS of six entries', settings([1, 0], [3, 9], [4, 65_535], [5, 16_384], [6, 9], [99, 1])],
  ['SETTINGS acknowledgements', frame(type.settings, 1, 0, none)],
  ['unknown frames', frame(0xc, 0, 0, Buffer.alloc(20))],
  ['WINDOW_UPDATE of the connection', windowUpdate(0, 1)],
  ['PRIORITY', priority(1)],
  ['empty DATA', data(1, 0), headers(1)],
  ['DATA of padding alone', frame(type.data, 8, 1, Buffer.alloc(3, 2)), headers(1)],
  ['RST_STREAM of a closed stream', rst(1), Buffer.concat([headers(1), rst(1)])],
  ['GOAWAY', frame(type.goaway, 0, 0, u32(0, 0)), headers(1)],
]
for (const [title, one, first = none] of floods) {
  t.test(
    `H2-4 a flood of ${title} is cut off within 1 000 frames, by a peer that does not read too`,
    async (t) => {
      const counted = peerOf('server', {}, false)
      counted.feed(greeting, first)
      let frames = 0
      let answers = 0
      while (counted.failure() === undefined && frames < 50_000) {
        frames++
        answers += counted.feed(one).reduce((sum, { payload }) => sum + 9 + payload.length, 0)
      }
      t.equal(counted.failure()?.code, errorCode.enhanceYourCalm)
      t.ok(frames <= 1_000, `${frames} frames`)
      t.ok(answers <= 64 << 10, `${answers} bytes of answers`)
      const scene = await sceneOf(t)
      scene.wire.socket.pause()
      const outcome = await outcomeOf(scene, Buffer.concat([greeting, first, many(50_000, () => one)]))
      figure(t, 'H2-4', { title, frames, answers, ...outcome })
      t.ok(outcome.closed && outcome.ms <= soonMs, `closed after ${outcome.ms} ms`)
      t.ok(await scene.neighbourLives())
    },
  )
  t.test(`H2-4, the twin: 900 ${title} are no flood`, async (t) => {
    const scene = await sceneOf(t, {}, () => undefined)
    t.notOk((await outcomeOf(scene, Buffer.concat([greeting, first, many(900, () => one)]))).closed)
  })
}

t.test(
  'row 5, stream storm: 10 000 streams that say nothing are refused beyond 200, then cut off',
  async (t) => {
    const scene = await sceneOf(t)
    const outcome = await outcomeOf(scene, Buffer.concat([greeting, streams(10_000, (id) => headers(id))]))
    figure(t, 'stream-storm', { ...outcome, ...scene.dials })
    t.ok(outcome.closed && outcome.ms <= soonMs)
    t.ok(scene.dials.most <= 200)
    t.equal(scene.dials.active, 0)
    t.ok(await scene.neighbourLives())
  },
)

t.test('row 5, the twin: a peer that has not yet seen our SETTINGS may open too many', async (t) => {
  const scene = await sceneOf(t)
  const storm = Buffer.concat([greeting.subarray(0, 33), streams(500, (id) => headers(id))])
  t.notOk((await outcomeOf(scene, storm)).closed)
  t.equal(scene.dials.active, 200)
})

const literal = (name: string, value: Buffer) =>
  Buffer.concat([
    Buffer.from([0x40, name.length]),
    Buffer.from(name),
    Buffer.from([0x7f, ...rest(value.length)]),
    value,
  ])
/** An HPACK integer of a 7 bit prefix, after its first byte. */
function rest(n: number): number[] {
  const out: number[] = []
  let left = n - 127
  for (; left >= 128; left = Math.floor(left / 128)) out.push((left & 127) | 128)
  return [...out, left]
}
const entry = literal('x', Buffer.alloc(4_000, 0x61))
const connect = hpackEncode(connectFields)
const bombs: [string, Buffer][] = [
  ['a table of 4 KiB that is named 1 000 times', Buffer.concat([connect, entry, Buffer.alloc(1_000, 0xbe)])],
  ['10 000 fields of one byte', Buffer.concat([connect, Buffer.alloc(10_000, 0xc0 - 60)])],
  [
    '10 000 crumbs of cookie',
    Buffer.concat([connect, literal('cookie', Buffer.alloc(130, 0x61)), Buffer.alloc(10_000, 0xbe)]),
  ],
  ['a table that is named in a small block', Buffer.concat([connect, entry, Buffer.alloc(90, 0xbe)])],
]
for (const [title, bomb] of bombs) {
  t.test(`H2-6 ${title} is no request`, async (t) => {
    const decoded = new HpackDecoder().decode(bomb, 64 << 10, 100)
    t.equal(decoded.kind, 'too-large')
    const scene = await sceneOf(t)
    const outcome = await outcomeOf(
      scene,
      Buffer.concat([greeting, streams(40, (id) => headers(id, 0, bomb))]),
    )
    figure(t, 'H2-6', { title, ...outcome, ...scene.dials })
    t.equal(scene.dials.started, 0)
    t.notOk(outcome.closed, '40 of them are refused one by one')
    t.ok(await scene.neighbourLives())
  })
}

t.test('H2-6 no block decodes to more than 16 times its length, or 8 KiB', async (t) => {
  const decoder = new HpackDecoder()
  let most = 0
  decoder.decode(Buffer.concat([connect, entry]), 64 << 10, 100)
  for (let n = 0; n < 98; n++) {
    const small = Buffer.concat([connect, Buffer.alloc(n, 0xbe)])
    const decoded = decoder.decode(small, 64 << 10, 100)
    if (decoded.kind === 'fields') most = Math.max(most, decoded.bytes)
  }
  figure(t, 'H2-6', { mostDecodedOfASmallBlock: most })
  t.ok(most > 4_000 && most <= 8_192, `${most} bytes`)
})

t.test('H2-6, the twin: the same large field in each of 100 requests is what a table is for', async (t) => {
  const scene = await sceneOf(t)
  const first = Buffer.concat([connect, literal('baggage', Buffer.alloc(2_000, 0x61))])
  const again = Buffer.concat([connect, Buffer.from([0xbe])])
  const requests = streams(100, (id) => headers(id, 0, id === 1 ? first : again))
  t.notOk((await outcomeOf(scene, Buffer.concat([greeting, requests]))).closed)
  t.equal(scene.dials.started, 100)
  t.equal(scene.served.tunnels.at(-1)?.headers.get('baggage')?.length, 2_000)
})
