// A bounded, strict DER reader for bytes that a stranger sent. It never throws: a malformed element is undefined.

/** Larger certificates and requests are refused unread. */
export const maxDerBytes = 64 << 10

export type Element = Readonly<{
  tag: number
  /** Tag, length and value. */
  raw: Buffer
  value: Buffer
}>

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
} as const

/** An element in place: its value goes from `start` to `end`. */
type Span = Readonly<{ tag: number; start: number; end: number }>

/** The element at `at`; undefined when it goes beyond `limit`, uses long tags or a non-minimal length. */
export function spanAt(bytes: Buffer, at: number, limit: number): Span | undefined {
  const tag = bytes[at]
  const short = bytes[at + 1]
  if (at + 2 > limit || tag === undefined || short === undefined || (tag & 0x1f) === 0x1f) return undefined
  const count = short < 0x80 ? 0 : short & 0x7f
  const start = at + 2 + count
  if (short === 0x80 || count > 3 || start > limit) return undefined
  const length = count === 0 ? short : bytes.readUIntBE(at + 2, count)
  if (count > 0 && length < (count === 1 ? 0x80 : 1 << (8 * (count - 1)))) return undefined
  return start + length <= limit ? { tag, start, end: start + length } : undefined
}

/** The element at the start of `bytes`. */
function first(bytes: Buffer): Element | undefined {
  const span = spanAt(bytes, 0, bytes.length)
  return (
    span && {
      tag: span.tag,
      raw: bytes.subarray(0, span.end),
      value: bytes.subarray(span.start, span.end),
    }
  )
}

/** The one element that `bytes` is, with nothing after it. */
export function readOne(bytes: Buffer, tag: number): Element | undefined {
  const element = first(bytes)
  return element?.tag === tag && element.raw.length === bytes.length ? element : undefined
}

/** All elements of `bytes` in order; undefined when any is malformed. */
export function readAll(bytes: Buffer): readonly Element[] | undefined {
  const elements: Element[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const element = first(rest)
    if (element === undefined) return undefined
    elements.push(element)
    rest = rest.subarray(element.raw.length)
  }
  return elements
}

/** The elements of a SEQUENCE that is all of `bytes`. */
export function readSequence(bytes: Buffer): readonly Element[] | undefined {
  const outer = readOne(bytes, tags.sequence)
  return outer && readAll(outer.value)
}
