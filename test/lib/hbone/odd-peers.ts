import type { KeyObject } from 'node:crypto'
import { bits, type Node, oid, sequence } from '../../../lib/identity/asn1.ts'
import { ids, name } from '../../../lib/identity/issue.ts'
import {
  type Authority,
  certificate,
  ext,
  freshKey,
  fromNow,
  hour,
  keyOf,
  type Kind,
  rootOf,
  type Spec,
  under,
} from '../identity/certificate-kit.ts'
import { idOf } from './support.ts'

/** What a peer shows: its certificate first, then whatever it sends along. */
export type Shown = Readonly<{ key: KeyObject; chain: readonly string[] }>
export type Row = Readonly<{
  title: string
  /** Who may use it: any peer, only one that we call, only one that calls us, nobody. */
  fits: 'both' | 'server' | 'client' | 'none'
  shown: Shown
}>

export const root = rootOf()
const id = idOf('peer')
const both = ext.purpose('server', 'client')
const good = [ext.leaf, ext.usage('sign'), both]
const named = [...good, ext.uri(id)]

type Leaf = Partial<Spec> & { chain?: readonly Authority[] }
function leaf({ chain = [], ...o }: Leaf = {}): Shown {
  const key = o.key ?? freshKey()
  const pem = certificate({ by: root, extensions: named, ...o, key })
  return { key, chain: [pem, ...chain.map(({ certPem }) => certPem)] }
}
const below = (by: Authority, o: Leaf = {}): Shown => leaf({ ...o, by, chain: [by, ...(o.chain ?? [])] })
const withUri = (...uris: string[]) => leaf({ extensions: [...good, ext.uri(...uris)] })
const withExtensions = (...extensions: Node[]) => leaf({ extensions })
const ofKind = (kind: Kind) => leaf({ key: keyOf(kind) })

const rsaRoot = rootOf('rsa2048', 'rsa')
const p384Root = rootOf('p384', 'p384')
/** All that the two ends under test believe in. */
export const believed: readonly Authority[] = [root, rsaRoot, p384Root]

const between = under(root)
const short = under(root, { extensions: [ext.ca(0), ext.usage('certSign')] })
const stranger = rootOf('p256', 'stranger')
const namesake = rootOf()
const unreadable = under(root, {
  commonName: 'root',
  spki: sequence(sequence(oid('1.2.3.4')), bits(Buffer.from([1, 2, 3]))),
})
const neighbour = leaf({
  subject: name(['test'], 'neighbour'),
  extensions: [...good, ext.uri(idOf('neighbour'))],
})
const asAuthority = ({ key, chain }: Shown): Authority => ({
  subject: name(['test'], 'neighbour'),
  key,
  certPem: chain[0] ?? '',
})
const constrained = (tag: 0 | 1, host: string) =>
  under(root, { extensions: [ext.ca(), ext.usage('certSign'), ext.constraint(tag, host)] })
const weakCa = (o: Partial<Spec>) => under(rsaRoot, o)
const long = (n: number) => Array.from({ length: n }, (_, i) => [2, `name-${i}.example.com`] as const)

const fitting: readonly (readonly [string, Shown])[] = [
  ['a plain certificate', leaf()],
  ['a P-384 key', ofKind('p384')],
  ['an RSA-2048 key', ofKind('rsa2048')],
  ['an RSA-3072 key', ofKind('rsa3072')],
  ['an Ed25519 key', ofKind('ed25519')],
  ['a DNS name beside the URI', withExtensions(...good, ext.names([2, 'a.example.com'], [6, id]))],
  [
    'an e-mail and an IP address beside the URI',
    withExtensions(...good, ext.names([1, 'a@b'], [7, '\x0a\0\0\x01'], [6, id])),
  ],
  ['a common name', leaf({ subject: name(['o'], 'peer') })],
  ['another id as its common name', leaf({ subject: name([], idOf('admin')) })],
  ['no basic constraints', withExtensions(ext.usage('sign'), both, ext.uri(id))],
  ['key encipherment as well', withExtensions(ext.leaf, ext.usage('sign', 'encipher'), both, ext.uri(id))],
  ['key agreement as well', withExtensions(ext.leaf, ext.usage('sign', 'agree'), both, ext.uri(id))],
  ['no extended usage', withExtensions(ext.leaf, ext.usage('sign'), ext.uri(id))],
  [
    'three extended usages',
    withExtensions(ext.leaf, ext.usage('sign'), ext.purpose('code', 'server', 'client'), ext.uri(id)),
  ],
  ['an unknown extension', withExtensions(...named, ext.raw('1.2.3.4', false, Buffer.from([5, 0])))],
  ['an intermediate', below(between)],
  ['two intermediates', below(under(between), { chain: [between] })],
  ['an intermediate that allows no other', below(short)],
  ['the root sent along', leaf({ chain: [root] })],
  ['a stray certificate sent along', leaf({ chain: [stranger] })],
  ['a stray certificate with the name of its CA', leaf({ chain: [namesake] })],
  ['a stray certificate with the name of its CA and a key of no known kind', leaf({ chain: [unreadable] })],
  [
    'intermediates in the wrong order',
    (() => {
      const last = under(between)
      const { key, chain } = below(last)
      return { key, chain: [chain[0] ?? '', between.certPem, last.certPem] }
    })(),
  ],
  ['a name constraint that permits it', below(constrained(0, 'cluster.local'))],
  ['a name constraint that excludes others', below(constrained(1, 'other.domain'))],
  ['a signature of an RSA CA', leaf({ by: rsaRoot })],
  ['a signature of a P-384 CA', leaf({ by: p384Root, digest: 'sha384' })],
  ['an end after 2050', leaf({ notAfter: new Date('2051-01-01') })],
  ['a beginning this very second', leaf({ notBefore: fromNow(-1_000) })],
  ['a serial number of one byte', leaf({ serial: Buffer.from([1]) })],
  ['a serial number of 20 bytes', leaf({ serial: Buffer.alloc(20, 0x41) })],
]

const uris: readonly (readonly [string, string])[] = [
  ['an empty URI', ''],
  ['another scheme', id.replace('spiffe', 'https')],
  ['a scheme in capitals', id.replace('spiffe', 'SPIFFE')],
  ['a trust domain in capitals', id.replace('cluster', 'Cluster')],
  ['a trailing slash', `${id}/`],
  ['an empty part', id.replace('/ns/', '//ns/')],
  ['no service account', id.replace(/\/sa\/.*/, '')],
  ['an empty service account', id.replace(/[^/]*$/, '')],
  ['an empty namespace', id.replace('/test/', '//')],
  ['an empty trust domain', id.replace('cluster.local', '')],
  ['one part too many', `${id}/x`],
  ['NS in capitals', id.replace('/ns/', '/NS/')],
  ['percent signs', id.replace('peer', 'p%65er')],
  ['a percent sign in the trust domain', id.replace('cluster', 'cl%75ster')],
  ['a port', id.replace('.local', '.local:15008')],
  ['user information', id.replace('://', '://user@')],
  ['a query', `${id}?x=1`],
  ['a fragment', `${id}#x`],
  ['a NUL at the end', `${id}\0`],
  ['a NUL and another host', id.replace('.local', '.local\0.example.com')],
  ['UTF-8', id.replace('peer', Buffer.from('pe\u00e9r').toString('latin1'))],
  ['Latin-1', id.replace('peer', 'pe\u00e9r')],
  ['a dot that is none', id.replace('.local', Buffer.from('\u3002local').toString('latin1'))],
  ['a comma and a second id', `${id}, URI:${idOf('admin')}`],
  ['a line break', `${id}\n`],
  ['a blank in front', ` ${id}`],
  ['a dot as namespace', id.replace('/test/', '/./')],
  ['two dots as service account', id.replace('peer', '..')],
  ['more than 2048 bytes', id.replace('peer', 'p'.repeat(2_048))],
  ['only the trust domain', 'spiffe://cluster.local'],
]

const san = (der: Buffer) => ext.raw(ids.altNames, true, der)
const uriDer = Buffer.concat([Buffer.from([0x86, id.length]), Buffer.from(id)])
const seq = (...parts: Buffer[]) => {
  const value = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([0x30, value.length]), value])
}

const names: readonly (readonly [string, Shown])[] = [
  ...uris.map(([title, uri]) => [`as its name ${title}`, withUri(uri)] as const),
  ['no names', withExtensions(...good)],
  ['an empty list of names', withExtensions(...good, ext.names())],
  ['only a DNS name', withExtensions(...good, ext.names([2, 'a.example.com']))],
  ['the id as a DNS name', withExtensions(...good, ext.names([2, id]))],
  ['the id as an e-mail address', withExtensions(...good, ext.names([1, id]))],
  ['the id as its common name only', leaf({ subject: name([], id), extensions: good })],
  ['the same URI twice', withUri(id, id)],
  ['two ids', withUri(id, idOf('admin'))],
  ['an id and a web address', withUri(id, 'https://example.com/')],
  ['three ids', withUri(id, idOf('b'), idOf('c'))],
  ['names in two extensions', withExtensions(...named, ext.uri(idOf('admin')))],
  ['names that are no list', withExtensions(...good, san(Buffer.from([5, 0])))],
  ['bytes after the names', withExtensions(...good, san(Buffer.concat([seq(uriDer), Buffer.from([5, 0])])))],
  [
    'a name longer than its list',
    withExtensions(...good, san(seq(Buffer.concat([Buffer.from([0x86, 0x7f]), Buffer.from(id)])))),
  ],
  [
    'a length with a leading zero',
    withExtensions(...good, san(seq(Buffer.concat([Buffer.from([0x86, 0x81, id.length]), Buffer.from(id)])))),
  ],
  ['9 KiB of names', withExtensions(...good, ext.names(...long(400), [6, id]))],
  ['60 KiB of names', withExtensions(...good, ext.names(...long(2_600), [6, id]))],
]

const usages: readonly (readonly [string, Shown, Row['fits']?])[] = [
  ['CA:TRUE', withExtensions(ext.ca(), ext.usage('sign'), both, ext.uri(id))],
  ['CA:TRUE with a path length', withExtensions(ext.ca(0), ext.usage('sign'), both, ext.uri(id))],
  [
    'CA:TRUE in a spelling of its own',
    withExtensions(
      ext.raw(ids.basicConstraints, true, Buffer.from([0x30, 3, 1, 1, 1])),
      ext.usage('sign'),
      both,
      ext.uri(id),
    ),
  ],
  [
    'CA:TRUE and the usage of a CA',
    withExtensions(ext.ca(), ext.usage('sign', 'certSign', 'crlSign'), both, ext.uri(id)),
  ],
  ['no key usage', withExtensions(ext.leaf, both, ext.uri(id))],
  ['an empty key usage', withExtensions(ext.leaf, ext.usage(), both, ext.uri(id))],
  ['key agreement only', withExtensions(ext.leaf, ext.usage('agree'), both, ext.uri(id))],
  ['key encipherment only', withExtensions(ext.leaf, ext.usage('encipher'), both, ext.uri(id))],
  ['certificate signing', withExtensions(ext.leaf, ext.usage('sign', 'certSign'), both, ext.uri(id))],
  ['list signing', withExtensions(ext.leaf, ext.usage('sign', 'crlSign'), both, ext.uri(id))],
  ['key usage twice', withExtensions(...named, ext.usage('agree'))],
  [
    'only the usage of a server',
    withExtensions(ext.leaf, ext.usage('sign'), ext.purpose('server'), ext.uri(id)),
    'server',
  ],
  [
    'only the usage of a client',
    withExtensions(ext.leaf, ext.usage('sign'), ext.purpose('client'), ext.uri(id)),
    'client',
  ],
  ['only the usage of code', withExtensions(ext.leaf, ext.usage('sign'), ext.purpose('code'), ext.uri(id))],
  [
    'only the usage of anything',
    withExtensions(ext.leaf, ext.usage('sign'), ext.purpose('any'), ext.uri(id)),
  ],
  ['an unknown critical extension', withExtensions(...named, ext.raw('1.2.3.4', true, Buffer.from([5, 0])))],
  [
    '70 extensions',
    withExtensions(
      ...named,
      ...Array.from({ length: 66 }, (_, i) => ext.raw(`1.2.3.${i + 5}`, false, Buffer.from([5, 0]))),
    ),
  ],
  ['version 1', leaf({ version: 0, extensions: [] })],
]

const times: readonly (readonly [string, Shown])[] = [
  ['an end a second ago', leaf({ notAfter: fromNow(-1_500) })],
  ['an end last year', leaf({ notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') })],
  ['a beginning in an hour', leaf({ notBefore: fromNow(hour), notAfter: fromNow(2 * hour) })],
  ['an end before its beginning', leaf({ notBefore: fromNow(hour), notAfter: fromNow(-hour) })],
  ['an intermediate that has ended', below(under(root, { notAfter: fromNow(-2_000) }))],
  [
    'an intermediate that has not begun',
    below(under(root, { notBefore: fromNow(hour), notAfter: fromNow(2 * hour) })),
  ],
]

const selfSigned = (() => {
  const key = freshKey()
  const subject = name(['test'], 'self')
  return leaf({ by: { subject, key, certPem: '' }, subject, key })
})()

const chains: readonly (readonly [string, Shown])[] = [
  ['another root', leaf({ by: stranger })],
  ['another root sent along', leaf({ by: stranger, chain: [stranger] })],
  ['another root of the same name', leaf({ by: namesake, chain: [namesake] })],
  ['its own signature', selfSigned],
  ['a forged signature', leaf({ forged: true })],
  ['the certificate of another workload as its CA', below(asAuthority(neighbour))],
  ['an intermediate without CA:TRUE', below(under(root, { extensions: [ext.leaf, ext.usage('certSign')] }))],
  ['an intermediate without basic constraints', below(under(root, { extensions: [ext.usage('certSign')] }))],
  [
    'an intermediate that may not sign certificates',
    below(under(root, { extensions: [ext.ca(), ext.usage('sign')] })),
  ],
  ['an intermediate below one that allows none', below(under(short), { chain: [short] })],
  ['an intermediate of another root', below(under(stranger), { chain: [stranger] })],
  ['an intermediate with a forged signature', below(under(root, { forged: true }))],
  ['an intermediate that is not sent', leaf({ by: between })],
  ['a name constraint that excludes it', below(constrained(1, 'cluster.local'))],
  ['a name constraint that permits others', below(constrained(0, 'other.domain'))],
  ['an intermediate of version 1', below(under(root, { version: 0, extensions: [] }))],
  ['a trust domain of its own', withUri(id.replace('cluster.local', 'other.domain'))],
  ['an endless chain', below(Array.from({ length: 12 }).reduce<Authority>((by) => under(by), between))],
]

const weak: readonly (readonly [string, Shown])[] = [
  ['an RSA-1024 key', ofKind('rsa1024')],
  ['a P-521 key', ofKind('p521')],
  ['a P-224 key', ofKind('p224')],
  ['a secp256k1 key', ofKind('k256')],
  ['an Ed448 key', ofKind('ed448')],
  ['a SHA-1 signature', leaf({ by: rsaRoot, digest: 'sha1' })],
  ['an ECDSA SHA-1 signature', leaf({ digest: 'sha1' })],
  ['an MD5 signature', leaf({ by: rsaRoot, digest: 'md5' })],
  ['an intermediate with a SHA-1 signature', below(weakCa({ digest: 'sha1' }))],
  ['an intermediate with an RSA-1024 key', below(weakCa({ key: keyOf('rsa1024') }))],
]

export const rows: readonly Row[] = [
  ...fitting.map(([title, shown]) => ({ title, shown, fits: 'both' as const })),
  ...[...names, ...times, ...chains, ...weak].map(([title, shown]) => ({
    title,
    shown,
    fits: 'none' as const,
  })),
  ...usages.map(([title, shown, fits = 'none']) => ({ title, shown, fits })),
]
