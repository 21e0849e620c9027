import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Reader } from 'protobufjs/minimal.js'
import { messageOf } from '#base'
import { isSafeKey, MAX_DEPTH } from './json.ts'
import { modelOf } from './kinds.ts'
import { scalarOf, specialOf } from './protobuf-values.ts'
import type { JsonObject } from './schema.ts'

/** By field number: the JSON name (empty if its fields are ours) and the type; see README.md for the notation. */
type Message = Readonly<Record<string, readonly [json: string, type: string]>>

type Decoded =
  | Readonly<{ apiVersion: string; kind: string; object: JsonObject }>
  | Readonly<{ reject: string }>

/** `k8s` and a zero byte, before the envelope. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0])
/** More values than this are refused: a few bytes of wire can stand for many objects. */
const MAX_VALUES = 1_000_000

let messages: Readonly<Record<string, Message>> | undefined

/** Never throws on what a client sent. */
export function decodeProtobuf(bytes: Uint8Array): Decoded {
  if (bytes.length < 4 || !MAGIC.equals(bytes.subarray(0, 4)))
    return { reject: 'provided data does not appear to be a protobuf message, expected prefix k8s\\x00' }
  try {
    const { apiVersion, kind, raw } = readEnvelope(bytes.subarray(4))
    const model = findModel(apiVersion, kind)
    if (!model) return { reject: `no kind "${kind}" is registered for version "${apiVersion}" in protobuf` }
    const decoder = new Decoder()
    return {
      apiVersion,
      kind,
      object: { apiVersion, kind, ...decoder.message(model, Reader.create(raw), 0) },
    }
  } catch (error) {
    return { reject: `the protobuf message cannot be decoded: ${messageOf(error).slice(0, 200)}` }
  }
}

/** runtime.Unknown: typeMeta = 1 (apiVersion = 1, kind = 2), raw = 2. */
function readEnvelope(bytes: Uint8Array): { apiVersion: string; kind: string; raw: Uint8Array } {
  const out: { apiVersion: string; kind: string; raw: Uint8Array } = {
    apiVersion: '',
    kind: '',
    raw: new Uint8Array(),
  }
  const reader = Reader.create(bytes)
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    if (tag === 10) {
      const meta = Reader.create(reader.bytes())
      while (meta.pos < meta.len) {
        const inner = meta.uint32()
        if (inner === 10) out.apiVersion = meta.string()
        else if (inner === 18) out.kind = meta.string()
        else skip(meta, inner)
      }
    } else if (tag === 18) out.raw = reader.bytes()
    else skip(reader, tag)
  }
  return out
}

/** DeleteOptions come under the version of the object that they are for, Status under v1. */
function findModel(apiVersion: string, kind: string): string | undefined {
  const [version, group] = apiVersion.split('/').toReversed()
  const model = modelOf(group ?? '', version ?? '', kind)
  if (model && Object.hasOwn(descriptors(), model)) return model
  return kind === 'DeleteOptions' || kind === 'Status' ? modelOf('meta.k8s.io', 'v1', kind) : undefined
}

function descriptors(): Readonly<Record<string, Message>> {
  messages ??= JSON.parse(readFileSync(join(import.meta.dirname, 'data/protobuf.json'), 'utf8')) as Record<
    string,
    Message
  >
  return messages
}

const skip = (reader: Reader, tag: number): void => {
  if (tag >>> 3 === 0) throw new Error('field number 0')
  reader.skipType(tag & 7)
}

/** One decoding: counts what it makes. */
class Decoder {
  #values = 0

  message(name: string, reader: Reader, depth: number): JsonObject {
    if (depth > MAX_DEPTH) throw new Error('nested too deeply')
    const fields = descriptors()[name]
    if (!fields) throw new Error(`no message ${name}`)
    const out: JsonObject = {}
    while (reader.pos < reader.len) {
      const tag = reader.uint32()
      const number = String(tag >>> 3)
      const field = Object.hasOwn(fields, number) ? fields[number] : undefined
      if (field) this.#field(out, field, reader, { wire: tag & 7, depth })
      else skip(reader, tag)
    }
    return out
  }

  #field(
    out: JsonObject,
    [json, type]: readonly [json: string, type: string],
    reader: Reader,
    at: { wire: number; depth: number },
  ): void {
    if (json === '') {
      const inner = this.#value(type, reader, at)
      if (typeof inner === 'object') Object.assign(out, inner)
    } else if (type.startsWith('map:')) {
      const map = (out[json] ??= {}) as JsonObject
      const [key, value] = this.#entry(type.slice(4), reader, at.depth)
      if (isSafeKey(key)) map[key] = value
    } else if (type.startsWith('[]')) {
      const list = (out[json] ??= []) as unknown[]
      list.push(this.#value(type.slice(2), reader, at))
    } else {
      const isOmittedWhenZero = type.endsWith('?')
      const value = this.#value(isOmittedWhenZero ? type.slice(0, -1) : type, reader, at)
      // Go writes zero values to the wire that its JSON omits; a zero time is null in JSON and means no time.
      if (value === null || (isOmittedWhenZero && (value === '' || value === 0 || value === false))) return
      out[json] = value
    }
  }

  /** A map entry is a message {key = 1, value = 2}. */
  #entry(type: string, reader: Reader, depth: number): [key: string, value: unknown] {
    const entry = Reader.create(reader.bytes())
    let key = ''
    let value: unknown
    while (entry.pos < entry.len) {
      const tag = entry.uint32()
      if (tag === 10) key = entry.string()
      else if (tag >>> 3 === 2) value = this.#value(type, entry, { wire: tag & 7, depth })
      else skip(entry, tag)
    }
    return [key, value === undefined ? (type === 'string' ? '' : {}) : value]
  }

  #value(type: string, reader: Reader, at: { wire: number; depth: number }): unknown {
    if (++this.#values > MAX_VALUES) throw new Error('too many values')
    const scalar = scalarOf(type, reader, at.wire)
    if (scalar !== undefined) return scalar
    if (at.wire !== 2) throw new Error(`wire type ${at.wire} for ${type}`)
    const inner = Reader.create(reader.bytes())
    const special = specialOf(type, inner, (name, nested) => this.message(name, nested, at.depth + 1))
    return special === undefined ? this.message(type, inner, at.depth + 1) : special.value
  }
}
