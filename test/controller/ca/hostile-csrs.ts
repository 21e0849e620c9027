import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import {
  algorithmOf,
  altNames,
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
  set,
  signed,
  tagged,
  toDer,
  utf8,
  verbatim,
} from '../../../lib/identity/asn1.ts'
import { toPem } from '../../../lib/identity/pem.ts'

/** A request, and whether its key may be certified all the same: for the caller's own id and nothing else. */
type Hostile = readonly [title: string, csr: string, fate: 'signed' | 'refused']

const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
type Pair = Readonly<{ privateKey: KeyObject; publicKey: KeyObject }>
const key: Pair = ec('prime256v1')
const otherKey: Pair = ec('prime256v1')
const spkiOf = ({ publicKey }: Pair) => publicKey.export({ type: 'spki', format: 'der' })
const label = 'CERTIFICATE REQUEST'

type Parts = Readonly<{
  key?: Pair
  signer?: Pair
  version?: number
  subject?: Node
  attributes?: readonly Node[]
  extensions?: readonly Node[]
}>

const body = ({ key: own = key, version = 0, subject = sequence(), attributes, extensions = [] }: Parts) =>
  sequence(
    integer(Buffer.from([version])),
    subject,
    verbatim(spkiOf(own)),
    tagged(0, ...(attributes ?? [sequence(oid('1.2.840.113549.1.9.14'), set(sequence(...extensions)))])),
  )
const der = (parts: Parts = {}): Buffer => {
  const signer = (parts.signer ?? parts.key ?? key).privateKey
  return signed(body(parts), signer, algorithmOf(signer))
}
const csr = (parts: Parts = {}) => toPem(label, der(parts))

/** Signed by hand, for algorithms that nobody should believe. */
function signedAs(algorithm: string, digest: string | null, pair: Pair, rsa: boolean): string {
  const tbs = body({ key: pair })
  const signature = sign(digest, toDer(tbs), pair.privateKey)
  const identifier = rsa ? sequence(oid(algorithm), empty()) : sequence(oid(algorithm))
  return toPem(label, toDer(sequence(tbs, identifier, bits(signature))))
}

const san = '2.5.29.17'
const names = (...items: Node[]) => extension(san, true, sequence(...items))
const uri = (text: string) => implicit(6, Buffer.from(text, 'latin1'))
const rdn = (id: string, text: string) => set(sequence(oid(id), utf8(text)))

const otherNames: readonly Hostile[] = [
  'spiffe://cluster.local/ns/istio-system/sa/istiod',
  'spiffe://cluster.local/ns/kube-system/sa/default',
  'spiffe://evil.org/ns/shop/sa/order',
  'spiffe://cluster.local/ns/shop/sa/order/',
  'spiffe://cluster.local/ns/shop/sa/order?x=1',
  'spiffe://cluster.local/ns/shop/sa/order#x',
  'spiffe://cluster.local/ns/shop/sa/*',
  'spiffe://CLUSTER.LOCAL/ns/shop/sa/payment',
  'spiffe://cluster.local/ns/shop/sa/order,URI:spiffe://cluster.local/ns/shop/sa/payment',
  'spiffe://cluster.local/ns/shop/sa/pay\0ment',
  'https://istiod.istio-system.svc',
  '',
].map(
  (text): Hostile => [
    `asks for the URI ${JSON.stringify(text)}`,
    csr({ extensions: [names(uri(text))] }),
    'signed',
  ],
)

const many = Array.from({ length: 500 }, (_, n) => uri(`spiffe://cluster.local/ns/a/sa/b${n}`))
const kinds: readonly (readonly [string, Node])[] = [
  ['a DNS name of istiod', extension(san, false, altNames({ dnsNames: ['istiod.istio-system.svc'] }))],
  ['a wildcard', extension(san, false, altNames({ dnsNames: ['*.svc'] }))],
  ['an IP address', extension(san, false, altNames({ ipAddresses: ['10.96.0.1'] }))],
  ['an IPv6 address', extension(san, false, altNames({ ipAddresses: ['::1'] }))],
  ['a mail address', names(implicit(1, Buffer.from('root@cluster.local')))],
  ['a registered id', names(implicit(8, Buffer.from([42])))],
  ['another name with a NUL', names(tagged(0, oid('1.3.6.1.4.1.311.20.2.3'), tagged(0, utf8('a\0b'))))],
  ['a directory name', names(tagged(4, sequence(rdn('2.5.4.3', 'istiod'))))],
  ['500 URIs', names(...many)],
  [
    'two URIs',
    names(uri('spiffe://cluster.local/ns/shop/sa/order'), uri('spiffe://cluster.local/ns/a/sa/b')),
  ],
  ['an empty list of names', names()],
  ['names that are no DER', extension(san, true, octets(Buffer.from([0xff, 0xff])))],
  ['to be a CA', extension('2.5.29.19', true, sequence(boolean(true)))],
  ['to be a CA above a CA', extension('2.5.29.19', true, sequence(boolean(true), integer(Buffer.from([9]))))],
  ['to sign certificates', extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1))],
  ['every key usage', extension('2.5.29.15', true, bits(Buffer.from([0xff, 0x80]), 7))],
  ['any extended usage', extension('2.5.29.37', false, sequence(oid('2.5.29.37.0')))],
  ['to sign code', extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.3')))],
  ['to sign OCSP answers', extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.9')))],
  ['permitted names', extension('2.5.29.30', true, sequence(tagged(0, sequence(uri('cluster.local')))))],
  ['policies', extension('2.5.29.32', true, sequence(sequence(oid('2.5.29.32.0'))))],
  ['policy mappings', extension('2.5.29.33', true, sequence())],
  ['its own key id', extension('2.5.29.14', false, octets(Buffer.alloc(20, 7)))],
  ['its own issuer key id', extension('2.5.29.35', false, sequence(implicit(0, Buffer.alloc(20, 7))))],
  ['CRL distribution points', extension('2.5.29.31', false, sequence())],
  ['no OCSP check', extension('1.3.6.1.5.5.7.48.1.5', false, empty())],
  ['certificate transparency poison', extension('1.3.6.1.4.1.11129.2.4.3', true, empty())],
  ['an extension nobody knows', extension('1.2.3.4.5', true, octets(Buffer.alloc(100)))],
  ['an extension of 30 KB', extension('1.2.3.4.5', false, octets(Buffer.alloc(30_000)))],
]
const extensions = kinds.map(
  ([what, node]): Hostile => [`asks for ${what}`, csr({ extensions: [node] }), 'signed'],
)

const subjects = (
  [
    ['istiod', [rdn('2.5.4.3', 'istiod')]],
    ['a SPIFFE id', [rdn('2.5.4.3', 'spiffe://cluster.local/ns/kube-system/sa/default')]],
    ['system:masters', [rdn('2.5.4.10', 'system:masters'), rdn('2.5.4.3', 'admin')]],
    ['a node', [rdn('2.5.4.10', 'system:nodes'), rdn('2.5.4.3', 'system:node:n1')]],
    ['10 KB of name', [rdn('2.5.4.3', 'x'.repeat(10_000))]],
    ['a NUL', [rdn('2.5.4.3', 'order\0.evil.org')]],
    ['the root’s name', [rdn('2.5.4.10', 'cluster.local')]],
    ['an attribute nobody knows', [rdn('1.2.3.4', 'x')]],
    ['300 attributes', Array.from({ length: 300 }, () => rdn('2.5.4.11', 'x'))],
  ] as const
).map(([what, rdns]): Hostile => [`calls itself ${what}`, csr({ subject: sequence(...rdns) }), 'signed'])

const request = (node: Node) => sequence(oid('1.2.840.113549.1.9.14'), set(sequence(node)))
const attributes: readonly Hostile[] = [
  ['has no attributes', csr({ attributes: [] }), 'signed'],
  [
    'has a challenge password',
    csr({ attributes: [sequence(oid('1.2.840.113549.1.9.7'), set(utf8('x')))] }),
    'signed',
  ],
  [
    'asks twice for extensions',
    csr({ attributes: kinds.slice(0, 2).map(([, node]) => request(node)) }),
    'signed',
  ],
  ['has an attribute nobody knows', csr({ attributes: [sequence(oid('1.2.3.4'), set(empty()))] }), 'signed'],
  ['has attributes of a wrong shape', csr({ attributes: [empty()] }), 'signed'],
  ['says that it is of version 9', csr({ version: 9 }), 'signed'],
]

const rsa = (modulusLength: number): Pair => generateKeyPairSync('rsa', { modulusLength })
const weak = rsa(1024)
const strong = rsa(2048)
const keys: readonly Hostile[] = [
  ['P-384', csr({ key: ec('secp384r1') }), 'signed'],
  ['P-521', csr({ key: ec('secp521r1') }), 'signed'],
  ['RSA 2048', csr({ key: strong }), 'signed'],
  ['RSA 1024', csr({ key: weak }), 'refused'],
  ['RSA 512', csr({ key: rsa(512) }), 'refused'],
  ...['prime192v1', 'secp224r1', 'secp256k1', 'brainpoolP256r1'].map(
    (curve): Hostile => [curve, csr({ key: ec(curve) }), 'refused'],
  ),
  ['Ed25519', signedAs('1.3.101.112', null, generateKeyPairSync('ed25519'), false), 'refused'],
  ['Ed448', signedAs('1.3.101.113', null, generateKeyPairSync('ed448'), false), 'refused'],
  ['X25519', csr({ key: generateKeyPairSync('x25519'), signer: key }), 'refused'],
  ['ML-DSA', csr({ key: generateKeyPairSync('ml-dsa-44'), signer: key }), 'refused'],
  ['RSA-PSS', csr({ key: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }), signer: key }), 'refused'],
].map(
  ([what, pem, fate]): Hostile => [
    `brings a key of ${what}`,
    String(pem),
    fate === 'signed' ? 'signed' : 'refused',
  ],
)

/** The key with its point changed. */
function badPoint(change: (point: Buffer) => void): string {
  const bytes = Buffer.from(der())
  const at = bytes.indexOf(spkiOf(key)) + spkiOf(key).length - 65
  change(bytes.subarray(at, at + 65))
  return toPem(label, bytes)
}
const good = der()
const flipped = (at: number) => {
  const bytes = Buffer.from(good)
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  return toPem(label, bytes)
}
const withSignature = (signature: Uint8Array) =>
  toPem(label, toDer(sequence(body({}), algorithmOf(key.privateKey), bits(signature))))
const proofs: readonly Hostile[] = [
  ['signed by another key', csr({ signer: otherKey }), 'refused'],
  [
    'with the signature of another request',
    withSignature(sign('sha256', Buffer.from('x'), key.privateKey)),
    'refused',
  ],
  ['with an empty signature', withSignature(Buffer.alloc(0)), 'refused'],
  [
    'with a signature of zeros',
    withSignature(toDer(sequence(integer(Buffer.from([0])), integer(Buffer.from([0]))))),
    'refused',
  ],
  ['with a signature of 20 KB', withSignature(Buffer.alloc(20_000, 0x30)), 'refused'],
  ['whose key was changed afterwards', flipped(good.indexOf(spkiOf(key)) + 80), 'refused'],
  ['whose subject was changed afterwards', flipped(8), 'refused'],
  ['whose signature was changed', flipped(good.length - 3), 'refused'],
  ['with a point off the curve', badPoint((point) => point.fill(1, 1)), 'refused'],
  ['with the point at infinity', badPoint((point) => point.fill(0)), 'refused'],
  ['signed with SHA-1', signedAs('1.2.840.10045.4.1', 'sha1', key, false), 'refused'],
  ['signed with RSA and SHA-1', signedAs('1.2.840.113549.1.1.5', 'sha1', strong, true), 'refused'],
  ['signed with RSA and MD5', signedAs('1.2.840.113549.1.1.4', 'md5', strong, true), 'refused'],
  ['with an algorithm nobody knows', signedAs('1.2.3.4', 'sha256', key, false), 'refused'],
  [
    'with the algorithm of another kind of key',
    signedAs('1.2.840.113549.1.1.11', 'sha256', key, false),
    'signed',
  ],
]

const pem = (bytes: Uint8Array) => toPem(label, Buffer.from(bytes))
const nested = (depth: number) => {
  let bytes = Buffer.alloc(0)
  for (let n = 0; n < depth; n++)
    bytes = Buffer.concat([Buffer.from([0x30, 0x82, bytes.length >> 8, bytes.length & 0xff]), bytes])
  return bytes
}
const malformed: readonly Hostile[] = [
  ...[0, 1, 2, 10, 50, 100, 150, good.length - 1].map(
    (length): Hostile => [`cut after ${length} bytes`, pem(good.subarray(0, length)), 'refused'],
  ),
  ['with a byte after it', pem(Buffer.concat([good, Buffer.from([0])])), 'refused'],
  [
    'of indefinite length',
    pem(Buffer.concat([Buffer.from([0x30, 0x80]), good.subarray(4), Buffer.alloc(2)])),
    'refused',
  ],
  ['that says it is 4 GB long', pem(Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff])), 'refused'],
  ['nested 5,000 deep', pem(nested(5_000)), 'refused'],
  ['of 60 KB of zeros', pem(Buffer.alloc(60_000)), 'refused'],
  ['of 100 KB', csr({ extensions: [extension('1.2.3.4', false, octets(Buffer.alloc(100_000)))] }), 'refused'],
  ['of 5 MB', 'x'.repeat(5_000_000), 'refused'],
  ['that is empty', '', 'refused'],
  ['that is a word', 'garbage', 'refused'],
  ['that has a NUL in its PEM', csr().replace('\n', '\n\0'), 'refused'],
  ['without its last line', csr().replace(/-----END.*\n/, ''), 'refused'],
  ['that is raw DER', good.toString('latin1'), 'refused'],
  ['that is called a certificate', toPem('CERTIFICATE', good), 'refused'],
  ['that is a private key', String(key.privateKey.export({ type: 'pkcs8', format: 'pem' })), 'refused'],
  ['that is a SET', pem(Buffer.concat([Buffer.from([0x31]), good.subarray(1)])), 'refused'],
  [
    'of numbers',
    pem(toDer(sequence(integer(Buffer.from([1])), integer(Buffer.from([1])), integer(Buffer.from([1]))))),
    'refused',
  ],
]

export const hostileCsrs: readonly Hostile[] = [
  ...otherNames,
  ...extensions,
  ...subjects,
  ...attributes,
  ...keys,
  ...proofs.map(([title, text, fate]): Hostile => [`is one ${title}`, text, fate]),
  ...malformed.map(([title, text, fate]): Hostile => [`is one ${title}`, text, fate]),
]
