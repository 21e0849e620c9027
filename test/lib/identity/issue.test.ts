import { X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import t from 'tap'
import { MeshError } from '#base'
import {
  certificateFacts,
  createCsr,
  createRoot,
  generateKeyPair,
  issueCertificate,
  parseCaAnswer,
  parseCsr,
  parseSpiffeId,
  partsOf,
  renewRoot,
  spiffeId,
  splitPem,
} from '#identity'

const hour = 3_600_000
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
const root = createRoot({ organization: 'cluster.local', validityMs: hour })
const issue = (publicKey = generateKeyPair().publicKey, uri: string = id) =>
  issueCertificate({
    issuer: root,
    publicKey,
    uris: [uri],
    dnsNames: ['cart.shop.svc'],
    ipAddresses: ['10.0.0.1', 'fd00::1'],
    commonName: 'cart',
    organizations: ['one', 'two'],
    notBefore: new Date('2026-01-01T00:00:00Z'),
    notAfter: new Date('2051-01-01T00:00:00Z'),
    usages: ['clientAuth'],
  })

t.test('a root signs leafs that chain to it and carry what was asked for', async (t) => {
  const rootCert = new X509Certificate(root.certPem)
  const leaf = new X509Certificate(issue())
  t.ok(rootCert.ca)
  t.ok(leaf.verify(rootCert.publicKey))
  t.ok(leaf.checkIssued(rootCert))
  t.notOk(leaf.ca)
  t.equal(leaf.subject, 'O=one\nO=two\nCN=cart')
  t.equal(
    leaf.subjectAltName,
    `URI:${id}, DNS:cart.shop.svc, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1`,
  )
  t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  t.equal(leaf.toLegacyObject().valid_to, 'Jan  1 00:00:00 2051 GMT')
})

t.test('serial numbers differ, and validity is read back from PEM', async (t) => {
  const [a, b] = [certificateFacts(issue()), certificateFacts(issue())]
  t.not(a.serial, b.serial)
  t.equal(a.notBefore.toISOString(), '2026-01-01T00:00:00.000Z')
  t.equal(a.notAfter.toISOString(), '2051-01-01T00:00:00.000Z')
})

t.test('a request proves its key and is read by an independent parser', async (t) => {
  const key = generateKeyPair()
  const pem = createCsr({ id, key })
  const answer = parseCsr(pem)
  t.ok('publicKey' in answer && answer.publicKey.equals(key.publicKey))
  t.doesNotThrow(() => forge.asn1.fromDer(forge.pem.decode(pem)[0]?.body ?? ''))
})

t.test('requests that prove nothing are rejected', async (t) => {
  const pem = createCsr({ id, key: generateKeyPair() })
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const rewrap = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  const flipped = Buffer.from(der)
  flipped[der.length - 1] = (flipped[der.length - 1] ?? 0) ^ 1
  const renamed = Buffer.from(der.toString('latin1').replace('/sa/cart', '/sa/bank'), 'latin1')
  const reject = (text: string) => {
    const answer = parseCsr(text)
    return 'reject' in answer ? answer.reject : 'accepted'
  }
  t.match(reject(rewrap(flipped)), /signature/)
  t.equal(reject(rewrap(renamed)), 'signature does not match the key')
  t.equal(reject(''), 'not a certificate request')
  t.equal(reject(rewrap(Buffer.alloc(20))), 'malformed certificate request')
  t.equal(reject('x'.repeat(200_000)), 'request too long')
  t.equal(reject(issue()), 'not a certificate request')
  for (let cut = 1; cut < der.length; cut += 7) t.not(reject(rewrap(der.subarray(0, cut))), 'accepted')
})

t.test('the answer of a CA becomes a workload certificate', async (t) => {
  const key = generateKeyPair()
  const other = createRoot({ organization: 'next', validityMs: hour })
  const parsed = parseCaAnswer([issue(key.publicKey), root.certPem + other.certPem], key.privateKey, id)
  t.equal(parsed.id, id)
  t.equal(parsed.chainPem.length, 1)
  t.equal(parsed.rootsPem.length, 2, 'several roots stand side by side during a rotation')
  t.match(parsed.privateKeyPem, /BEGIN PRIVATE KEY/)
})

t.test('an answer that does not fit is refused as identity-unavailable', async (t) => {
  const key = generateKeyPair()
  const leaf = issue(key.publicKey)
  const [first = '', ...lines] = root.certPem.split('\n')
  const broken = [first, ...lines.slice(3)].join('\n')
  const cases: [string, () => unknown, RegExp][] = [
    ['only a leaf', () => parseCaAnswer([leaf], key.privateKey, id), /no root/],
    ['nothing', () => parseCaAnswer([], key.privateKey, id), /no root/],
    ['noise', () => parseCaAnswer(['a', 'b'], key.privateKey, id), /unreadable/],
    ['half a root', () => parseCaAnswer([leaf, broken], key.privateKey, id), /unreadable/],
    [
      'one good root and half of another',
      () => parseCaAnswer([leaf, root.certPem + broken], key.privateKey, id),
      /unreadable/,
    ],
    [
      'half an intermediate',
      () => parseCaAnswer([leaf, broken, root.certPem], key.privateKey, id),
      /unreadable/,
    ],
    ['another key', () => parseCaAnswer([issue(), root.certPem], key.privateKey, id), /another key/],
    [
      'another identity',
      () =>
        parseCaAnswer([leaf, root.certPem], key.privateKey, spiffeId({ ...partsOf(id), namespace: 'bank' })),
      /spiffe/,
    ],
    ['an authority', () => parseCaAnswer([root.certPem, root.certPem], key.privateKey, id), /another key/],
  ]
  for (const [title, run, message] of cases) {
    try {
      run()
      t.fail(title)
    } catch (error) {
      t.ok(error instanceof MeshError && error.code === 'identity-unavailable', title)
      t.match(String(error), message)
    }
  }
})

t.test('SPIFFE ids have exactly one spelling', async (t) => {
  t.strictSame(partsOf(id), { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
  t.equal(parseSpiffeId(id), id)
  t.equal(parseSpiffeId(`${id}/`), undefined)
  t.throws(() => spiffeId({ trustDomain: 'a/b', namespace: 'c', serviceAccount: 'd' }), RangeError)
})

t.test('a bundle is split into its certificates', async (t) => {
  t.equal(splitPem(`# comment\n${root.certPem}\n\n${root.certPem}`).length, 2)
  t.strictSame(splitPem('nothing here'), [])
})

t.test('a renewed root has the same name and key, so that what it signed before stays good', async (t) => {
  const dayMs = 24 * 3600_000
  const old = createRoot({ organization: 'cluster.local', validityMs: dayMs })
  const renewed = renewRoot(old, { validityMs: 9 * dayMs })
  t.equal(renewed.keyPem, old.keyPem)
  const [before, after] = [new X509Certificate(old.certPem), new X509Certificate(renewed.certPem)]
  t.ok(after.ca && after.checkIssued(before) && before.checkIssued(after))
  t.ok(after.publicKey.equals(before.publicKey))
  t.ok(after.validToDate.getTime() > before.validToDate.getTime() + 7 * dayMs)
  const leaf = new X509Certificate(
    issueCertificate({
      issuer: old,
      publicKey: generateKeyPair().publicKey,
      uris: [id],
      notBefore: new Date(),
      notAfter: new Date(Date.now() + dayMs),
      usages: [],
    }),
  )
  t.ok(leaf.checkIssued(after) && leaf.verify(after.publicKey))
})
