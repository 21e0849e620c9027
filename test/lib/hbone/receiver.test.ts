import t from 'tap'
import { errorCode } from '../../../lib/hbone/frames.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import {
  block,
  data,
  frame,
  headers,
  hello,
  many,
  none,
  peerOf,
  rst,
  setting,
  type,
  u32,
  wants,
  windowUpdate,
} from './frames.ts'

const { protocolError, frameSizeError, flowControlError, streamClosed, compressionError, enhanceYourCalm } =
  errorCode
const priority = frame(type.priority, 0, 1, Buffer.alloc(5))
const cut = (bytes: Buffer, flags: number) => frame(type.headers, flags, 1, bytes)

const failures: [string, Buffer, number][] = [
  ['a wrong preface', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), protocolError],
  [
    'anything before SETTINGS',
    Buffer.concat([hello.subarray(0, 24), frame(type.ping, 0, 0, Buffer.alloc(8))]),
    protocolError,
  ],
  [
    'a SETTINGS acknowledgement first',
    Buffer.concat([hello.subarray(0, 24), frame(type.settings, 1, 0, none)]),
    protocolError,
  ],
]
const afterHello: [string, Buffer, number][] = [
  [
    'a frame longer than agreed',
    frame(type.data, 0, 1, Buffer.alloc((1 << 20) + 1)).subarray(0, 9),
    frameSizeError,
  ],
  ['SETTINGS on a stream', frame(type.settings, 0, 1, none), protocolError],
  ['SETTINGS of 5 bytes', frame(type.settings, 0, 0, Buffer.alloc(5)), frameSizeError],
  ['a SETTINGS acknowledgement with a payload', frame(type.settings, 1, 0, Buffer.alloc(6)), frameSizeError],
  ['ENABLE_PUSH of 2', setting(2, 2), protocolError],
  ['a window of 2^31', setting(4, 2 ** 31), flowControlError],
  ['MAX_FRAME_SIZE of 16383', setting(5, 16_383), protocolError],
  ['MAX_FRAME_SIZE of 2^24', setting(5, 2 ** 24), protocolError],
  ['33 settings in one frame', frame(type.settings, 0, 0, Buffer.alloc(6 * 33)), enhanceYourCalm],
  ['PING on a stream', frame(type.ping, 0, 1, Buffer.alloc(8)), protocolError],
  ['PING of 7 bytes', frame(type.ping, 0, 0, Buffer.alloc(7)), frameSizeError],
  ['GOAWAY on a stream', frame(type.goaway, 0, 1, Buffer.alloc(8)), protocolError],
  ['GOAWAY of 4 bytes', frame(type.goaway, 0, 0, Buffer.alloc(4)), frameSizeError],
  ['PUSH_PROMISE', frame(type.pushPromise, 4, 1, u32(2)), protocolError],
  ['WINDOW_UPDATE of 3 bytes', frame(type.windowUpdate, 0, 0, Buffer.alloc(3)), frameSizeError],
  ['WINDOW_UPDATE of 0 on the connection', windowUpdate(0, 0), protocolError],
  ['WINDOW_UPDATE of 0 on a stream', Buffer.concat([headers(1), windowUpdate(1, 0)]), protocolError],
  ['WINDOW_UPDATE on an idle stream', windowUpdate(1, 1), protocolError],
  ['a connection window above 2^31 - 1', windowUpdate(0, 0x7fff_ffff), flowControlError],
  [
    'a stream window above 2^31 - 1',
    Buffer.concat([headers(1), windowUpdate(1, 0x7fff_ffff)]),
    flowControlError,
  ],
  [
    'a stream window above 2^31 - 1 by SETTINGS',
    Buffer.concat([headers(1), windowUpdate(1, 1000), setting(4, 0x7fff_ffff)]),
    flowControlError,
  ],
  ['DATA on stream 0', data(0, 1), protocolError],
  ['DATA on an idle stream', data(1, 1), protocolError],
  ['DATA on an even stream', data(2, 1), protocolError],
  ['DATA after END_STREAM', Buffer.concat([headers(1), data(1, 0, 1), data(1, 1)]), streamClosed],
  ['DATA after RST_STREAM', Buffer.concat([headers(1), rst(1), data(1, 1)]), streamClosed],
  [
    'DATA padding longer than its frame',
    Buffer.concat([headers(1), frame(type.data, 8, 1, Buffer.from([5, 1, 1]))]),
    protocolError,
  ],
  ['HEADERS on stream 0', headers(0), protocolError],
  ['HEADERS on an even stream', headers(2), protocolError],
  ['HEADERS of a lower number', Buffer.concat([headers(5), headers(3)]), protocolError],
  ['HEADERS after RST_STREAM', Buffer.concat([headers(1), rst(1), headers(1)]), streamClosed],
  ['HEADERS after END_STREAM', Buffer.concat([headers(1, 1), headers(1)]), streamClosed],
  ['HEADERS padding longer than its frame', headers(1, 8, Buffer.from([200, 0x82])), protocolError],
  ['HEADERS too short for its priority', headers(1, 0x20, Buffer.from([1, 2])), protocolError],
  ['a bad HPACK index', headers(1, 0, Buffer.from([0xff, 0x80, 0x01])), compressionError],
  ['HPACK index 0', headers(1, 0, Buffer.from([0x80])), compressionError],
  ['CONTINUATION without HEADERS', frame(type.continuation, 4, 1, none), protocolError],
  [
    'a block interrupted by PING',
    Buffer.concat([cut(block, 0), frame(type.ping, 0, 0, Buffer.alloc(8))]),
    protocolError,
  ],
  [
    'a block interrupted by an unknown frame',
    Buffer.concat([cut(block, 0), frame(99, 0, 0, none)]),
    protocolError,
  ],
  [
    'a block continued on another stream',
    Buffer.concat([cut(block, 0), frame(type.continuation, 4, 3, none)]),
    protocolError,
  ],
  ['RST_STREAM on stream 0', rst(0), protocolError],
  ['RST_STREAM on an idle stream', rst(1), protocolError],
  [
    'RST_STREAM of 3 bytes',
    Buffer.concat([headers(1), frame(type.rstStream, 0, 1, Buffer.alloc(3))]),
    frameSizeError,
  ],
  ['PRIORITY of 4 bytes', frame(type.priority, 0, 1, Buffer.alloc(4)), frameSizeError],
  ['PRIORITY on stream 0', frame(type.priority, 0, 0, Buffer.alloc(5)), protocolError],
  [
    'a header block of 65 KiB',
    Buffer.concat([
      cut(block, 0),
      frame(type.continuation, 0, 1, Buffer.alloc(60_000)),
      frame(type.continuation, 4, 1, Buffer.alloc(9_000)),
    ]),
    enhanceYourCalm,
  ],
  [
    '10 000 CONTINUATION of 1 byte',
    Buffer.concat([cut(block, 0), many(10_000, () => frame(type.continuation, 0, 1, Buffer.from([0x82])))]),
    enhanceYourCalm,
  ],
  [
    '10 000 CONTINUATION of 0 bytes',
    Buffer.concat([cut(block, 0), many(10_000, () => frame(type.continuation, 0, 1, none))]),
    enhanceYourCalm,
  ],
]
const floods: [string, Buffer][] = [
  ['PING', frame(type.ping, 0, 0, Buffer.alloc(8))],
  ['empty SETTINGS', frame(type.settings, 0, 0, none)],
  ['SETTINGS', setting(4, 70_000)],
  ['unknown frames', frame(200, 0, 0, Buffer.alloc(3))],
  ['PRIORITY', priority],
  ['WINDOW_UPDATE of the connection', windowUpdate(0, 1)],
  ['WINDOW_UPDATE of a stream', windowUpdate(1, 1)],
  ['empty DATA', data(1, 0)],
  ['GOAWAY', frame(type.goaway, 0, 0, Buffer.alloc(8))],
]

for (const [title, bytes, code] of failures) {
  t.test(`${title} ends the connection with code ${code}`, async (t) => {
    const peer = peerOf('server')
    // The stream error leaves the server's own SETTINGS in front.
    wants(t, peer, peer.feed(bytes), code)
  })
}
for (const [title, bytes, code] of afterHello) {
  t.test(`${title} ends the connection with code ${code}`, async (t) => {
    const peer = peerOf('server')
    peer.feed(hello)
    wants(t, peer, peer.feed(bytes), code)
  })
}
for (const [title, one] of floods) {
  t.test(`a flood of ${title} is cut off at 1000, and not below`, async (t) => {
    const peer = peerOf('server')
    peer.feed(
      hello,
      headers(1),
      many(990, () => one),
    )
    t.equal(peer.failure(), undefined)
    peer.advance(10_001)
    peer.feed(many(990, () => one))
    t.equal(peer.failure(), undefined, 'the count is per time')
    wants(t, peer, peer.feed(many(50, () => one)), enhanceYourCalm)
  })
}

const malformed: [string, [string, string][]][] = [
  ['no method', [[':authority', 'a:1']]],
  ['CONNECT without authority', [[':method', 'CONNECT']]],
  [
    'CONNECT with a path',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      [':path', '/'],
    ],
  ],
  [
    'CONNECT with a protocol',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      [':protocol', 'websocket'],
    ],
  ],
  [
    'GET without a path',
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':authority', 'a'],
    ],
  ],
  [
    'two methods',
    [
      [':method', 'CONNECT'],
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ],
  ],
  [
    'a pseudo field after a header',
    [
      [':method', 'CONNECT'],
      ['a', 'b'],
      [':authority', 'a:1'],
    ],
  ],
  [
    'a capital letter',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['Baggage', 'x'],
    ],
  ],
  [
    'connection',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['connection', 'close'],
    ],
  ],
  [
    'transfer-encoding',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['transfer-encoding', 'chunked'],
    ],
  ],
  [
    'a line break in a value',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['a', 'b\r\nc: d'],
    ],
  ],
  [
    'a NUL in the authority',
    [
      [':method', 'CONNECT'],
      [':authority', 'a\0:1'],
    ],
  ],
  [
    'another host',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['host', 'b:1'],
    ],
  ],
  [
    '101 fields',
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ...Array.from({ length: 99 }, (_, i) => [`x${i}`, ''] as [string, string]),
    ],
  ],
]
for (const [title, fields] of malformed) {
  t.test(`a request with ${title} is reset and reaches nobody`, async (t) => {
    const peer = peerOf('server')
    peer.feed(hello)
    const out = peer.feed(headers(1, 0, hpackEncode(fields)), headers(3))
    t.strictSame(
      out.filter((one) => one.type === type.rstStream).map(({ id, payload }) => [id, payload.readUInt32BE()]),
      [[1, protocolError]],
    )
    t.strictSame(peer.events, ['3 CONNECT 10.0.0.1:80'], 'the connection goes on')
  })
}
