import { BinaryReader } from '@bufbuild/protobuf/wire'

/** Known tags (field number << 3 | wire type) of a message; a nested message has its own table. */
type Shape = Readonly<{ tags: ReadonlySet<number>; nested: ReadonlyMap<number, Shape> }>

const shape = (tags: readonly number[], nested: Readonly<Record<number, Shape>> = {}): Shape => {
  const inner = new Map(Object.entries(nested).map(([field, value]) => [(Number(field) << 3) | 2, value]))
  return { tags: new Set([...tags, ...inner.keys()]), nested: inner }
}
const bytes = (field: number) => (field << 3) | 2
const varint = (field: number) => field << 3

const text = shape([1, 2, 3, 4].map(bytes))
const address = shape([bytes(1), varint(2)])
const serviceAccount = shape([bytes(1), bytes(2)])
const ports = [9, 10].flatMap((field) => [bytes(field), varint(field)])
/** Field 13, extensions, is left out on purpose: a condition of somebody else's that we cannot check. */
const fields = { 1: text, 2: text, 3: text, 4: text, 5: address, 6: address, 7: address, 8: address }
const match = shape(ports, { ...fields, 11: serviceAccount, 12: serviceAccount })
const clause = shape([], { 2: match })
const rule = shape([], { 1: clause })
const authorization = shape([bytes(1), bytes(2), varint(3), varint(4), varint(6)], { 5: rule })

/** How deep a path is kept: rule, clause, match. What is unknown further inside spoils its match. */
const pathDepth = 3

/**
 * Where an encoded `istio.security.Authorization` holds fields that this version does not know. A path is the index
 * of the rule, of its clause, of its match: `''` is the policy itself, `0.1` the second clause of the first rule.
 */
export function unknownParts(encoded: Uint8Array): ReadonlySet<string> {
  const found = new Set<string>()
  scan(new BinaryReader(encoded), encoded.length, authorization, [], found)
  return found
}

function scan(reader: BinaryReader, end: number, known: Shape, path: readonly number[], found: Set<string>) {
  let children = 0
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (!known.tags.has(tag)) {
      found.add(path.slice(0, pathDepth).join('.'))
      reader.skip(tag & 7, tag >>> 3)
      continue
    }
    const inner = known.nested.get(tag)
    if (!inner) {
      reader.skip(tag & 7, tag >>> 3)
      continue
    }
    const length = reader.uint32()
    const stop = reader.pos + length
    if (stop > end) throw new RangeError('a field is longer than its message')
    scan(reader, stop, inner, [...path, children++], found)
  }
}
