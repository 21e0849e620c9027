import { data, frame, headers, none, type, u32, windowUpdate } from '../../lib/hbone/frames.ts'
import { answered, connectionError, echoes, hasText, ignored, type Row, status } from '../h2-kit.ts'
import { ping, settingId, settings, text } from './requests.ts'

const open = headers(1)
const isAck = (one: { type: number; flags: number }) => one.type === type.settings && one.flags === 1
const acks = (n: number) => answered(`${n} acknowledgements`, (all) => all.filter(isAck).length === n)
const settingsRows: readonly Row[] = [
  {
    rfc: '9113 §6.5',
    must: 'SETTINGS are taken and acknowledged at once',
    send: settings([settingId.streams, 100]),
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
    send: [open, frame(type.settings, 0, 1, none)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5',
    must: 'SETTINGS whose length is no multiple of 6 are a frame size error',
    send: frame(type.settings, 0, 0, Buffer.alloc(3)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'ENABLE_PUSH of another value than 0 and 1 is a connection error',
    send: settings([settingId.push, 2]),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'a client may set ENABLE_PUSH to 1; nothing is ever pushed',
    send: settings([settingId.push, 1]),
    expect: acks(2),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'INITIAL_WINDOW_SIZE above 2^31-1 is a flow control error',
    send: settings([settingId.window, 0x8000_0000]),
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'MAX_FRAME_SIZE below 16384 is a connection error',
    send: settings([settingId.frame, 16_383]),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'MAX_FRAME_SIZE above 16777215 is a connection error',
    send: settings([settingId.frame, 16_777_216]),
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'the extremes of MAX_FRAME_SIZE are taken',
    send: [settings([settingId.frame, 16_384]), settings([settingId.frame, 16_777_215])],
    expect: acks(3),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'an unknown setting is ignored and acknowledged',
    send: settings([0xff, 1]),
    expect: acks(2),
  },
  {
    rfc: '9113 §6.5.2',
    must: 'HEADER_TABLE_SIZE and MAX_HEADER_LIST_SIZE are taken',
    send: [settings([settingId.tableSize, 0], [settingId.list, 1 << 20]), open],
    expect: status(1, 200),
  },
  {
    rfc: '9113 §6.5.3',
    must: 'of several values of one setting the last counts',
    send: [settings([settingId.window, 100], [settingId.window, 1]), open, text(1, 'abc')],
    expect: answered('one byte', (all) => hasText(all, 1, 'a')),
  },
  {
    rfc: '9113 §6.5.3',
    must: 'values are worked through in their order, the bad one included',
    send: settings([settingId.window, 1], [settingId.frame, 1]),
    expect: connectionError('protocolError'),
  },
]

const pong = (payload: string) =>
  answered('the same 8 bytes', (all) =>
    all.some((one) => one.type === type.ping && one.flags === 1 && one.payload.toString() === payload),
  )
const pingRows: readonly Row[] = [
  {
    rfc: '9113 §6.7',
    must: 'PING is acknowledged with its payload',
    send: ping('01234567'),
    expect: pong('01234567'),
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
    send: [open, ping('pingping', 0, 1)],
    expect: connectionError('protocolError'),
  },
  ...[7, 9].map((n) => ({
    rfc: '9113 §6.7',
    must: `PING of ${n} bytes is a frame size error`,
    send: frame(type.ping, 0, 0, Buffer.alloc(n)),
    expect: connectionError('frameSizeError'),
  })),
]

const goawayRows: readonly Row[] = [
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY lets open streams go on',
    send: [open, frame(type.goaway, 0, 0, u32(0, 0)), text(1, 'hi')],
    expect: echoes(1, 'hi'),
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY may carry debug bytes',
    send: [open, frame(type.goaway, 0, 0, Buffer.concat([u32(0, 0), Buffer.from('bye')])), text(1, 'hi')],
    expect: echoes(1, 'hi'),
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY on a stream is a connection error',
    send: [open, frame(type.goaway, 0, 1, u32(0, 0))],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.8',
    must: 'GOAWAY of fewer than 8 bytes is a frame size error',
    send: frame(type.goaway, 0, 0, u32(0)),
    expect: connectionError('frameSizeError'),
  },
]

const largest = 0x7fff_ffff
const narrow = (window: number) => settings([settingId.window, window])
const windowRows: readonly Row[] = [
  {
    rfc: '9113 §6.9',
    must: 'WINDOW_UPDATE of the connection is taken',
    send: windowUpdate(0, 1),
    expect: ignored,
  },
  {
    rfc: '9113 §6.9',
    must: 'WINDOW_UPDATE of a stream is taken',
    send: [open, windowUpdate(1, 1)],
    expect: ignored,
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
    send: [open, windowUpdate(1, 0)],
    expect: connectionError('protocolError'),
  },
  {
    rfc: '9113 §6.9',
    must: 'WINDOW_UPDATE of another length than 4 is a frame size error',
    send: frame(type.windowUpdate, 0, 0, Buffer.alloc(3)),
    expect: connectionError('frameSizeError'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'no more DATA is sent than the window of the stream allows',
    send: [narrow(1), open, text(1, 'abc')],
    expect: answered('one byte', (all) => hasText(all, 1, 'a')),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'what the window held back is sent when it opens',
    send: [narrow(1), open, text(1, 'abc'), windowUpdate(1, 1)],
    expect: echoes(1, 'ab'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'a connection window above 2^31-1 is a flow control error',
    send: [windowUpdate(0, largest), windowUpdate(0, largest)],
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'a stream window above 2^31-1 is a flow control error',
    send: [open, windowUpdate(1, largest), windowUpdate(1, largest)],
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.9.1',
    must: 'a peer that sends more than the window of the connection is cut off',
    send: [open, ...Array.from({ length: 7 }, () => data(1, 16_384))],
    limits: { connectionWindow: 65_535, streamWindow: 1 << 20, maxHeldBytes: 0 },
    expect: connectionError('flowControlError'),
  },
  {
    rfc: '9113 §6.9.2',
    must: 'a larger INITIAL_WINDOW_SIZE opens the streams that are open',
    send: [narrow(0), open, text(1, 'abc'), narrow(2)],
    expect: echoes(1, 'ab'),
  },
  {
    rfc: '9113 §6.9.2',
    must: 'a smaller INITIAL_WINDOW_SIZE may make a window negative',
    send: [narrow(3), open, text(1, 'abc'), narrow(2), windowUpdate(1, 2), text(1, 'de')],
    expect: answered('at most the fourth byte', (all) => hasText(all, 1, 'abcd') || hasText(all, 1, 'abcde')),
  },
  {
    rfc: '9113 §6.9.2',
    must: 'an INITIAL_WINDOW_SIZE that takes an open window above 2^31-1 is a flow control error',
    send: [open, windowUpdate(1, 0x7fff_0000), narrow(0x2_0000)],
    expect: connectionError('flowControlError'),
  },
]

export const serverSettings: readonly Row[] = [...settingsRows, ...pingRows, ...goawayRows, ...windowRows]
