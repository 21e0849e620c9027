import { inspect } from 'node:util'
import t from 'tap'
import { createRoot, renewRoot } from '#identity'
import { authorityFrom, isRenewalDue, rotationOf } from '../../../controller/ca/index.ts'
import { secret } from './ca-kit.ts'
import { cacerts, intermediateOf, rootOf } from './chains.ts'

const [oldRoot, newRoot] = [rootOf('old'), rootOf('new')]
const [first, second] = [intermediateOf(oldRoot, 'first'), intermediateOf(oldRoot, 'second')]
const ofNew = intermediateOf(newRoot, 'of-new')
const authority = (...parts: Parameters<typeof cacerts>) =>
  authorityFrom(secret('cacerts', cacerts(...parts)))
const both = [oldRoot, newRoot]
const crl = '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n'
const selfSignedOf = (root: typeof oldRoot) =>
  authorityFrom(secret('istio-ca-secret', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))

const start = authority(first, [oldRoot])
const cases: readonly (readonly [string, typeof start, typeof start, string])[] = [
  ['nothing', start, start, 'none'],
  ['another intermediate of the root', start, authority(second, [oldRoot]), 'adopt issuer'],
  ['phase 1: the new root beside the old one', start, authority(first, both), 'adopt roots'],
  ['phase 2: an issuer of the new root', authority(first, both), authority(ofNew, both), 'adopt issuer'],
  ['phase 3: the old root is gone', authority(ofNew, both), authority(ofNew, [newRoot]), 'adopt roots'],
  ['both roots in another order', authority(first, both), authority(first, both.toReversed()), 'adopt roots'],
  ['phase 3 before 2', authority(first, both), authority(ofNew, [newRoot]), 'refuse root-in-use-missing'],
  ['all at once', start, authority(ofNew, [newRoot]), 'refuse root-in-use-missing'],
  ['phase 2 before 1', start, authority(ofNew, both), 'refuse root-not-published'],
  ['revocations', start, authority(first, [oldRoot], { 'ca-crl.pem': crl }), 'adopt revocations'],
  ['a plugged-in CA of a root nobody knows', selfSignedOf(newRoot), start, 'refuse root-in-use-missing'],
  ['the self-signed root, plugged in', selfSignedOf(oldRoot), authority(oldRoot, [oldRoot]), 'adopt secret'],
  [
    'the same root for longer',
    selfSignedOf(oldRoot),
    selfSignedOf(renewRoot(oldRoot, { validityMs: 10 ** 9 })),
    'adopt issuer',
  ],
]
for (const [title, current, next, want] of cases)
  t.test(`${title}: ${want}`, async (t) => {
    const rotation = rotationOf(current, next)
    const { step } = rotation
    t.equal(
      step === 'none' ? step : `${step} ${'reason' in rotation ? rotation.reason : rotation.change}`,
      want,
    )
  })

t.test('a chain must lead to a root, and ends with its first certificate', async (t) => {
  const bad = (parts: Record<string, string>) => () => authorityFrom(secret('cacerts', parts))
  t.throws(bad(cacerts(first, [newRoot])), { message: /does not lead to/ })
  t.ok(authority(first, [first]), 'an intermediate may be trusted itself')
  const short = intermediateOf(oldRoot, 'short', 1)
  t.ok(authority(short, [oldRoot]).notAfter.getTime() < Date.now() + 25 * 3600_000)
  t.strictSame(authority(first, [oldRoot]).intermediates, [first.certPem])
  const [third] = [intermediateOf(first, 'third')]
  t.throws(bad(cacerts(third, [oldRoot])), { message: /does not lead to/ }, 'the chain lacks one')
  const chain = { 'cert-chain.pem': third.certPem + first.certPem }
  t.strictSame(authority(third, [oldRoot], chain).intermediates, [third.certPem, first.certPem])
  for (const text of ['garbage', crl.slice(0, -5), first.certPem, 'x'.repeat(10 ** 6)]) {
    const { crlPem, warning } = authority(first, [oldRoot], { 'ca-crl.pem': text })
    t.equal(crlPem, undefined)
    t.match(warning, /ca-crl/)
  }
  t.equal(authority(first, [oldRoot], { 'ca-crl.pem': `a comment\n${crl}${crl}` }).warning, undefined)
})

t.test('an authority that is printed shows no key', async (t) => {
  const shown = [inspect(start, { depth: 9 }), JSON.stringify(start), inspect({ ...start.issuer })].join()
  t.match(shown, /BEGIN CERTIFICATE/)
  t.notMatch(shown, /PRIVATE KEY/)
  t.match(start.issuer.keyPem, /PRIVATE KEY/)
})

t.test('a self-signed root is renewed in the last fifth of its life, somebody else’s never', async (t) => {
  const dayMs = 24 * 3600_000
  const aged = (days: number) =>
    selfSignedOf(
      createRoot({ organization: 'x', validityMs: 100 * dayMs, now: new Date(Date.now() - days * dayMs) }),
    )
  t.notOk(isRenewalDue(aged(1), Date.now()))
  t.notOk(isRenewalDue(aged(79), Date.now()))
  t.ok(isRenewalDue(aged(81), Date.now()))
  const half = { lifetimeMs: 1, checkMs: 1, renewalPart: 0.5 }
  t.notOk(isRenewalDue(aged(49), Date.now(), half), 'as it is set')
  t.ok(isRenewalDue(aged(51), Date.now(), half))
  t.notOk(isRenewalDue(start, start.notAfter.getTime() - 1))
})
