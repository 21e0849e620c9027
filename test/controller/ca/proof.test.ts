import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { type Issuer, privateKeyPem } from '#identity'
import { silent } from '#telemetry'
import { authorityFrom, disbelief, followAuthority, openAuthority } from '../../../controller/ca/index.ts'
import {
  boolean,
  extension,
  implicit,
  integer,
  type Node,
  oid,
  sequence,
  tagged,
} from '../../../lib/identity/asn1.ts'
import { bits } from '../../../lib/identity/asn1.ts'
import { buildCertificate, ids, name } from '../../../lib/identity/issue.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'
import { secret } from './ca-kit.ts'
import { cacerts, intermediateOf, rootOf } from './chains.ts'

const hourMs = 3600_000
type Parts = Readonly<{ key?: KeyObject; from?: number; extensions?: readonly Node[]; by?: Issuer }>

const isCa = (pathLength?: number) =>
  extension(
    ids.basicConstraints,
    true,
    sequence(boolean(true), ...(pathLength === undefined ? [] : [integer(Buffer.from([pathLength]))])),
  )
const usage = (...names: string[]) =>
  extension(ids.extendedUsage, false, sequence(...names.map((one) => oid(one))))
const onlyDomain = (domain: string) =>
  extension('2.5.29.30', true, sequence(tagged(0, sequence(implicit(6, Buffer.from(domain))))))

/** A CA as no tool of ours makes it: its own signer, unless `by` says who. */
function odd({ key, from = -hourMs, extensions = [isCa()], by }: Parts): Issuer {
  const own = key ?? generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
  const [subject, issuer] = [name(['odd'], by ? 'below' : 'root'), name(['odd'], 'root')]
  return {
    certPem: buildCertificate({
      signer: by ? createPrivateKey(by.keyPem) : own,
      issuer: by ? issuer : subject,
      subject,
      publicKey: createPublicKey(own),
      notBefore: new Date(Date.now() + from),
      notAfter: new Date(Date.now() + 48 * hourMs),
      extensions,
    }),
    keyPem: privateKeyPem(own),
  }
}
const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey
const alone = (root: Issuer) => cacerts(root, [root])
const below = (root: Issuer, extensions: readonly Node[]) => cacerts(odd({ by: root, extensions }), [root])
const root = odd({})
const [corp, other] = [rootOf('corp'), rootOf('other')]

const cases: readonly (readonly [string, Record<string, string>, RegExp | undefined])[] = [
  ['a root of ours', alone(corp), undefined],
  ['an intermediate', cacerts(intermediateOf(corp, 'x'), [corp]), undefined],
  ['two roots, of which one is in use', cacerts(intermediateOf(corp, 'x'), [other, corp]), undefined],
  ['RSA 2048', alone(odd({ key: rsa(2048) })), undefined],
  [
    'P-384',
    alone(odd({ key: generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey })),
    undefined,
  ],
  ['below a root for one more', below(odd({ extensions: [isCa(1)] }), [isCa(0)]), undefined],
  [
    'for servers and clients',
    below(root, [isCa(), usage('1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2')]),
    undefined,
  ],
  ['for our names', below(root, [isCa(), onlyDomain('cluster.local')]), undefined],
  ['RSA 1024', alone(odd({ key: rsa(1024) })), /TOO_SMALL|too small/],
  ['not valid yet', alone(odd({ from: hourMs })), /NOT_YET_VALID/],
  ['below a root for none', below(odd({ extensions: [isCa(0)] }), [isCa()]), /PATH_LENGTH/],
  [
    'that may not sign certificates',
    below(root, [isCa(), extension(ids.keyUsage, true, bits(Buffer.from([0x80]), 7))]),
    /./,
  ],
  ['for servers only', below(root, [isCa(), usage('1.3.6.1.5.5.7.3.1')]), /servers and clients alike/],
  ['for clients only', below(root, [isCa(), usage('1.3.6.1.5.5.7.3.2')]), /servers and clients alike/],
  ['for names of others', below(root, [isCa(), onlyDomain('example.com')]), /PERMITTED|permitted/],
  ['trusted by itself, below a root', cacerts(intermediateOf(corp, 'x'), [intermediateOf(corp, 'x')]), /./],
]
for (const [title, parts, want] of cases)
  t.test(`a CA ${title}: ${want ? 'believed by nobody' : 'believed'}`, async (t) => {
    let why: string | undefined
    try {
      why = await disbelief(authorityFrom(secret('cacerts', parts)), 'cluster.local')
    } catch (error) {
      why = String(error)
    }
    if (want) t.match(why, want)
    else t.equal(why, undefined)
    t.notMatch(why, /PRIVATE/)
  })

t.test('what nobody would believe is neither begun with nor taken over', async (t) => {
  const early = odd({ from: hourMs })
  const where = { namespace: 'istio-system', trustDomain: 'cluster.local', log: silent }
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const { signal } = stop
  await using fails = await FakeKube.start(secret('cacerts', alone(early)))
  await t.rejects(openAuthority(fails.client(), { ...where, signal }), {
    code: 'bad-config',
    message: /^Secret cacerts: no workload would believe .*CERT_NOT_YET_VALID/,
  })
  const [good, limited] = [
    odd({ by: root }),
    odd({ by: root, extensions: [isCa(), usage('1.3.6.1.5.5.7.3.1')] }),
  ]
  await using kube = await FakeKube.start(secret('cacerts', cacerts(good, [root])))
  const first = await openAuthority(kube.client(), { ...where, signal })
  const outcomes: string[] = []
  const authority = followAuthority(kube.client(), first, {
    ...where,
    signal,
    counted: (one) => void outcomes.push(one),
  })
  kube.put(secret('cacerts', cacerts(limited, [root])))
  await until(() => outcomes.length === 1, 'it is looked at')
  t.strictSame(outcomes, ['refused'])
  t.equal(authority.current().issuer.certPem, good.certPem)
  const next = odd({ by: root })
  kube.put(secret('cacerts', cacerts(next, [root])))
  await until(() => outcomes.length === 2, 'the next one too')
  t.equal(authority.current().issuer.certPem, next.certPem)
})
