import type { Field } from '../../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { preface } from '../../../lib/hbone/frames.ts'
import { block, data, frame, headers, hello, none, rst, type, windowUpdate } from '../../lib/hbone/frames.ts'
import { answered, connectionError, ignored, type Row } from '../h2-kit.ts'
import { bytes, continuation, opening, ping, priority } from './requests.ts'

// The client has one stream, 1, which is open unless a row is `early`.

const ok: readonly Field[] = [[':status', '200']]
/** An interim answer: the 200 comes later. */
const interim = hpackEncode([
  [':status', '103'],
  ['x-served-by', 'far'],
])

const beginning: readonly Row[] = [
  {
    rfc: '9113 §3.4',
    must: 'a client begins with the preface and SETTINGS without push',
    send: [],
    expect: answered('ENABLE_PUSH 0', ([first]) => {
      const payload = first?.payload.toString('hex') ?? ''
      return first?.type === type.settings && first.flags === 0 && payload.includes('000200000000')
    }),
  },
  {
    rfc: '9113 §3.4',
    must: 'a server that begins with another frame than SETTINGS is a connection error',
    raw: true,
    early: true,
    send: ping(),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a server that begins with an acknowledgement of SETTINGS is a connection error',
    raw: true,
    early: true,
    send: frame(type.settings, 1, 0, none),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a server that speaks another protocol is a connection error',
    raw: true,
    early: true,
    send: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    expect: connectionError('protocolError', 'frameSizeError'),
  },
  {
    rfc: '9113 §3.4',
    must: 'a server that sends the preface of a client is a connection error',
    raw: true,
    early: true,
    send: [preface, hello.subarray(24)],
    expect: connectionError('protocolError', 'frameSizeError'),
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
    must: 'an unknown frame on the stream is ignored',
    send: frame(0x16, 0xff, 1, none),
    expect: ignored,
  },
  {
    rfc: '9113 §4.1',
    must: 'flags that a frame type does not define are ignored',
    send: ping('flagged!', 0xfe),
    expect: answered('the acknowledgement', (all) =>
      all.some((one) => one.payload.toString() === 'flagged!'),
    ),
  },
  {
    rfc: '9113 §4.1',
    must: 'the reserved bit of the stream number is ignored',
    send: frame(type.data, 0, 0x8000_0001, Buffer.from('x')),
    expect: ignored,
  },
  { rfc: '9113 §4.2', must: 'a frame of 16384 bytes is taken', send: data(1, 16_384), expect: ignored },
  {
    rfc: '9113 §4.2',
    must: 'DATA longer than agreed is a frame size error',
    limits: { maxFrameBytes: 32_768 },
    send: data(1, 32_769),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.2',
    must: 'HEADERS longer than agreed are a frame size error of the connection',
    limits: { maxFrameBytes: 32_768 },
    early: true,
    send: frame(type.headers, 4, 1, Buffer.alloc(32_769, 0x88)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §4.3',
    must: 'a header block that cannot be decoded is a compression error',
    early: true,
    send: headers(1, 0, bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
    expect: connectionError('compressionError'),
  },
  {
    rfc: '9113 §4.3',
    must: 'no frame of another kind may stand in a header block',
    early: true,
    send: [opening(1, interim.subarray(0, 4)), priority(1), continuation(1, interim.subarray(4))],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §4.3',
    must: 'an answer may come in pieces',
    early: true,
    send: [
      opening(1, interim.subarray(0, 4)),
      continuation(1, none, 0),
      continuation(1, interim.subarray(4)),
    ],
    expect: ignored,
  },
]

const states: readonly Row[] = [
  ...(
    [
      ['DATA', data(3, 1)],
      ['HEADERS', headers(3, 0, hpackEncode(ok))],
      ['RST_STREAM', rst(3)],
      ['WINDOW_UPDATE', windowUpdate(3, 1)],
      ['CONTINUATION', continuation(3, none)],
    ] as const
  ).map(([name, send]) => ({
    rfc: '9113 §5.1',
    must: `${name} on a stream that we have not opened is a connection error`,
    send,
    expect: connectionError('protocolError'),
  })),
  { rfc: '9113 §5.1', must: 'PRIORITY on an idle stream is taken', send: priority(3), expect: ignored },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): DATA is an error',
    send: [data(1, 0, 1), data(1, 1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'half-closed (remote): HEADERS are an error',
    send: [data(1, 0, 1), headers(1, 1, hpackEncode(ok))],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'closed by RST_STREAM: DATA is an error',
    send: [rst(1, 2), data(1, 1)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1',
    must: 'closed by RST_STREAM: HEADERS are an error',
    send: [rst(1, 2), headers(1, 0, hpackEncode(ok))],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §5.1.1',
    must: 'a server opens no streams: HEADERS on an even number are a connection error',
    send: headers(2, 0, block),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §5.5',
    must: 'an extension frame in a header block is a connection error',
    early: true,
    send: [opening(1, interim.subarray(0, 4)), frame(0x16, 0, 1, none)],
    expect: connectionError('protocolError'),
  },
]

export const clientStreams: readonly Row[] = [...beginning, ...format, ...states]
