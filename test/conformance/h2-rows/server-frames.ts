import { block, data, frame, headers, none, rst, type, u32 } from '../../lib/hbone/frames.ts'
import { answered, connectionError, echoes, ignored, type Row, status } from '../h2-kit.ts'
import { bytes, continuation, dependsOn, opening, priority, text } from './requests.ts'

const open = headers(1)
const padded = (n: number, payload: Buffer) => Buffer.concat([bytes(n), payload, Buffer.alloc(n)])

const dataRows: readonly Row[] = [
  {
    rfc: '9113 §6.1',
    must: 'DATA is taken',
    send: [open, text(1, 'one')],
    expect: echoes(1, 'one'),
  },
  {
    rfc: '9113 §6.1',
    must: 'several DATA frames are one stream of bytes',
    send: [open, text(1, 'one'), text(1, ' two'), text(1, ' three')],
    expect: echoes(1, 'one two three'),
  },
  {
    rfc: '9113 §6.1',
    must: 'padding is no part of the bytes',
    send: [open, frame(type.data, 8, 1, padded(6, Buffer.from('padded')))],
    expect: echoes(1, 'padded'),
  },
  {
    rfc: '9113 §6.1',
    must: 'DATA may be nothing but padding',
    send: [open, frame(type.data, 8, 1, padded(200, none)), text(1, 'hi')],
    expect: echoes(1, 'hi'),
  },
  {
    rfc: '9113 §6.1',
    must: 'DATA on stream 0 is a connection error',
    send: data(0, 4),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.1',
    must: 'DATA on a stream that is not open is an error',
    send: [open, rst(1), data(1, 4)],
    expect: connectionError('streamClosed'),
  },
  {
    rfc: '9113 §6.1',
    must: 'padding as long as its frame is a connection error',
    send: [open, frame(type.data, 8, 1, bytes(5, 1, 2, 3, 4))],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.1',
    must: 'padded DATA without room for the length of its padding is a connection error',
    send: [open, frame(type.data, 8, 1, none), text(1, 'hi')],
    expect: connectionError('protocolError', 'frameSizeError'),
  },
]

const headersRows: readonly Row[] = [
  {
    rfc: '9113 §6.2',
    must: 'HEADERS are taken',
    send: open,
    expect: status(1, 200),
    reaches: 1,
  },
  {
    rfc: '9113 §6.2',
    must: 'padded HEADERS are taken',
    send: frame(type.headers, 4 | 8, 1, padded(9, block)),
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.2',
    must: 'HEADERS with a priority are taken',
    send: frame(type.headers, 4 | 0x20, 1, Buffer.concat([dependsOn(0, 255), block])),
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.2',
    must: 'padded HEADERS with a priority are taken',
    send: frame(type.headers, 4 | 8 | 0x20, 1, padded(3, Buffer.concat([dependsOn(0), block]))),
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.2',
    must: 'after HEADERS without END_HEADERS only CONTINUATION may follow, not PRIORITY',
    send: [opening(1, block), priority(1), continuation(1, none)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.2',
    must: 'after HEADERS without END_HEADERS only CONTINUATION may follow, not other HEADERS',
    send: [opening(1, block), headers(3)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.2',
    must: 'HEADERS on stream 0 are a connection error',
    send: headers(0),
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.2',
    must: 'padding as long as the HEADERS is a connection error',
    send: headers(1, 8, Buffer.concat([bytes(block.length + 1), block])),
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.2',
    must: 'HEADERS too short for their priority are an error',
    send: headers(1, 0x20, bytes(0, 0, 0)),
    expect: connectionError('protocolError', 'frameSizeError'),
    reaches: 0,
  },
]

const priorityRows: readonly Row[] = [
  ...[0, 127, 255].map((weight) => ({
    rfc: '9113 §6.3',
    must: `PRIORITY of weight ${weight + 1} is taken`,
    send: [open, priority(1, dependsOn(0, weight))],
    expect: ignored,
  })),
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY on another stream is taken',
    send: [open, headers(3), priority(3, dependsOn(1))],
    expect: ignored,
  },
  {
    rfc: '9113 §6.3',
    must: 'exclusive PRIORITY is taken',
    send: [open, headers(3), priority(3, dependsOn(1, 15, true))],
    expect: ignored,
  },
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY of an idle stream opens no stream: a lower one may still be opened',
    send: [priority(9), headers(3)],
    expect: status(3, 200),
  },
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY on stream 0 is a connection error',
    send: priority(0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY of another length than 5 is a frame size error',
    send: [open, priority(1, Buffer.alloc(4))],
    expect: connectionError('frameSizeError'),
  },
]

const resetRows: readonly Row[] = [
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM ends its stream and no other',
    send: [open, headers(3), rst(1), text(3, 'hi')],
    expect: echoes(3, 'hi'),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM is not answered with RST_STREAM',
    send: [open, rst(1, 2)],
    expect: answered('no RST_STREAM', (all) => all.every((one) => one.type !== type.rstStream)),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM on stream 0 is a connection error',
    send: rst(0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM on an idle stream is a connection error',
    send: rst(1),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM of another length than 4 is a frame size error',
    send: [open, frame(type.rstStream, 0, 1, Buffer.alloc(3))],
    expect: connectionError('frameSizeError'),
  },
]

const continuationRows: readonly Row[] = [
  {
    rfc: '9113 §6.10',
    must: 'HEADERS may be continued',
    send: [opening(1, block.subarray(0, 4)), continuation(1, block.subarray(4))],
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.10',
    must: 'HEADERS may be continued more than once, in the middle of a field too',
    send: [
      opening(1, block.subarray(0, 1)),
      continuation(1, block.subarray(1, 5), 0),
      continuation(1, none, 0),
      continuation(1, block.subarray(5)),
    ],
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.10',
    must: 'END_STREAM of continued HEADERS counts',
    send: [opening(1, block.subarray(0, 4), 1), continuation(1, block.subarray(4))],
    expect: answered('the end of the stream', (all) =>
      all.some((one) => one.type === type.data && one.id === 1 && one.flags === 1),
    ),
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION may be followed by nothing else before END_HEADERS',
    send: [opening(1, block.subarray(0, 4)), continuation(1, none, 0), data(1, 1)],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION on stream 0 is a connection error',
    send: [opening(1, block.subarray(0, 4)), continuation(0, block.subarray(4))],
    expect: connectionError('protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION after HEADERS with END_HEADERS is a connection error',
    send: [open, continuation(1, none)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION after CONTINUATION with END_HEADERS is a connection error',
    send: [opening(1, block.subarray(0, 4)), continuation(1, block.subarray(4)), continuation(1, none)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION after DATA is a connection error',
    send: [open, data(1, 1), continuation(1, none)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.6',
    must: 'a client pushes nothing: PUSH_PROMISE is a connection error',
    send: [open, frame(type.pushPromise, 4, 1, Buffer.concat([u32(2), block]))],
    expect: connectionError('protocolError'),
  },
]

export const serverFrames: readonly Row[] = [
  ...dataRows,
  ...headersRows,
  ...priorityRows,
  ...resetRows,
  ...continuationRows,
]
