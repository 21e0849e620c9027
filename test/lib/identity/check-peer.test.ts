import fc from 'fast-check'
import t from 'tap'
import { checkPeer, createRoot, generateKeyPair, issueCertificate } from '#identity'
import { derOf, ext, oddLeaf } from './odd-certificates.ts'
import '../../fakes/seed.ts'

const root = createRoot({ organization: 'test', validityMs: 3_600_000 })
const { publicKey } = generateKeyPair()
const id = 'spiffe://cluster.local/ns/shop/sa/cart'
const uri = (text: string) => [6, text] as const

const cases: [string, Parameters<typeof oddLeaf>[3], string][] = [
  ['one workload URI', [ext.leaf, ext.signs, ext.names(uri(id))], id],
  ['names of other kinds beside the URI', [ext.leaf, ext.signs, ext.names([2, 'a.b'], uri(id))], id],
  ['no basic constraints', [ext.signs, ext.names(uri(id))], id],
  ['two URIs', [ext.leaf, ext.signs, ext.names(uri(id), uri(id))], 'more than one URI name'],
  ['CA:TRUE', [ext.authority, ext.signs, ext.names(uri(id))], 'certificate of an authority (CA:TRUE)'],
  ['no key usage', [ext.leaf, ext.names(uri(id))], 'key usage without digitalSignature'],
  ['only keyAgreement', [ext.leaf, ext.agrees, ext.names(uri(id))], 'key usage without digitalSignature'],
  ['keyCertSign', [ext.leaf, ext.certifies, ext.names(uri(id))], 'key usage of an authority'],
  ['cRLSign', [ext.leaf, ext.revokes, ext.names(uri(id))], 'key usage of an authority'],
  ['no names', [ext.leaf, ext.signs], 'no subject alternative names'],
  ['only a DNS name', [ext.leaf, ext.signs, ext.names([2, 'a.b'])], 'no URI name'],
  ['names twice', [ext.leaf, ext.signs, ext.names(uri(id)), ext.names(uri(id))], 'extension given twice'],
  ['an empty list of extensions', [], 'key usage without digitalSignature'],
]
const badUris = [
  'https://cluster.local/ns/a/sa/b',
  'spiffe://cluster.local/ns/a/sa/b/c',
  'spiffe://cluster.local/ns/a/sa/',
  'spiffe://cluster.local/ns//sa/b',
  'spiffe:///ns/a/sa/b',
  'SPIFFE://cluster.local/ns/a/sa/b',
  'spiffe://Cluster.local/ns/a/sa/b',
  'spiffe://cluster.local:80/ns/a/sa/b',
  'spiffe://u@cluster.local/ns/a/sa/b',
  'spiffe://cluster.local/ns/a/sa/b?x',
  'spiffe://cluster.local/ns/a/sa/b#x',
  'spiffe://cluster.local/ns/a/sa/%62',
  'spiffe://cluster.local/ns/a/sa/b\0',
  'spiffe://cluster.local/ns/a/sa/\u00e4',
  'spiffe://cluster.local/ns/../sa/b',
  `spiffe://cluster.local/ns/a/sa/${'b'.repeat(2048)}`,
  `${id}, URI:${id}`,
]

for (const [title, extensions, want] of cases) {
  t.test(`${title}: ${want}`, async (t) => {
    const answer = checkPeer(derOf(oddLeaf(root, 'test', publicKey, extensions)))
    t.equal(answer.kind === 'peer' ? answer.id : answer.reason, want)
  })
}

t.test('a URI that is not exactly a workload name is no identity', async (t) => {
  for (const bad of badUris) {
    const answer = checkPeer(
      derOf(oddLeaf(root, 'test', publicKey, [ext.leaf, ext.signs, ext.names(uri(bad))])),
    )
    t.strictSame(
      answer,
      { kind: 'reject', reason: 'URI name is not a workload identity' },
      JSON.stringify(bad.slice(0, 60)),
    )
  }
})

const good = derOf(
  issueCertificate({
    issuer: root,
    publicKey,
    uris: [id],
    notBefore: new Date(),
    notAfter: new Date(Date.now() + 60_000),
    usages: ['serverAuth', 'clientAuth'],
  }),
)

t.test('bytes after the certificate, or too many of them, are refused', async (t) => {
  t.equal(checkPeer(Buffer.concat([good, Buffer.from([0])])).kind, 'reject')
  t.strictSame(checkPeer(Buffer.alloc(65_537)), { kind: 'reject', reason: 'certificate too long' })
  t.equal(checkPeer(Buffer.alloc(0)).kind, 'reject')
})

t.test('no mutation of a certificate makes the check throw', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
      fc.nat(good.length),
      (edits, cut) => {
        const bytes = Buffer.from(good.subarray(0, cut === 0 ? good.length : cut))
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value
        checkPeer(bytes)
      },
    ),
    { numRuns: 3000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void checkPeer(Buffer.from(bytes))))
})
