import { type Element, maxDerBytes, readAll, readOne, readSequence, tags } from './der.ts'
import { parseSpiffeId, type SpiffeId } from './spiffe.ts'

/** Who a certificate says that somebody is, or why it says nothing. */
export type PeerCheck = { kind: 'peer'; id: SpiffeId } | { kind: 'reject'; reason: string }

const no = (reason: string) => ({ kind: 'reject' as const, reason })
const extensionOids = {
  '551d11': 'altNames',
  '551d0f': 'keyUsage',
  '551d13': 'basicConstraints',
} as const
type Name = (typeof extensionOids)[keyof typeof extensionOids]
/** Real certificates have about ten. */
const maxExtensions = 64

/**
 * Who a verified leaf certificate says the peer is. OpenSSL checks the chain but accepts leafs with several URI
 * names or CA:TRUE, which SPIFFE forbids; so the DER is read again here. Never throws.
 */
export function checkPeer(leafDer: Buffer): PeerCheck {
  if (leafDer.length > maxDerBytes) return no('certificate too long')
  const found = extensionsOf(leafDer)
  if (typeof found === 'string') return no(found)
  if (isAuthority(found.get('basicConstraints'))) return no('certificate of an authority (CA:TRUE)')
  const usage = usageOf(found.get('keyUsage'))
  if ((usage & digitalSignature) === 0) return no('key usage without digitalSignature')
  if ((usage & ofAuthorities) !== 0) return no('key usage of an authority')
  return identityIn(found.get('altNames'))
}

function extensionsOf(leafDer: Buffer): Map<Name, Buffer> | string {
  const tbs = readSequence(leafDer)?.[0]
  const fields = tbs && readSequence(tbs.raw)
  if (fields === undefined) return 'malformed certificate'
  const wrapped = fields.find((field) => field.tag === 0xa3)
  const list = wrapped && readSequence(wrapped.value)
  if (list === undefined) return 'certificate without extensions'
  if (list.length > maxExtensions) return 'too many extensions'
  return collect(list)
}

function collect(list: readonly Element[]): Map<Name, Buffer> | string {
  const found = new Map<Name, Buffer>()
  for (const item of list) {
    const [id, ...rest] = readSequence(item.raw) ?? []
    const value = rest.at(-1)
    if (id?.tag !== tags.oid || value?.tag !== tags.octetString) return 'malformed extension'
    const name = nameOf(id.value.toString('hex'))
    if (name === undefined) continue
    if (found.has(name)) return 'extension given twice'
    found.set(name, value.value)
  }
  return found
}

const nameOf = (hex: string): Name | undefined =>
  Object.hasOwn(extensionOids, hex) ? extensionOids[hex as keyof typeof extensionOids] : undefined

/** Anything but a well-formed CA:FALSE counts as an authority; absence is CA:FALSE (RFC 5280 §4.2.1.9). */
function isAuthority(value: Buffer | undefined): boolean {
  if (value === undefined) return false
  const fields = readSequence(value)
  if (fields === undefined) return true
  const [flag] = fields
  return flag !== undefined && !(flag.tag === tags.boolean && flag.value.length === 1 && flag.value[0] === 0)
}

const digitalSignature = 0x80
/** keyCertSign and cRLSign, which a leaf must not have (X509-SVID §4.3). */
const ofAuthorities = 0x06

/** The first eight bits of a key usage; none when it is missing or malformed. */
function usageOf(value: Buffer | undefined): number {
  const usage = value && readOne(value, tags.bitString)
  return usage?.value[1] ?? 0
}

const uriTag = 0x86

function identityIn(value: Buffer | undefined): PeerCheck {
  const outer = value && readOne(value, tags.sequence)
  const names = outer && readAll(outer.value)
  if (names === undefined) return no('no subject alternative names')
  const uris = names.filter((name) => name.tag === uriTag)
  const [uri] = uris
  if (uri === undefined) return no('no URI name')
  if (uris.length > 1) return no('more than one URI name')
  const id = parseSpiffeId(uri.value.toString('latin1'))
  return id === undefined ? no('URI name is not a workload identity') : { kind: 'peer', id }
}
