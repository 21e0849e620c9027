import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { headers } from '../../lib/hbone/frames.ts'
import { answered, connectionError, hasStatus, type Row, status, streamError } from '../h2-kit.ts'
import { bytes, connectFields } from './requests.ts'

const connect = hpackEncode(connectFields)
const ascii = (text: string) => Buffer.from(text, 'latin1')
/** CONNECT with raw representations before or behind its fields. */
const behind = (...more: (Buffer | number[])[]) =>
  headers(1, 0, Buffer.concat([connect, ...more.map((one) => Buffer.from(one))]))
const before = (id: number, ...more: (Buffer | number[])[]) =>
  headers(id, 0, Buffer.concat([...more.map((one) => Buffer.from(one)), connect]))
/** A string literal as it is, and one that says it is in Huffman code. */
const plain = (text: string) => Buffer.concat([bytes(text.length), ascii(text)])
const huffman = (...code: number[]) => bytes(0x80 | code.length, ...code)
/** "custom-key" and "custom-value" (RFC 7541 C.4.3). */
const customKey = huffman(0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f)
const customValue = huffman(0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf)
/** Index 37 is `content-type` in no table of ours; 22 is `allow`, a name that a CONNECT may carry. */
const allow = 22

const taken = (rfc: string, must: string, send: Buffer | Buffer[]): Row => ({
  rfc: `7541 ${rfc}`,
  must,
  send,
  expect: status(1, 200),
  reaches: Array.isArray(send) ? send.length : 1,
})
const broken = (rfc: string, must: string, ...more: (Buffer | number[])[]): Row => ({
  rfc: `7541 ${rfc}`,
  must: `${must} is a compression error`,
  send: behind(...more),
  expect: connectionError('compressionError'),
  reaches: 0,
})

const representations: readonly Row[] = [
  // 16 is `accept-encoding: gzip, deflate` of the static table.
  taken('§6.1', 'an indexed field is taken', behind([0x80 | 16])),
  taken('§6.2.1', 'a literal that is added, of an indexed name', behind([0x40 | allow], plain('x'))),
  taken(
    '§6.2.1',
    'a literal that is added, of an indexed name, in Huffman code',
    behind([0x40 | allow], customValue),
  ),
  taken('§6.2.1', 'a literal that is added, of a new name', behind([0x40], plain('x-a'), plain('b'))),
  taken(
    '§6.2.1',
    'a literal that is added, of a new name, in Huffman code',
    behind([0x40], customKey, customValue),
  ),
  taken('§6.2.2', 'a literal that is not added, of an indexed name', behind([0x0f, allow - 15], plain('x'))),
  taken(
    '§6.2.2',
    'a literal that is not added, of an indexed name, in Huffman code',
    behind([0x0f, allow - 15], customValue),
  ),
  taken('§6.2.2', 'a literal that is not added, of a new name', behind([0x00], plain('x-a'), plain('b'))),
  taken(
    '§6.2.2',
    'a literal that is not added, of a new name, in Huffman code',
    behind([0x00], customKey, customValue),
  ),
  taken(
    '§6.2.3',
    'a literal that is never added, of an indexed name',
    behind([0x1f, allow - 15], plain('x')),
  ),
  taken(
    '§6.2.3',
    'a literal that is never added, of an indexed name, in Huffman code',
    behind([0x1f, allow - 15], customValue),
  ),
  taken('§6.2.3', 'a literal that is never added, of a new name', behind([0x10], plain('x-a'), plain('b'))),
  taken(
    '§6.2.3',
    'a literal that is never added, of a new name, in Huffman code',
    behind([0x10], customKey, customValue),
  ),
  taken('§6.3', 'a change of the size of the table before the first field', before(1, [0x20 | 0])),
  taken(
    '§4.2',
    'two changes of the size of the table before the first field',
    before(1, [0x20], [0x3f, 0xe1, 0x1f]),
  ),
  taken('§6.3', 'the size that was agreed', before(1, [0x3f, 0xe1, 0x1f])),
]

const dynamicTable: readonly Row[] = [
  {
    rfc: '7541 §2.3.2',
    must: 'what a block has added is known in the next',
    send: [behind([0x40], plain('x-a'), plain('b')), headers(3, 0, Buffer.concat([connect, bytes(0xbe)]))],
    expect: answered('both', (all) => hasStatus(all, 1, 200) && hasStatus(all, 3, 200)),
    reaches: 2,
  },
  {
    rfc: '7541 §2.3.2',
    must: 'what a malformed request has added is known in the next',
    send: [
      headers(1, 0, Buffer.concat([bytes(0x40), plain('x-a'), plain('b')])),
      headers(3, 0, Buffer.concat([connect, bytes(0xbe)])),
    ],
    expect: streamError(1, 'protocolError'),
    reaches: 1,
  },
  {
    rfc: '7541 §4.3',
    must: 'a table of size 0 holds nothing',
    send: [
      behind([0x40], plain('x-a'), plain('b')),
      headers(3, 0, Buffer.concat([bytes(0x20), connect, bytes(0xbe)])),
    ],
    expect: connectionError('compressionError'),
    reaches: 1,
  },
  {
    rfc: '7541 §4.4',
    must: 'a field larger than the table empties it',
    send: [
      behind([0x40], plain('x-a'), plain('b')),
      headers(
        3,
        0,
        Buffer.concat([
          connect,
          bytes(0x40),
          plain('x-b'),
          bytes(0x7f, 0xa1, 0x1f),
          Buffer.alloc(4128, 0x61),
        ]),
      ),
      headers(5, 0, Buffer.concat([connect, bytes(0xbe)])),
    ],
    expect: connectionError('compressionError'),
    reaches: 2,
  },
]

const errors: readonly Row[] = [
  broken('§2.3.3', 'an index behind the end of the tables', [0x80 | 70]),
  broken('§2.3.3', 'a literal of a name behind the end of the tables', [0x40 | 62], plain('x')),
  broken('§4.2', 'a change of the size of the table behind a field', [0x20]),
  broken('§5.1', 'an integer that is cut short', [0xff, 0x80]),
  broken('§5.1', 'an integer that is too large', [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  broken('§5.1', 'an integer of zeros without end', [0xff, ...Array.from({ length: 20 }, () => 0x80), 0]),
  broken('§5.2', 'a string that is longer than its block', [0x00, 0x05, 0x61]),
  broken('§5.2', 'a padding of more than 7 bits', [0x00], plain('x-a'), huffman(0x1f, 0xff, 0xff)),
  broken('§5.2', 'a padding of zeros', [0x00], plain('x-a'), huffman(0x18)),
  broken('§5.2', 'an end-of-string code', [0x00], plain('x-a'), huffman(0xff, 0xff, 0xff, 0xff)),
  broken('§6.1', 'index 0', [0x80]),
  {
    rfc: '7541 §6.3',
    must: 'a size of the table above the agreed one is a compression error',
    send: before(1, [0x3f, 0xe2, 0x1f]),
    expect: connectionError('compressionError'),
    reaches: 0,
  },
]

export const hpackRows: readonly Row[] = [...representations, ...dynamicTable, ...errors]
