import { isUtf8 } from 'node:buffer'
import { BinaryReader } from '@bufbuild/protobuf/wire'

/** What stands under a tag (field number << 3 | wire type): a value, or a message with fields of its own. */
type Field = 'text' | 'bytes' | 'number' | 'numbers' | Shape
type Shape = ReadonlyMap<number, Field>

const long = (field: number) => (field << 3) | 2
const varint = (field: number) => field << 3
const many = (field: number): readonly [number, Field][] => [
  [varint(field), 'number'],
  [long(field), 'numbers'],
]
const empty: Shape = new Map()
const text: Shape = new Map<number, Field>([
  [long(1), 'text'],
  [long(2), 'text'],
  [long(3), 'text'],
  [long(4), empty],
])
const address: Shape = new Map<number, Field>([
  [long(1), 'bytes'],
  [varint(2), 'number'],
])
const serviceAccount: Shape = new Map<number, Field>([
  [long(1), 'text'],
  [long(2), 'text'],
])
/** A condition of somebody else's that we cannot check: walked like the rest, and always unknown. */
const extension: Shape = new Map<number, Field>([
  [long(1), 'bytes'],
  [
    long(2),
    new Map<number, Field>([
      [long(1), 'bytes'],
      [long(2), 'bytes'],
    ]),
  ],
])
const match: Shape = new Map<number, Field>([
  ...[1, 2, 3, 4].map((field): [number, Field] => [long(field), text]),
  ...[5, 6, 7, 8].map((field): [number, Field] => [long(field), address]),
  ...many(9),
  ...many(10),
  ...[11, 12].map((field): [number, Field] => [long(field), serviceAccount]),
  [long(13), extension],
])
const clause: Shape = new Map([[long(2), match]])
const rule: Shape = new Map([[long(1), clause]])
const authorization: Shape = new Map<number, Field>([
  [long(1), 'text'],
  [long(2), 'text'],
  [varint(3), 'number'],
  [varint(4), 'number'],
  [long(5), rule],
  [varint(6), 'number'],
  [long(7), extension],
])

/** How deep a path is kept: rule, clause, match. What is unknown further inside spoils its match. */
const pathDepth = 3

/**
 * Where an encoded `istio.security.Authorization` holds fields that this version does not know, or text that is none.
 * A path is the index of the rule, of its clause, of its match: `''` is the policy itself, `0.1` the second clause of
 * the first rule. Throws where the bytes are not well-formed at all: the generated reader would go on in the wrong place.
 */
export function unknownParts(encoded: Uint8Array): ReadonlySet<string> {
  const found = new Set<string>()
  scan({ reader: new BinaryReader(encoded), encoded, found }, encoded.length, authorization, [])
  return found
}

type Scan = Readonly<{ reader: BinaryReader; encoded: Uint8Array; found: Set<string> }>

function scan(s: Scan, end: number, known: Shape, path: readonly number[]): void {
  const { reader, encoded, found } = s
  const unknown = () => found.add(path.slice(0, pathDepth).join('.'))
  let children = 0
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag >>> 3 === 0) throw new RangeError('a field has the number 0')
    const field = known.get(tag)
    if (field === undefined || field === extension) unknown()
    if (field === undefined || field === 'number') {
      reader.skip(tag & 7, tag >>> 3)
      continue
    }
    const length = reader.uint32()
    const stop = reader.pos + length
    if (stop > end) throw new RangeError('a field is longer than its message')
    if (typeof field !== 'string') scan(s, stop, field, [...path, children++])
    else if (field === 'numbers') while (reader.pos < stop) reader.uint32()
    else {
      if (field === 'text' && !isUtf8(encoded.subarray(reader.pos, stop))) unknown()
      reader.pos = stop
    }
    if (reader.pos !== stop) throw new RangeError('a field is longer than its message')
  }
}
