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

/** The element at the start of `bytes`; undefined when it is cut short, uses long tags or a non-minimal length. */
function first(bytes: Buffer): Element | undefined {
  const [tag, short] = bytes
  if (tag === undefined || short === undefined || (tag & 0x1f) === 0x1f) return undefined
  if (short < 0x80) return slice(bytes, tag, 2, short)
  const count = short & 0x7f
  if (count < 1 || count > 3 || bytes.length < 2 + count) return undefined
  const length = bytes.readUIntBE(2, count)
  const minimal = count === 1 ? length >= 0x80 : length >= 1 << (8 * (count - 1))
  return minimal ? slice(bytes, tag, 2 + count, length) : undefined
}

const slice = (bytes: Buffer, tag: number, header: number, length: number): Element | undefined =>
  bytes.length < header + length
    ? undefined
    : { tag, raw: bytes.subarray(0, header + length), value: bytes.subarray(header, header + length) }

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
