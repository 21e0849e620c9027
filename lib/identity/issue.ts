import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import {
  algorithmOf,
  altNames,
  bits,
  boolean,
  extension,
  implicit,
  integer,
  type Node,
  octets,
  oid,
  sequence,
  set,
  signed,
  tagged,
  time,
  utf8,
  verbatim,
} from './asn1.ts'
import { readSequence } from './der.ts'
import { generateKeyPair, privateKeyPem } from './keys.ts'
import { toPem } from './pem.ts'

/** A certificate that may sign others, with its key. */
export type Issuer = Readonly<{ certPem: string; keyPem: string }>

/** What a certificate may be used for in TLS. */
export type Usage = 'serverAuth' | 'clientAuth'

/** What a certificate shall say. */
export type IssueOptions = Readonly<{
  issuer: Issuer
  publicKey: KeyObject
  commonName?: string
  organizations?: readonly string[]
  uris?: readonly string[]
  dnsNames?: readonly string[]
  ipAddresses?: readonly string[]
  notBefore: Date
  notAfter: Date
  usages: readonly Usage[]
}>

const usageOids: Record<Usage, string> = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2' }
export const ids = {
  subjectKey: '2.5.29.14',
  keyUsage: '2.5.29.15',
  altNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKey: '2.5.29.35',
  extendedUsage: '2.5.29.37',
} as const

/** Bit 0 is digitalSignature; bits 5 and 6 are keyCertSign and cRLSign (RFC 5280 §4.2.1.3). */
const leafUsage = () => bits(Buffer.from([0x80]), 7)
const rootUsage = () => bits(Buffer.from([0x06]), 1)

const rdn = (id: string, text: string) => set(sequence(oid(id), utf8(text)))
export const name = (organizations: readonly string[], commonName: string | undefined): Node =>
  sequence(
    ...organizations.map((text) => rdn('2.5.4.10', text)),
    ...(commonName === undefined ? [] : [rdn('2.5.4.3', commonName)]),
  )

/** 16 random bytes: positive, never zero, and with no leading zero byte to encode away. */
function serial(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' })
/** SHA-1 only names the key here; nothing is protected by it (RFC 5280 §4.2.1.2). */
const keyId = (spki: Buffer): Buffer => {
  const parts = readSequence(spki)
  return createHash('sha1')
    .update(parts?.[1]?.value.subarray(1) ?? Buffer.alloc(0))
    .digest()
}

/** Everything that goes into a certificate, unchecked. */
type Fill = Readonly<{
  signer: KeyObject
  issuer: Node
  subject: Node
  /** Or its SubjectPublicKeyInfo, where that is known already: writing it out takes longer than to sign. */
  publicKey: KeyObject | Buffer
  notBefore: Date
  notAfter: Date
  extensions: readonly Node[]
  /** Of the signer, where it is known already: finding it out takes a signature. */
  algorithm?: Node
}>

/** Builds and signs whatever it is told to; tests use it for certificates that must be refused. */
export function buildCertificate(f: Fill): string {
  const { algorithm = algorithmOf(f.signer) } = f
  const tbs = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integer(serial()),
    algorithm,
    f.issuer,
    sequence(time(f.notBefore), time(f.notAfter)),
    f.subject,
    verbatim(Buffer.isBuffer(f.publicKey) ? f.publicKey : spkiOf(f.publicKey)),
    tagged(3, sequence(...f.extensions)),
  )
  return toPem('CERTIFICATE', signed(tbs, f.signer, algorithm))
}

/** Subject of a certificate as it stands, so that issuer and subject match byte for byte. */
function subjectOf(certificate: X509Certificate): Node {
  const tbs = readSequence(certificate.raw)?.[0]
  const fields = tbs && readSequence(tbs.raw)
  const subject = fields?.[fields[0]?.tag === 0xa0 ? 5 : 4]
  if (subject === undefined) throw new RangeError('issuer certificate without a subject')
  return verbatim(subject.raw)
}

/** A new self-signed P-256 root that may sign workload certificates. */
export function createRoot(o: {
  organization: string
  validityMs: number
  commonName?: string
  now?: Date
}): Issuer {
  const { privateKey } = generateKeyPair()
  return {
    certPem: selfSigned(privateKey, name([o.organization], o.commonName), o),
    keyPem: privateKeyPem(privateKey),
  }
}

/** The same root for longer: same name, same key, so what it has signed is as good under either. */
export const renewRoot = (root: Issuer, o: { validityMs: number; now?: Date }): Issuer => ({
  certPem: selfSigned(createPrivateKey(root.keyPem), subjectOf(new X509Certificate(root.certPem)), o),
  keyPem: root.keyPem,
})

function selfSigned(signer: KeyObject, subject: Node, o: { validityMs: number; now?: Date }): string {
  const publicKey = createPublicKey(signer)
  const now = o.now ?? new Date()
  return buildCertificate({
    signer,
    issuer: subject,
    subject,
    publicKey,
    notBefore: now,
    notAfter: new Date(now.getTime() + o.validityMs),
    extensions: [
      extension(ids.keyUsage, true, rootUsage()),
      extension(ids.basicConstraints, true, sequence(boolean(true))),
      extension(ids.subjectKey, false, octets(keyId(spkiOf(publicKey)))),
    ],
  })
}

type Signer = Readonly<{ signer: KeyObject; algorithm: Node; subject: Node; authorityKey: Buffer }>
const signers = new WeakMap<Issuer, Signer>()

/** What every certificate of an issuer needs of it, read once: that is a third of the work of signing. */
function signerOf(issuer: Issuer): Signer {
  const known = signers.get(issuer)
  if (known) return known
  const certificate = new X509Certificate(issuer.certPem)
  const key = createPrivateKey(issuer.keyPem)
  const signer = {
    signer: key,
    algorithm: algorithmOf(key),
    subject: subjectOf(certificate),
    authorityKey: keyId(spkiOf(certificate.publicKey)),
  }
  signers.set(issuer, signer)
  return signer
}

/** A leaf certificate (CA:FALSE, digitalSignature) for `publicKey`, as PEM without its chain. */
export function issueCertificate(o: IssueOptions): string {
  const { signer, algorithm, subject, authorityKey } = signerOf(o.issuer)
  const spki = spkiOf(o.publicKey)
  const names = [...(o.uris ?? []), ...(o.dnsNames ?? []), ...(o.ipAddresses ?? [])]
  const organizations = o.organizations ?? []
  const anonymous = organizations.length === 0 && o.commonName === undefined
  return buildCertificate({
    signer,
    algorithm,
    issuer: subject,
    subject: name(organizations, o.commonName),
    publicKey: spki,
    notBefore: o.notBefore,
    notAfter: o.notAfter,
    extensions: [
      extension(ids.keyUsage, true, leafUsage()),
      extension(ids.extendedUsage, false, sequence(...o.usages.map((usage) => oid(usageOids[usage])))),
      extension(ids.basicConstraints, true, sequence()),
      extension(ids.subjectKey, false, octets(keyId(spki))),
      extension(ids.authorityKey, false, sequence(implicit(0, authorityKey))),
      // A certificate without a subject must mark its names critical (RFC 5280 §4.2.1.6).
      ...(names.length > 0 ? [extension(ids.altNames, anonymous, altNames(o))] : []),
    ],
  })
}
