export type Field = Readonly<{ number: number; type: number; value: number; bytes: Uint8Array }>
/** The bytes are no message. */
export class Broken extends Error {}

/** The fields of a message in their order. */
export function fieldsOf(bytes: Uint8Array): Field[] {
  let at = 0
  const varint = () => {
    let value = 0
    for (let i = 0; i < 10; i++) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Broken()
      if (i < 5) value += (byte & 127) * 2 ** (7 * i) // the upper half is cut off, as protobuf has it
      if (byte < 128) return value % 2 ** 32
    }
    throw new Broken()
  }
  const take = (length: number) => {
    if (at + length > bytes.length) throw new Broken()
    at += length
    return bytes.subarray(at - length, at)
  }
  const one = (): Field => {
    const tag = varint()
    const [number, type] = [tag >>> 3, tag & 7]
    if (number === 0) throw new Broken()
    const none = new Uint8Array()
    if (type === 0) return { number, type, value: varint(), bytes: none }
    if (type === 1) return { number, type, value: 0, bytes: take(8) }
    if (type === 2) return { number, type, value: 0, bytes: take(varint()) }
    if (type === 5) return { number, type, value: 0, bytes: take(4) }
    if (type !== 3) throw new Broken()
    for (;;) {
      const start = at
      const inner = varint()
      if ((inner & 7) === 4 && inner >>> 3 === number) return { number, type, value: 0, bytes: none }
      at = start
      one()
    }
  }
  const fields: Field[] = []
  while (at < bytes.length) fields.push(one())
  return fields
}

/** undefined: it is not UTF-8. */
export const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** A condition of somebody else's: nothing in it can be judged, but it must be a message. */
export const walkExtensions = (fields: readonly Field[], number: number) => {
  const inside = (all: readonly Field[], n: number) =>
    all.filter((f) => f.number === n && f.type === 2).flatMap((f) => fieldsOf(f.bytes))
  inside(inside(fields, number), 2)
}
