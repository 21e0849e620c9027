import type { Field } from '../../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { block, data, frame, headers, none, rst, type, u32, windowUpdate } from '../../lib/hbone/frames.ts'
import { answered, connectionError, ignored, type Row, streamError } from '../h2-kit.ts'
import {
  bytes,
  continuation,
  dependsOn,
  opening,
  ping,
  priority,
  settingId,
  settings,
  text,
} from './requests.ts'

// The client has one stream, 1, which is open unless a row is `early`.

const ok: readonly Field[] = [[':status', '200']]
const answer = (...fields: Field[]) => headers(1, 0, hpackEncode(fields))
/** An interim answer: the 200 comes later. */
const interim = hpackEncode([
  [':status', '103'],
  ['x-served-by', 'far'],
])

const frames: readonly Row[] = [
  {
    rfc: '9113 §6.1',
    must: 'DATA on stream 0 is a connection error',
    send: data(0, 1),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.1',
    must: 'padding as long as its frame is a connection error',
    send: frame(type.data, 8, 1, bytes(3, 1, 1)),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.1',
    must: 'padding is no part of the bytes',
    send: frame(type.data, 8, 1, bytes(2, 65, 0, 0)),
    expect: ignored,
  },
  {
    rfc: '9113 §6.2',
    must: 'HEADERS on stream 0 are a connection error',
    send: headers(0, 0, hpackEncode(ok)),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.2',
    must: 'padding as long as the HEADERS is a connection error',
    early: true,
    send: headers(1, 8, bytes(9, 0x88)),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.2',
    must: 'HEADERS with padding and priority are taken',
    early: true,
    send: headers(
      1,
      8 | 0x20,
      Buffer.concat([bytes(2), dependsOn(0), hpackEncode([[':status', '103']]), bytes(0, 0)]),
    ),
    expect: ignored,
  },
  { rfc: '9113 §6.3', must: 'PRIORITY is taken', send: priority(1), expect: ignored },
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY on stream 0 is a connection error',
    send: priority(0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.3',
    must: 'PRIORITY of another length than 5 is a frame size error',
    send: priority(1, Buffer.alloc(6)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM on stream 0 is a connection error',
    send: rst(0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.4',
    must: 'RST_STREAM of another length than 4 is a frame size error',
    send: frame(type.rstStream, 0, 1, Buffer.alloc(5)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.6',
    must: 'PUSH_PROMISE is a connection error: push was not enabled',
    send: frame(type.pushPromise, 4, 1, Buffer.concat([u32(2), block])),
    expect: connectionError('protocolError'),
  },
]

const acks = (n: number) =>
  answered(
    `${n} acknowledgements`,
    (all) => all.filter((one) => one.type === type.settings && one.flags === 1).length === n,
  )
const settingsRows: readonly Row[] = [
  {
    rfc: '9113 §6.5',
    must: 'SETTINGS are acknowledged',
    send: settings([settingId.streams, 7]),
    expect: acks(2),
  },
  {
    rfc: '9113 §6.5',
    must: 'an acknowledgement with a payload is a frame size error',
    send: frame(type.settings, 1, 0, Buffer.alloc(6)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.5',
    must: 'SETTINGS on a stream are a connection error',
    send: frame(type.settings, 0, 1, none),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5',
    must: 'SETTINGS whose length is no multiple of 6 are a frame size error',
    send: frame(type.settings, 0, 0, Buffer.alloc(7)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'a server that enables push is a connection error',
    send: settings([settingId.push, 1]),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'a server may say that it does not push',
    send: settings([settingId.push, 0]),
    expect: acks(2),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'INITIAL_WINDOW_SIZE above 2^31-1 is a flow control error',
    send: settings([settingId.window, 0xffff_ffff]),
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'MAX_FRAME_SIZE below 16384 is a connection error',
    send: settings([settingId.frame, 0]),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'MAX_FRAME_SIZE above 16777215 is a connection error',
    send: settings([settingId.frame, 0x100_0000]),
    expect: connectionError('protocolError'),
  },
  { rfc: '9113 §6.5.2', must: 'an unknown setting is ignored', send: settings([0x99, 9]), expect: acks(2) },
]

const others: readonly Row[] = [
  {
    rfc: '9113 §6.7',
    must: 'PING is acknowledged with its payload',
    send: ping('01234567'),
    expect: answered('the same bytes', (all) =>
      all.some((one) => one.flags === 1 && one.payload.toString() === '01234567'),
    ),
  },
  {
    rfc: '9113 §6.7',
    must: 'an acknowledgement of PING is not answered',
    send: ping('unasked!', 1),
    expect: answered('nothing', (all) => all.every((one) => one.payload.toString() !== 'unasked!')),
  },
  {
    rfc: '9113 §6.7',
    must: 'PING on a stream is a connection error',
    send: ping('pingping', 0, 1),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.7',
    must: 'PING of another length than 8 is a frame size error',
    send: ping('short'),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY lets the streams go on that it covers',
    send: frame(type.goaway, 0, 0, u32(1, 0)),
    expect: ignored,
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY that announces itself with the largest number lets all streams go on',
    send: frame(type.goaway, 0, 0, u32(0x7fff_ffff, 0)),
    expect: ignored,
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY on a stream is a connection error',
    send: frame(type.goaway, 0, 1, u32(1, 0)),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY of fewer than 8 bytes is a frame size error',
    send: frame(type.goaway, 0, 0, u32(0)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.9',
    must: 'an increment of 0 for the connection is a connection error',
    send: windowUpdate(0, 0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.9',
    must: 'an increment of 0 for a stream is an error',
    send: windowUpdate(1, 0),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.9',
    must: 'WINDOW_UPDATE of another length than 4 is a frame size error',
    send: frame(type.windowUpdate, 0, 0, Buffer.alloc(5)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'a connection window above 2^31-1 is a flow control error',
    send: windowUpdate(0, 0x7fff_ffff),
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'a stream window above 2^31-1 is a flow control error',
    send: windowUpdate(1, 0x7fff_ffff),
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.9.2',
    must: 'an INITIAL_WINDOW_SIZE that takes an open window above 2^31-1 is a flow control error',
    send: [windowUpdate(1, 0x7fff_0000), settings([settingId.window, 0x2_0000])],
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION without HEADERS is a connection error',
    send: continuation(1, none),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.10',
    must: 'CONTINUATION of another stream is a connection error',
    early: true,
    send: [opening(1, interim.subarray(0, 4)), continuation(3, interim.subarray(4))],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.10',
    must: 'DATA in the middle of a header block is a connection error',
    early: true,
    send: [opening(1, interim.subarray(0, 4)), text(1, 'x')],
    expect: connectionError('protocolError'),
  },
]

const malformed = (rfc: string, must: string, ...fields: Field[]): Row => ({
  rfc: `9113 ${rfc}`,
  must: `${must} is malformed`,
  early: true,
  send: answer(...fields),
  expect: streamError(1, 'protocolError'),
})
const answers: readonly Row[] = [
  {
    rfc: '9113 §8.1',
    must: 'interim answers are passed over',
    early: true,
    send: [answer([':status', '100']), answer([':status', '103'], ['link', '</a>'])],
    expect: ignored,
  },
  {
    rfc: '9113 §8.1',
    must: 'an interim answer that ends its stream is malformed',
    early: true,
    send: headers(1, 1, hpackEncode([[':status', '103']])),
    expect: streamError(1, 'protocolError'),
  },
  {
    rfc: '9113 §8.1',
    must: 'DATA before the answer is an error',
    early: true,
    send: text(1, 'too early'),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §8.5',
    must: 'in a tunnel HEADERS are a stream error, even as trailers',
    send: headers(1, 1, hpackEncode([['x', 'y']])),
    expect: streamError(1, 'protocolError'),
  },
  {
    rfc: '9110 §9.3.6',
    must: 'content-length in the answer to CONNECT means nothing',
    early: true,
    send: answer([':status', '103'], ['content-length', '5']),
    expect: ignored,
  },
  malformed('§8.3.2', 'an answer without :status', ['x', 'y']),
  malformed('§8.3.2', 'an answer with two :status', [':status', '200'], [':status', '200']),
  malformed('§8.3.2', 'a :status of two digits', [':status', '20']),
  malformed('§8.3.2', 'a :status that is no number', [':status', '2xx']),
  malformed('§8.6', 'a :status of 101', [':status', '101']),
  malformed('§8.3', 'a pseudo field of requests in an answer', [':status', '200'], [':method', 'CONNECT']),
  malformed('§8.3', 'an unknown pseudo field in an answer', [':status', '200'], [':test', 'x']),
  malformed('§8.3', 'a pseudo field after another field', ['x', 'y'], [':status', '200']),
  malformed('§8.2.1', 'a name with a capital letter', [':status', '200'], ['X-Test', 'y']),
  malformed('§8.2.1', 'a value with a line break', [':status', '200'], ['x', 'y\r\nz: a']),
  malformed('§8.2.2', 'Connection in an answer', [':status', '200'], ['connection', 'close']),
  malformed('§8.2.2', 'Transfer-Encoding in an answer', [':status', '200'], ['transfer-encoding', 'chunked']),
]

const hpack: readonly Row[] = (
  [
    ['7541 §2.3.3', 'an index behind the end of the tables', [0xc6]],
    ['7541 §4.2', 'a change of the size of the table behind a field', [0x88, 0x20]],
    ['7541 §5.2', 'a padding of zeros', [0x00, 0x81, 0x18, 0x00]],
    ['7541 §5.2', 'an end-of-string code', [0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]],
    ['7541 §6.1', 'index 0', [0x80]],
    ['7541 §6.3', 'a size of the table above the agreed one', [0x3f, 0xe2, 0x1f]],
  ] as const
).map(([rfc, must, raw]) => ({
  rfc,
  must: `${must} is a compression error`,
  early: true as const,
  send: headers(1, 0, Buffer.from(raw)),
  expect: connectionError('compressionError'),
}))

export const clientFrames: readonly Row[] = [...frames, ...settingsRows, ...others, ...answers, ...hpack]
