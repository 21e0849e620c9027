import type { Field } from '../../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { frame, headers, type } from '../../lib/hbone/frames.ts'

export const text = (id: number, words: string, flags = 0) =>
  frame(type.data, flags, id, Buffer.from(words, 'latin1'))
export const bytes = (...values: number[]) => Buffer.from(values)
export const ping = (payload = 'pingping', flags = 0, id = 0) =>
  frame(type.ping, flags, id, Buffer.from(payload, 'latin1'))
/** A PRIORITY payload. */
export const dependsOn = (on: number, weight = 15, exclusive = false) => {
  const out = Buffer.alloc(5)
  out.writeUInt32BE((on | (exclusive ? 0x8000_0000 : 0)) >>> 0)
  out[4] = weight
  return out
}
export const priority = (id: number, payload: Buffer = dependsOn(0)) => frame(type.priority, 0, id, payload)
/** A header block in pieces: HEADERS without END_HEADERS. */
export const opening = (id: number, fragment: Buffer, flags = 0) => frame(type.headers, flags, id, fragment)
export const continuation = (id: number, fragment: Buffer, flags = 4) =>
  frame(type.continuation, flags, id, fragment)

export const connectFields: readonly Field[] = [
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
]
export const connectWith = (...more: Field[]) => hpackEncode([...connectFields, ...more])
export const getFields: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', '10.0.0.1'],
]
/** A request of `fields` on stream 1. */
export const request = (...fields: Field[]) => headers(1, 0, hpackEncode(fields))
export const requestEnded = (...fields: Field[]) => headers(1, 1, hpackEncode(fields))
/** `fields` without the named one, or with another value. */
export const but = (fields: readonly Field[], name: string, value?: string): Field[] =>
  fields.flatMap((one): Field[] => (one[0] !== name ? [one] : value === undefined ? [] : [[name, value]]))

export const settings = (...entries: (readonly [id: number, value: number])[]) => {
  const payload = Buffer.alloc(6 * entries.length)
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(id, 6 * i)
    payload.writeUInt32BE(value, 6 * i + 2)
  }
  return frame(type.settings, 0, 0, payload)
}
export const settingId = { tableSize: 1, push: 2, streams: 3, window: 4, frame: 5, list: 6 } as const
