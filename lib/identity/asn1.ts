import type { KeyObject } from 'node:crypto'
import type { Brand } from '#base'
import { ipToBytes, parseIp } from '#base'
import { signDer } from './keys.ts'

// Writing only: what peers send is read by der.ts.

/** One element, encoded: DER has one spelling of everything, so there is nothing to put off. */
export type Node = Brand<Buffer, 'Der'>

/** Tags (X.680 §8.4), with the bit that says constructed where they always are. */
const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const
const context = 0x80
const constructed = 0x20

/** Definite lengths, in as few bytes as they take (X.690 §10.1). */
function header(identifier: number, length: number): Buffer {
  if (length < 0x80) return Buffer.of(identifier, length)
  if (length < 0x100) return Buffer.of(identifier, 0x81, length)
  if (length < 0x1_0000) return Buffer.of(identifier, 0x82, length >> 8, length & 0xff)
  if (length < 0x100_0000)
    return Buffer.of(identifier, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff)
  throw new RangeError(`an element of ${length} bytes`)
}

/** A certificate has dozens of parts, a revocation list any number. */
function element(identifier: number, parts: readonly Uint8Array[]): Node {
  let length = 0
  for (const part of parts) length += part.length
  const start = header(identifier, length)
  const der = Buffer.allocUnsafe(start.length + length)
  start.copy(der)
  let at = start.length
  for (const part of parts) {
    der.set(part, at)
    at += part.length
  }
  return der as Node
}

export const sequence = (...items: Node[]): Node => element(tag.sequence, items)
export const set = (...items: Node[]): Node => element(tag.set, items)
export const integer = (bytes: Uint8Array): Node => element(tag.integer, [bytes])
export const boolean = (value: boolean): Node => element(tag.boolean, [Buffer.of(value ? 0xff : 0)])
export const utf8 = (text: string): Node => element(tag.utf8, [Buffer.from(text, 'utf8')])
export const octets = (bytes: Uint8Array): Node => element(tag.octetString, [bytes])
export const bits = (bytes: Uint8Array, unused = 0): Node =>
  element(tag.bitString, [Buffer.of(unused), bytes])
export const empty = (): Node => element(tag.null, [])
/** `[number]` around other elements. */
export const tagged = (number: number, ...items: Node[]): Node =>
  element(context | constructed | number, items)
/** `[number]` instead of a primitive's own tag. */
export const implicit = (number: number, bytes: Uint8Array): Node => element(context | number, [bytes])

/** The same dozen is written into every certificate. */
const oids = new Map<string, Node>()
const maxOids = 256

/** `1.2.840.10045.2.1`: the first two in one number, each in groups of seven bits (X.690 §8.19). */
export function oid(dotted: string): Node {
  const known = oids.get(dotted)
  if (known) return known
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const made = element(tag.oid, [Buffer.from([first * 40 + second, ...rest].flatMap(groupsOfSeven))])
  if (oids.size < maxOids) oids.set(dotted, made)
  return made
}

function groupsOfSeven(value: number): readonly number[] {
  const groups = [value & 0x7f]
  for (let left = Math.floor(value / 0x80); left > 0; left = Math.floor(left / 0x80))
    groups.unshift((left & 0x7f) | 0x80)
  return groups
}

/** DER as it stands. */
export const verbatim = (der: Uint8Array): Node => Buffer.from(der) as Node

export const toDer = (node: Node): Buffer => node

const two = (value: number): string => (value < 10 ? `0${value}` : `${value}`)

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5); whole seconds. */
export function time(date: Date): Node {
  const year = date.getUTCFullYear()
  const day = `${two(date.getUTCMonth() + 1)}${two(date.getUTCDate())}`
  const clock = `${two(date.getUTCHours())}${two(date.getUTCMinutes())}${two(date.getUTCSeconds())}Z`
  return year < 2050
    ? element(tag.utcTime, [Buffer.from(`${two(year % 100)}${day}${clock}`, 'latin1')])
    : element(tag.generalizedTime, [Buffer.from(`${year}${day}${clock}`, 'latin1')])
}

export const extension = (id: string, critical: boolean, value: Node): Node =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(toDer(value)))

/** `TBS, algorithm, signature`: the outer shape of certificates and of certificate requests. */
export function signed(tbs: Node, key: KeyObject, algorithm: Node): Buffer {
  return toDer(sequence(tbs, algorithm, bits(signDer(toDer(tbs), key).bytes)))
}

export const algorithmOf = (key: KeyObject): Node => {
  const { oid: id, nullParameters } = signDer(Buffer.alloc(0), key)
  return nullParameters ? sequence(oid(id), empty()) : sequence(oid(id))
}

export type SubjectAltNames = Readonly<{
  uris?: readonly string[]
  dnsNames?: readonly string[]
  ipAddresses?: readonly string[]
}>

const ascii = (text: string) => {
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new RangeError(`not a subject alternative name: ${JSON.stringify(text)}`)
  return Buffer.from(text, 'latin1')
}

const ipBytes = (text: string) => {
  const address = parseIp(text)
  if (address === undefined) throw new RangeError(`not an IP address: ${text}`)
  return ipToBytes(address)
}

/** The GeneralNames of a certificate or request, without its extension frame. */
export const altNames = ({ uris = [], dnsNames = [], ipAddresses = [] }: SubjectAltNames): Node =>
  sequence(
    ...uris.map((uri) => implicit(6, ascii(uri))),
    ...dnsNames.map((name) => implicit(2, ascii(name))),
    ...ipAddresses.map((address) => implicit(7, ipBytes(address))),
  )
