import { Reader } from 'protobufjs/minimal.js'
import { clone, isWithinDepth } from './json.ts'

/** Reads one scalar of our notation; undefined if the type is a message. */
export function scalarOf(type: string, reader: Reader, wire: number): string | number | boolean | undefined {
  switch (type) {
    case 'string':
      expect(wire, 2, type)
      return reader.string()
    case 'bytes':
      expect(wire, 2, type)
      return Buffer.from(reader.bytes()).toString('base64')
    case 'int':
      expect(wire, 0, type)
      return Number(reader.int64())
    case 'bool':
      expect(wire, 0, type)
      return reader.bool()
    case 'double':
      expect(wire, 1, type)
      return reader.double()
    default:
      return undefined
  }
}

function expect(wire: number, wanted: number, type: string): void {
  if (wire !== wanted) throw new Error(`wire type ${wire} for ${type}`)
}

type Nested = (name: string, reader: Reader) => unknown
type Fields = ReadonlyMap<number, readonly (Uint8Array | number)[]>

const EXTENSIONS = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1'
const META = 'io.k8s.apimachinery.pkg.apis.meta.v1'

/** Messages whose JSON is not an object of their fields. */
export function specialOf(type: string, reader: Reader, nested: Nested): { value: unknown } | undefined {
  switch (type) {
    case 'strings':
      return { value: texts(fieldsOf(reader), 1) }
    case 'io.k8s.apimachinery.pkg.api.resource.Quantity':
      return { value: texts(fieldsOf(reader), 1)[0] ?? '0' }
    case 'io.k8s.apimachinery.pkg.util.intstr.IntOrString':
      return { value: intOrString(fieldsOf(reader)) }
    case `${META}.Time`:
      return { value: time(fieldsOf(reader), 0) }
    case `${META}.MicroTime`:
      return { value: time(fieldsOf(reader), 6) }
    case `${META}.Duration`:
      return { value: duration(number(fieldsOf(reader), 1)) }
    case `${META}.FieldsV1`:
    case 'io.k8s.apimachinery.pkg.runtime.RawExtension':
    case `${EXTENSIONS}.JSON`:
      return { value: embedded(fieldsOf(reader)) }
    case `${EXTENSIONS}.JSONSchemaPropsOrBool`:
    case `${EXTENSIONS}.JSONSchemaPropsOrArray`:
    case `${EXTENSIONS}.JSONSchemaPropsOrStringArray`:
      return {
        value: alternative(type, fieldsOf(reader), (bytes) => nested(`${EXTENSIONS}.JSONSchemaProps`, bytes)),
      }
    default:
      return undefined
  }
}

function fieldsOf(reader: Reader): Fields {
  const fields = new Map<number, (Uint8Array | number)[]>()
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    const wire = tag & 7
    const values = fields.get(tag >>> 3) ?? []
    fields.set(tag >>> 3, values)
    if (wire === 2) values.push(reader.bytes())
    else if (wire === 0) values.push(Number(reader.int64()))
    else reader.skipType(wire)
  }
  return fields
}

const blobs = (fields: Fields, n: number): Uint8Array[] =>
  (fields.get(n) ?? []).filter((value) => typeof value !== 'number')

const texts = (fields: Fields, n: number): string[] =>
  blobs(fields, n).map((bytes) => Buffer.from(bytes).toString('utf8'))

const number = (fields: Fields, n: number): number => {
  const value = fields.get(n)?.at(-1)
  return typeof value === 'number' ? value : 0
}

/** type = 1 (0 is int), intVal = 2, strVal = 3. */
const intOrString = (fields: Fields): number | string =>
  number(fields, 1) === 0 ? number(fields, 2) : (texts(fields, 3)[0] ?? '')

/** seconds = 1, nanos = 2. Nothing at all, and Go's zero time, are null. */
function time(fields: Fields, digits: number): string | null {
  if (fields.size === 0) return null
  const seconds = number(fields, 1)
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() <= 1) return null
  const whole = date.toISOString().slice(0, 19)
  if (digits === 0) return `${whole}Z`
  return `${whole}.${String(Math.floor(number(fields, 2) / 1000))
    .padStart(digits, '0')
    .slice(0, digits)}Z`
}

/** Go's text of a duration in nanoseconds. */
function duration(nanos: number): string {
  if (nanos === 0) return '0s'
  if (Math.abs(nanos) < 1e3) return `${nanos}ns`
  if (Math.abs(nanos) < 1e6) return `${nanos / 1e3}µs`
  if (Math.abs(nanos) < 1e9) return `${nanos / 1e6}ms`
  const total = Math.abs(nanos) / 1e9
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  const seconds = Number((total % 60).toFixed(9))
  const sign = nanos < 0 ? '-' : ''
  return `${sign}${hours > 0 ? `${hours}h` : ''}${hours > 0 || minutes > 0 ? `${minutes}m` : ''}${seconds}s`
}

/** raw = 1: JSON text. */
function embedded(fields: Fields): unknown {
  const [raw] = blobs(fields, 1)
  if (!raw || raw.length === 0) return null
  const value: unknown = JSON.parse(Buffer.from(raw).toString('utf8'))
  if (!isWithinDepth(value)) throw new Error('nested too deeply')
  return clone(value)
}

/** OrBool: allows = 1, schema = 2; OrArray: schema = 1, jSONSchemas = 2; OrStringArray: schema = 1, property = 2. */
function alternative(type: string, fields: Fields, schemaOf: (bytes: Reader) => unknown): unknown {
  const schemas = (n: number) => blobs(fields, n).map((bytes) => schemaOf(Reader.create(bytes)))
  if (type.endsWith('OrBool')) return schemas(2)[0] ?? number(fields, 1) !== 0
  const [first] = schemas(1)
  if (first !== undefined) return first
  return type.endsWith('OrStringArray') ? texts(fields, 2) : schemas(2)
}
