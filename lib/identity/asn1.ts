import type { KeyObject } from 'node:crypto'
import forge from 'node-forge'
import { ipToBytes, parseIp } from '#base'
import { signDer } from './keys.ts'

// Building only: what peers send is read by der.ts.
const { asn1 } = forge
export type Node = forge.asn1.Asn1
const { Class, Type } = asn1

const universal = (type: forge.asn1.Type, constructed: boolean, value: string | Node[]) =>
  asn1.create(Class.UNIVERSAL, type, constructed, value)
const binary = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')

export const sequence = (...items: Node[]): Node => universal(Type.SEQUENCE, true, items)
export const set = (...items: Node[]): Node => universal(Type.SET, true, items)
export const oid = (dotted: string): Node => universal(Type.OID, false, asn1.oidToDer(dotted).getBytes())
export const integer = (bytes: Uint8Array): Node => universal(Type.INTEGER, false, binary(bytes))
export const boolean = (value: boolean): Node =>
  universal(Type.BOOLEAN, false, String.fromCharCode(value ? 0xff : 0))
export const utf8 = (text: string): Node => universal(Type.UTF8, false, forge.util.encodeUtf8(text))
export const octets = (bytes: Uint8Array): Node => universal(Type.OCTETSTRING, false, binary(bytes))
export const bits = (bytes: Uint8Array, unused = 0): Node =>
  universal(Type.BITSTRING, false, String.fromCharCode(unused) + binary(bytes))
export const empty = (): Node => universal(Type.NULL, false, '')
/** `[tag]` around other elements. */
export const tagged = (tag: number, ...items: Node[]): Node =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, true, items)
/** `[tag]` instead of a primitive's own tag. */
export const implicit = (tag: number, bytes: Uint8Array): Node =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(bytes))

// The published types know only an older signature of fromDer.
type FromDer = (bytes: string, options: { strict: boolean; decodeBitStrings: boolean }) => Node

/** DER as it stands, its bit strings untouched. */
export const verbatim = (der: Uint8Array): Node =>
  (asn1.fromDer as unknown as FromDer)(binary(der), { strict: true, decodeBitStrings: false })

export const toDer = (node: Node): Buffer => Buffer.from(asn1.toDer(node).getBytes(), 'latin1')

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). */
export const time = (date: Date): Node =>
  date.getUTCFullYear() < 2050
    ? universal(Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : universal(Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date))

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

type SubjectAltNames = Readonly<{
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
