import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import {
  bits,
  boolean,
  empty,
  extension,
  implicit,
  integer,
  type Node,
  octets,
  oid,
  sequence,
  tagged,
  time,
  toDer,
  verbatim,
} from '../../../lib/identity/asn1.ts'
import { readSequence } from '../../../lib/identity/der.ts'
import { ids, type Issuer, name } from '../../../lib/identity/issue.ts'
import { toPem } from '../../../lib/identity/pem.ts'

// Certificates and revocation lists in which everything may be wrong.

const curves = { p256: 'P-256', p384: 'P-384', p521: 'P-521', p224: 'secp224r1', k256: 'secp256k1' } as const
export type Kind = keyof typeof curves | 'rsa1024' | 'rsa2048' | 'rsa3072' | 'ed25519' | 'ed448'
const isCurve = (kind: Kind): kind is keyof typeof curves => kind in curves

const made = new Map<Kind, KeyObject>()

/** A private key of a kind; one per kind and process, for those of RSA take their time. */
export function keyOf(kind: Kind): KeyObject {
  const known = made.get(kind)
  if (known) return known
  const key = isCurve(kind)
    ? generateKeyPairSync('ec', { namedCurve: curves[kind] }).privateKey
    : kind === 'ed25519'
      ? generateKeyPairSync('ed25519').privateKey
      : kind === 'ed448'
        ? generateKeyPairSync('ed448').privateKey
        : generateKeyPairSync('rsa', { modulusLength: Number(kind.slice(3)) }).privateKey
  made.set(kind, key)
  return key
}
export const freshKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
export const pemOfKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

/** Whoever signs: its name and key, and its own certificate. */
export type Authority = Readonly<{ subject: Node; key: KeyObject; certPem: string }>

const fieldOf = (pem: string, at: number): Node => {
  const tbs = readSequence(new X509Certificate(pem).raw)?.[0]
  const field = tbs && readSequence(tbs.raw)?.[at]
  if (!field) throw new Error('not a certificate')
  return verbatim(field.raw)
}
export const authorityOf = ({ certPem, keyPem }: Issuer): Authority => ({
  subject: fieldOf(certPem, 5),
  key: createPrivateKey(keyPem),
  certPem,
})

export type Digest = 'md5' | 'sha1' | 'sha256' | 'sha384'
const algorithms: Readonly<Record<string, string>> = {
  'ec sha1': '1.2.840.10045.4.1',
  'ec sha256': '1.2.840.10045.4.3.2',
  'ec sha384': '1.2.840.10045.4.3.3',
  'rsa md5': '1.2.840.113549.1.1.4',
  'rsa sha1': '1.2.840.113549.1.1.5',
  'rsa sha256': '1.2.840.113549.1.1.11',
}
function algorithmOf(key: KeyObject, digest: Digest): Node {
  const id = algorithms[`${key.asymmetricKeyType} ${digest}`]
  if (id === undefined) throw new Error(`${key.asymmetricKeyType} ${digest}`)
  return key.asymmetricKeyType === 'rsa' ? sequence(oid(id), empty()) : sequence(oid(id))
}

function signedPem(label: string, tbs: Node, key: KeyObject, digest: Digest, isForged: boolean): string {
  const bytes = sign(digest, toDer(tbs), key)
  if (isForged) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
  return toPem(label, toDer(sequence(tbs, algorithmOf(key, digest), bits(bytes))))
}

export const hour = 3_600_000
export const fromNow = (ms: number): Date => new Date(Date.now() + ms)

export type Spec = Readonly<{
  by: Authority
  key?: KeyObject
  subject?: Node
  extensions?: readonly Node[]
  notBefore?: Date
  notAfter?: Date
  digest?: Digest
  serial?: Buffer
  /** 0 is X.509 version 1, 2 is version 3. */
  version?: 0 | 1 | 2
  forged?: boolean
  /** Instead of the key's own. */
  spki?: Node
}>

export const serial = (): Buffer => Buffer.concat([Buffer.from([0x41]), randomBytes(15)])

/** Whatever it is told to. */
export function certificate(o: Spec): string {
  const digest = o.digest ?? 'sha256'
  const version = o.version ?? 2
  const key = createPublicKey(pemOfKey(o.key ?? keyOf('p256')))
  const tbs = sequence(
    ...(version === 0 ? [] : [tagged(0, integer(Buffer.from([version])))]),
    integer(o.serial ?? serial()),
    algorithmOf(o.by.key, digest),
    o.by.subject,
    sequence(time(o.notBefore ?? fromNow(-60_000)), time(o.notAfter ?? fromNow(hour))),
    o.subject ?? sequence(),
    o.spki ?? verbatim(key.export({ type: 'spki', format: 'der' })),
    ...(o.extensions?.length ? [tagged(3, sequence(...o.extensions))] : []),
  )
  return signedPem('CERTIFICATE', tbs, o.by.key, digest, o.forged ?? false)
}

const usage = (...names: ('sign' | 'encipher' | 'agree' | 'certSign' | 'crlSign')[]) => {
  const bitOf = { sign: 0x80, encipher: 0x20, agree: 0x08, certSign: 0x04, crlSign: 0x02 }
  const byte = names.reduce((all, one) => all | bitOf[one], 0)
  const unused = byte === 0 ? 0 : Math.log2(byte & -byte)
  return extension(ids.keyUsage, true, bits(byte === 0 ? Buffer.alloc(0) : Buffer.from([byte]), unused))
}
const purposes = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
  code: '1.3.6.1.5.5.7.3.3',
  any: '2.5.29.37.0',
}

/** Ready-made extensions, well-formed and otherwise. */
export const ext = {
  usage,
  purpose: (...names: (keyof typeof purposes)[]): Node =>
    extension(ids.extendedUsage, false, sequence(...names.map((one) => oid(purposes[one])))),
  /** `ca()` and `ca(pathLength)`. */
  ca: (pathLength?: number): Node =>
    extension(
      ids.basicConstraints,
      true,
      sequence(boolean(true), ...(pathLength === undefined ? [] : [integer(Buffer.from([pathLength]))])),
    ),
  leaf: extension(ids.basicConstraints, true, sequence()),
  /** General names by their tag: 1 e-mail, 2 DNS, 6 URI, 7 IP. */
  names: (...names: (readonly [tag: number, text: string])[]): Node =>
    extension(
      ids.altNames,
      true,
      sequence(...names.map(([tag, text]) => implicit(tag, Buffer.from(text, 'latin1')))),
    ),
  uri: (...uris: string[]): Node => ext.names(...uris.map((uri) => [6, uri] as const)),
  /** URI hosts that are permitted (tag 0) or excluded (tag 1). */
  constraint: (tag: 0 | 1, host: string): Node =>
    extension('2.5.29.30', true, sequence(tagged(tag, sequence(implicit(6, Buffer.from(host)))))),
  raw: (id: string, isCritical: boolean, value: Buffer): Node =>
    sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octets(value)),
}

/** An authority of its own making. */
export function rootOf(kind: Kind = 'p256', commonName = 'root', digest: Digest = 'sha256'): Authority {
  const key = kind.startsWith('rsa') ? keyOf(kind) : isCurve(kind) ? freshOf(kind) : keyOf(kind)
  const subject = name(['test'], commonName)
  const certPem = certificate({
    by: { subject, key, certPem: '' },
    key,
    subject,
    extensions: [ext.ca(), ext.usage('certSign', 'crlSign')],
    digest,
  })
  return { subject, key, certPem }
}
const freshOf = (kind: keyof typeof curves): KeyObject =>
  generateKeyPairSync('ec', { namedCurve: curves[kind] }).privateKey

/** An authority below another one; `o` may take away what makes it one. */
export function under(by: Authority, o: Partial<Spec> & { commonName?: string } = {}): Authority {
  const key = o.key ?? freshKey()
  const subject = name(['test'], o.commonName ?? `intermediate ${randomBytes(4).toString('hex')}`)
  const extensions = [ext.ca(), ext.usage('certSign', 'crlSign')]
  return { subject, key, certPem: certificate({ extensions, ...o, by, key, subject }) }
}

export const serialOf = (pem: string): Buffer => {
  const hex = new X509Certificate(pem).serialNumber
  const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex')
  return (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes
}

export type CrlSpec = Readonly<{
  by: Authority
  revoked: readonly Buffer[]
  digest?: Digest
  extensions?: readonly Node[]
  entryExtensions?: readonly Node[]
  thisUpdate?: Date
  nextUpdate?: Date
  issuer?: Node
  forged?: boolean
}>

/** A revocation list as PEM. */
export function crl(o: CrlSpec): string {
  const digest = o.digest ?? 'sha256'
  const entry = (number: Buffer) =>
    sequence(
      integer(number),
      time(fromNow(-60_000)),
      ...(o.entryExtensions ? [sequence(...o.entryExtensions)] : []),
    )
  const tbs = sequence(
    integer(Buffer.from([1])),
    algorithmOf(o.by.key, digest),
    o.issuer ?? o.by.subject,
    time(o.thisUpdate ?? fromNow(-60_000)),
    time(o.nextUpdate ?? fromNow(hour)),
    ...(o.revoked.length ? [sequence(...o.revoked.map(entry))] : []),
    ...(o.extensions ? [tagged(0, sequence(...o.extensions))] : []),
  )
  return signedPem('X509 CRL', tbs, o.by.key, digest, o.forged ?? false)
}
