import { data, frame, headers, none, rst, type, u32, windowUpdate } from '../../lib/hbone/frames.ts'
import { preface, settingsFrame } from '../../../lib/hbone/frames.ts'
import {
  answered,
  connectionError,
  echoes,
  hasStatus,
  hasText,
  ignored,
  isProbed,
  type Row,
  status,
  streamError,
} from '../h2-kit.ts'
import { continuation, dependsOn, opening, ping, priority, request, text } from './requests.ts'
import { block } from '../../lib/hbone/frames.ts'

const open = headers(1)
const ended = headers(1, 1)
const bothEnded = [headers(1), data(1, 0, 1)]

const beginning: readonly Row[] = [
  {
    rfc: '9113 §3.4',
    must: 'a server begins with a SETTINGS frame that acknowledges nothing',
    send: [],
    expect: answered('SETTINGS first', ([first]) => first?.type === type.settings && first.flags === 0),
  },
  {
    rfc: '9113 §3.4',
    must: 'a server takes a connection preface and serves',
    raw: true,
    send: [preface, settingsFrame([]), open],
    expect: status(1, 200),
  },
  {
    rfc: '9113 §3.4',
    must: 'a preface that is another protocol is a connection error',
    raw: true,
    send: Buffer.from('GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n'),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a preface that is wrong in its last byte is a connection error',
    raw: true,
    send: Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r!', 'latin1'),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a preface that is followed by another frame than SETTINGS is a connection error',
    raw: true,
    send: [preface, ping()],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a preface that is followed by an acknowledgement of SETTINGS is a connection error',
    raw: true,
    send: [preface, frame(type.settings, 1, 0, none)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'requests may follow the preface before the SETTINGS of the server were seen',
    raw: true,
    send: [preface, settingsFrame([]), open, text(1, 'early')],
    expect: echoes(1, 'early'),
  },
]

const format: readonly Row[] = [
  {
    rfc: '9113 §4.1',
    must: 'a frame of an unknown type is ignored',
    send: frame(0x16, 0, 0, Buffer.alloc(8)),
    expect: ignored,
  },
  {
    rfc: '9113 §4.1',
    must: 'flags that a frame type does not define are ignored',
    send: ping('flagged!', 0xfe),
    expect: answered('the acknowledgement', (all) =>
      all.some((one) => one.type === type.ping && one.payload.toString() === 'flagged!'),
    ),
  },
  {
    rfc: '9113 §4.1',
    must: 'the reserved bit of the stream number is ignored',
    send: frame(type.ping, 0, 0x8000_0000, Buffer.from('reserved')),
    expect: answered('the acknowledgement', (all) =>
      all.some((one) => one.type === type.ping && one.id === 0 && one.payload.toString() === 'reserved'),
    ),
  },
  {
    rfc: '9113 §4.1',
    must: 'the reserved bit of a request is ignored',
    send: frame(type.headers, 4, 0x8000_0001, block),
    expect: status(1, 200),
  },
  {
    rfc: '9113 §4.2',
    must: 'a frame of 16384 bytes is taken',
    send: [open, data(1, 16_384)],
    expect: answered(
      '16384 bytes',
      (all) =>
        all.filter((one) => one.type === type.data).reduce((sum, one) => sum + one.payload.length, 0) ===
        16_384,
    ),
  },
  {
    rfc: '9113 §4.2',
    must: 'DATA longer than agreed is a frame size error',
    send: [open, frame(type.data, 0, 1, Buffer.alloc(32_769))],
    limits: { maxFrameBytes: 32_768 },
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.2',
    must: 'HEADERS longer than agreed are a frame size error of the connection',
    send: frame(type.headers, 4, 1, Buffer.alloc(32_769, 0x82)),
    limits: { maxFrameBytes: 32_768 },
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.2',
    must: 'SETTINGS longer than agreed are a frame size error of the connection',
    send: frame(type.settings, 0, 0, Buffer.alloc(32_772)),
    limits: { maxFrameBytes: 32_768 },
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.2',
    must: 'an unknown frame longer than agreed is a frame size error',
    send: frame(0x16, 0, 0, Buffer.alloc(32_769)),
    limits: { maxFrameBytes: 32_768 },
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.3',
    must: 'a header block that cannot be decoded is a compression error',
    send: headers(1, 0, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    expect: connectionError('compressionError'),
    reaches: 0,
  },
  {
    rfc: '9113 §4.3',
    must: 'a header block that is cut short is a compression error',
    send: headers(1, 0, block.subarray(0, -1)),
    expect: connectionError('compressionError'),
    reaches: 0,
  },
  {
    rfc: '9113 §4.3',
    must: 'no frame of another kind may stand in a header block',
    send: [opening(1, block), priority(1), continuation(1, none)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §4.3',
    must: 'no frame of another stream may stand in a header block',
    send: [opening(1, block), headers(3)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
]

const idle: readonly Row[] = [
  ['DATA', data(1, 1)],
  ['RST_STREAM', rst(1)],
  ['WINDOW_UPDATE', windowUpdate(1, 100)],
  ['CONTINUATION', continuation(1, block)],
].map(([name, send]) => ({
  rfc: '9113 §5.1',
  must: `idle: ${String(name)} is a connection error`,
  send: Buffer.from(send ?? none),
  expect: connectionError('protocolError'),
  reaches: 0,
}))

const halfClosed: readonly Row[] = [
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): DATA is an error',
    send: [ended, data(1, 1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): HEADERS are an error',
    send: [ended, headers(1, 1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): CONTINUATION is an error',
    send: [ended, continuation(1, block)],
    expect: connectionError('protocolError', 'streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): WINDOW_UPDATE is taken',
    send: [ended, windowUpdate(1, 1)],
    expect: ignored,
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): PRIORITY is taken',
    send: [ended, priority(1)],
    expect: ignored,
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): RST_STREAM is taken',
    send: [ended, rst(1)],
    expect: ignored,
  },
]

const closedAfter = (how: string, first: readonly Buffer[]): readonly Row[] => [
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: DATA is an error`,
    send: [...first, data(1, 1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: HEADERS are an error`,
    send: [...first, headers(1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: CONTINUATION is an error`,
    send: [...first, continuation(1, block)],
    expect: connectionError('protocolError', 'streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: PRIORITY is taken`,
    send: [...first, priority(1)],
    expect: ignored,
  },
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: WINDOW_UPDATE is taken`,
    send: [...first, windowUpdate(1, 1)],
    expect: ignored,
  },
  {
    rfc: '9113 §5.1',
    must: `closed by ${how}: RST_STREAM is taken`,
    send: [...first, rst(1)],
    expect: ignored,
  },
]

const numbers: readonly Row[] = [
  {
    rfc: '9113 §5.1.1',
    must: 'a request on an even stream number is a connection error',
    send: headers(2),
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §5.1.1',
    must: 'a stream number lower than one before is a connection error',
    send: [headers(5), headers(3)],
    expect: connectionError('protocolError'),
    reaches: 1,
  },
  {
    rfc: '9113 §5.1.1',
    must: 'stream numbers may be left out',
    send: [headers(1), headers(101)],
    expect: status(101, 200),
    reaches: 2,
  },
  {
    rfc: '9113 §5.1.2',
    must: 'as many streams as were advertised are served',
    send: [headers(1), headers(3)],
    limits: { maxStreams: 3 },
    expect: answered('both', (all) => hasStatus(all, 1, 200) && hasStatus(all, 3, 200)),
    reaches: 2,
  },
  {
    rfc: '9113 §5.1.2',
    must: 'a stream beyond the limit is REFUSED_STREAM and may be tried again',
    send: [headers(1), headers(3), headers(5), rst(1), data(3, 0, 1)],
    limits: { maxStreams: 2 },
    expect: streamError(5, 'refusedStream'),
    reaches: 2,
  },
]

const multiplexing: readonly Row[] = [
  {
    rfc: '9113 §5.3.2',
    must: 'PRIORITY may come before its stream is opened',
    send: [priority(1), open, text(1, 'hi')],
    expect: echoes(1, 'hi'),
  },
  {
    rfc: '9113 §5.3.2',
    must: 'HEADERS that depend on themselves are taken: the scheme is deprecated',
    send: frame(type.headers, 4 | 0x20, 1, Buffer.concat([dependsOn(1), block])),
    expect: status(1, 200),
  },
  {
    rfc: '9113 §5.3.2',
    must: 'PRIORITY of a stream on itself resets nothing: the scheme is deprecated',
    send: [open, priority(1, dependsOn(1))],
    expect: ignored,
  },
  {
    rfc: '9113 §5.4.1',
    must: 'after a connection error there comes GOAWAY with the last stream, then the end',
    send: [headers(1), headers(3), ping('pingping', 0, 3)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §5.4.1',
    must: 'after a connection error nothing further is served',
    send: [ping('short'), headers(1)],
    expect: connectionError('frameSizeError'),
    reaches: 0,
  },
  {
    rfc: '9113 §5.4.2',
    must: 'what was on the way to a stream that we have reset is ignored',
    send: [request(['a', 'b']), data(1, 10), windowUpdate(1, 5), headers(1), rst(1)],
    expect: streamError(1, 'protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §5.5',
    must: 'an extension frame on a stream is ignored',
    send: [open, frame(0xfe, 0xff, 1, Buffer.alloc(100)), text(1, 'hi')],
    expect: echoes(1, 'hi'),
  },
  {
    rfc: '9113 §5.5',
    must: 'an extension frame in a header block is a connection error',
    send: [opening(1, block), frame(0xfe, 0, 1, none), continuation(1, none)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §5.1',
    must: 'streams are served in parallel, whatever the order of their frames',
    send: [headers(1), headers(3), text(3, 'three'), text(1, 'one'), data(3, 0, 1), data(1, 0, 1)],
    expect: answered(
      'both echoes',
      (all) => isProbed(all) && hasText(all, 1, 'one') && hasText(all, 3, 'three'),
    ),
    reaches: 2,
  },
  {
    rfc: '9113 §5.1',
    must: 'a half-closed stream still gets its answer',
    send: [open, text(1, 'last words', 1)],
    expect: answered(
      'the echo and an END_STREAM',
      (all) =>
        hasText(all, 1, 'last words') &&
        all.some((one) => one.type === type.data && one.id === 1 && one.flags === 1),
    ),
  },
  {
    rfc: '9113 §7',
    must: 'a GOAWAY of an unknown code ends nothing but new streams',
    send: [open, frame(type.goaway, 0, 0, u32(0, 0xff)), text(1, 'hi')],
    expect: answered('the echo', (all) => hasText(all, 1, 'hi')),
  },
  {
    rfc: '9113 §7',
    must: 'RST_STREAM of an unknown code ends its stream only',
    send: [open, headers(3), rst(1, 0xff), text(3, 'hi')],
    expect: echoes(3, 'hi'),
  },
]

export const serverStreams: readonly Row[] = [
  ...beginning,
  ...format,
  ...idle,
  ...halfClosed,
  ...closedAfter('RST_STREAM', [open, rst(1)]),
  ...closedAfter('END_STREAM of both', bothEnded),
  ...numbers,
  ...multiplexing,
]
