import { serialAt } from './chain.ts'
import { type Element, readAll, readOne, readSequence, spanAt, tags } from './der.ts'
import { canonicalName } from './distinguished-name.ts'
import { cutBlocks } from './pem.ts'
import { digestOf, isSignedBy } from './signatures.ts'

/** A certificate revocation list. Nobody has checked its signature yet: that takes the key of its issuer. */
export type Crl = Readonly<{
  issuerName: string
  revoked: ReadonlySet<string>
  signed: Readonly<{ bytes: Buffer; digest: string; signature: Buffer }>
}>

/** Lists in one file; every CA of a mesh has one. */
const maxLists = 64

const extensionIds = {
  deltaIndicator: '551d1b',
  issuingPoint: '551d1c',
  entryIssuer: '551d1d',
} as const
/** Critical extensions that change nothing about what is listed. */
const harmless: readonly string[] = [extensionIds.issuingPoint, '551d14', '551d23']

class Refused extends Error {}
const refuse = (reason: string): never => {
  throw new Refused(reason)
}

/** The lists in a file: PEM with any number of them, or one in DER; nothing for an empty file. `reject` says what is wrong with the whole. */
export function parseCrls(file: Buffer): readonly Crl[] | { reject: string } {
  const text = file.toString('latin1')
  if (text.trim() === '') return []
  try {
    const ders = text.includes('-----') ? fromPem(text) : [file]
    if (ders.length > maxLists) return { reject: `more than ${maxLists} lists` }
    return ders.map(parseCrl)
  } catch (error) {
    if (error instanceof Refused) return { reject: error.message }
    throw error
  }
}

/** A block that is not whole, be it only the first dash of it: the file is only half there, or something else. */
function fromPem(text: string): readonly Buffer[] {
  const { ders, rest } = cutBlocks(text, 'X509 CRL')
  return /^-/m.test(rest) ? refuse('a block that is not a whole revocation list') : ders
}

const isTime = (element: Element | undefined) => element?.tag === 0x17 || element?.tag === 0x18

function parseCrl(der: Buffer): Crl {
  const [tbs, algorithm, signature] = readSequence(der) ?? []
  const all = tbs && readSequence(tbs.raw)
  if (!tbs || !all || signature?.tag !== tags.bitString) return refuse('malformed revocation list')
  const [inner, issuer, thisUpdate, ...rest] = all[0]?.tag === tags.integer ? all.slice(1) : all
  const digest = digestOf(algorithm)
  if (digest === undefined) return refuse('unsupported signature algorithm')
  if (!algorithm || inner?.raw.equals(algorithm.raw) !== true) return refuse('two signature algorithms')
  const issuerName = issuer && canonicalName(issuer.raw)
  if (issuerName === undefined || !isTime(thisUpdate)) return refuse('malformed revocation list')
  // Its expiry is not looked at: an old list is better than none (ztunnel: tls/crl.rs).
  if (isTime(rest[0])) rest.shift()
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined
  const extensions = rest[0]?.tag === 0xa0 ? rest.shift() : undefined
  if (rest.length > 0) return refuse('malformed revocation list')
  checkExtensions(extensions)
  const signed = { bytes: tbs.raw, digest, signature: signature.value.subarray(1) }
  return { issuerName, revoked: serialsIn(entries), signed }
}

/** Read in place: a list may have a hundred thousand entries, and this thread has other things to do. */
function serialsIn(entries: Element | undefined): ReadonlySet<string> {
  const serials = new Set<string>()
  const list = entries?.value ?? Buffer.alloc(0)
  for (let at = 0; at < list.length; ) {
    const entry = spanAt(list, at, list.length)
    const serial = entry && spanAt(list, entry.start, entry.end)
    const date = serial && spanAt(list, serial.end, entry.end)
    if (!date || entry.tag !== tags.sequence || serial.tag !== tags.integer) return refuse('malformed entry')
    if (date.end < entry.end) checkEntry(list.subarray(date.end, entry.end))
    serials.add(serialAt(list, serial.start, serial.end))
    at = entry.end
  }
  return serials
}

function checkEntry(extensions: Buffer): void {
  for (const { id } of extensionsIn(extensions))
    if (id === extensionIds.entryIssuer) refuse('entries of other issuers (indirect list)')
}

type Extension = Readonly<{ id: string; critical: boolean; value: Buffer }>

const extensionsIn = (sequence: Buffer): readonly Extension[] =>
  readSequence(sequence)?.map((item) => {
    const [id, ...rest] = readSequence(item.raw) ?? []
    const value = rest.at(-1)
    if (id?.tag !== tags.oid || value?.tag !== tags.octetString) return refuse('malformed extension')
    return { id: id.value.toString('hex'), critical: rest[0]?.value[0] === 0xff, value: value.value }
  }) ?? refuse('malformed extensions')

/** Indirect and partial lists mean something else than what they list; and so may whatever we do not know. */
function checkExtensions(wrapped: Element | undefined): void {
  for (const { id, critical, value } of wrapped ? extensionsIn(wrapped.value) : []) {
    if (id === extensionIds.deltaIndicator) refuse('delta lists are not supported')
    if (id === extensionIds.issuingPoint && isIndirect(value)) refuse('indirect lists are not supported')
    if (critical && !harmless.includes(id)) refuse(`unknown critical extension ${id}`)
  }
}

const indirectTag = 0x84
const isIndirect = (point: Buffer): boolean => {
  const outer = readOne(point, tags.sequence)
  const fields = outer && readAll(outer.value)
  return fields === undefined || fields.some(({ tag, value }) => tag === indirectTag && value[0] !== 0)
}

/** Has the CA with this key (SubjectPublicKeyInfo, base64) signed the list? */
export const isSignedByCa = ({ signed }: Crl, key: string): boolean =>
  isSignedBy(signed.bytes, signed.digest, signed.signature, Buffer.from(key, 'base64'))
