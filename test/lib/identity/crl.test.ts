import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { chainOf } from '../../../lib/identity/chain.ts'
import { type Crl, parseCrls } from '../../../lib/identity/crl.ts'
import { name } from '../../../lib/identity/issue.ts'
import { firstDer } from '../../../lib/identity/pem.ts'
import { RevocationLists } from '../../../lib/identity/revocations.ts'
import { spiffeId, type WorkloadCertificate } from '#identity'
import { type Authority, certificate, crl, ext, rootOf, serial, under } from './certificate-kit.ts'
import '../../fakes/seed.ts'

const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
const root = rootOf()
const leafBy = (by: Authority, number = serial()) =>
  certificate({ by, serial: number, extensions: [ext.leaf, ext.usage('sign'), ext.uri(id)] })

const trusting = (...roots: Authority[]): WorkloadCertificate => ({
  id,
  privateKeyPem: '',
  chainPem: [],
  rootsPem: roots.map(({ certPem }) => certPem),
  notBefore: new Date(),
  notAfter: new Date(),
})

/** Chains are walked over what TLS hands out; this one has its issuers among the roots, or in front of them. */
const chain = (leafPem: string, ...roots: Authority[]) =>
  chainOf(new X509Certificate(leafPem), trusting(...roots))

const listsIn = (text: string | Buffer): readonly Crl[] => {
  const parsed = parseCrls(Buffer.from(text))
  if ('reject' in parsed) throw new Error(parsed.reject)
  return parsed
}
const derOf = (pem: string) => firstDer(pem, 'X509 CRL') ?? Buffer.alloc(0)
const rejection = (text: string | Buffer) => {
  const parsed = parseCrls(Buffer.from(text))
  return 'reject' in parsed ? parsed.reject : undefined
}
const holding = (text: string) => {
  const lists = new RevocationLists()
  lists.replace(listsIn(text))
  return lists
}

t.test('a list is read from PEM or DER, and several from one file', async (t) => {
  const one = crl({ by: root, revoked: [Buffer.from([5]), Buffer.from([0, 0x80])] })
  const der = derOf(one)
  t.strictSame([...(listsIn(one)[0]?.revoked ?? [])], ['05', '80'])
  t.strictSame([...(listsIn(der)[0]?.revoked ?? [])], ['05', '80'])
  t.equal(listsIn(`${one}\n# a remark\n${one}`).length, 2)
  t.strictSame(listsIn(''), [])
  t.strictSame(listsIn('\n \n'), [])
  t.equal(listsIn(crl({ by: root, revoked: [] }))[0]?.revoked.size, 0)
})

const refused: [string, string, RegExp][] = [
  [
    'a delta list',
    crl({ by: root, revoked: [], extensions: [ext.raw('2.5.29.27', true, Buffer.from([2, 1, 1]))] }),
    /delta/,
  ],
  [
    'an indirect list',
    crl({
      by: root,
      revoked: [],
      extensions: [ext.raw('2.5.29.28', true, Buffer.from([0x30, 3, 0x84, 1, 0xff]))],
    }),
    /indirect/,
  ],
  [
    'an entry of another issuer',
    crl({
      by: root,
      revoked: [Buffer.from([5])],
      entryExtensions: [ext.raw('2.5.29.29', true, Buffer.from([0x30, 0]))],
    }),
    /other issuers/,
  ],
  [
    'an unknown critical extension',
    crl({ by: root, revoked: [], extensions: [ext.raw('1.2.3.4', true, Buffer.from([5, 0]))] }),
    /critical/,
  ],
  ['a SHA-1 signature', crl({ by: root, revoked: [], digest: 'sha1' }), /algorithm/],
  ['something else in PEM', root.certPem, /not a whole revocation list/],
  ['text', 'hello', /malformed/],
  ['more lists than any mesh has', crl({ by: root, revoked: [] }).repeat(65), /more than 64/],
]
for (const [title, text, why] of refused)
  t.test(`${title} is refused`, async (t) => t.match(rejection(text), why))

t.test('extensions that change nothing are allowed', async (t) => {
  const extensions = [
    ext.raw('2.5.29.20', true, Buffer.from([2, 1, 7])),
    ext.raw('2.5.29.28', true, Buffer.from([0x30, 3, 0x81, 1, 0xff])),
    ext.raw('1.2.3.4', false, Buffer.from([5, 0])),
  ]
  const entryExtensions = [ext.raw('2.5.29.21', false, Buffer.from([0x0a, 1, 1]))]
  t.equal(
    listsIn(crl({ by: root, revoked: [Buffer.from([5])], extensions, entryExtensions }))[0]?.revoked.size,
    1,
  )
})

t.test('half a file is no file, wherever it is cut', async (t) => {
  const text = crl({ by: root, revoked: [Buffer.from([5])] }).repeat(2)
  const der = derOf(text)
  for (let n = 1; n < der.length; n++) if (!rejection(der.subarray(0, n))) t.fail(`DER cut at ${n}`)
  const whole = text.length / 2
  for (let n = 1; n < text.trimEnd().length; n++) {
    const parsed = parseCrls(Buffer.from(text.slice(0, n)))
    // Between the two lists there is one whole one.
    if (!('reject' in parsed) && n !== whole && n !== whole - 1) t.fail(`PEM cut at ${n}`)
  }
  t.pass()
})

t.test('no mutation of a list makes the parser throw', async () => {
  const der = derOf(crl({ by: root, revoked: [Buffer.from([5])] }))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { maxLength: 6 }), (edits) => {
      const bytes = Buffer.from(der)
      for (const [at, value] of edits) bytes[at] = value
      parseCrls(bytes)
    }),
    { numRuns: 3000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void parseCrls(Buffer.from(bytes))))
})

t.test('a certificate is revoked by the list of its own CA and by no other', async (t) => {
  const number = serial()
  const leaf = leafBy(root, number)
  const namesake = rootOf()
  const stranger = rootOf('p256', 'another')
  const rsa = rootOf('rsa2048')
  t.ok(holding(crl({ by: root, revoked: [number] })).isRevoked(chain(leaf, root)))
  t.notOk(holding(crl({ by: root, revoked: [serial()] })).isRevoked(chain(leaf, root)))
  t.notOk(holding(crl({ by: stranger, revoked: [number] })).isRevoked(chain(leaf, root)))
  t.notOk(
    holding(crl({ by: namesake, revoked: [number] })).isRevoked(chain(leaf, root)),
    'same name, other key',
  )
  t.notOk(holding(crl({ by: root, revoked: [number], forged: true })).isRevoked(chain(leaf, root)))
  const both = crl({ by: namesake, revoked: [] }) + crl({ by: root, revoked: [number] })
  t.ok(holding(both).isRevoked(chain(leaf, namesake, root)), 'two roots of one name')
  const byRsa = leafBy(rsa, number)
  t.ok(holding(crl({ by: rsa, revoked: [number] })).isRevoked(chain(byRsa, rsa)))
})

t.test('an old list counts as much as a fresh one', async (t) => {
  const number = serial()
  const past = { thisUpdate: new Date('2020-01-01'), nextUpdate: new Date('2020-01-02') }
  t.ok(holding(crl({ by: root, revoked: [number], ...past })).isRevoked(chain(leafBy(root, number), root)))
})

t.test('the same name in another spelling is the same CA', async (t) => {
  const number = serial()
  const issuer = name([' TEST '], 'Root')
  t.ok(holding(crl({ by: root, revoked: [number], issuer })).isRevoked(chain(leafBy(root, number), root)))
})

t.test('a forged successor does not lift what the list before it revoked; a true one does', async (t) => {
  const number = serial()
  const theirs = chain(leafBy(root, number), root)
  const lists = holding(crl({ by: root, revoked: [number] }))
  t.ok(lists.isRevoked(theirs))
  t.equal(lists.replace(listsIn(crl({ by: root, revoked: [], forged: true }))), 1)
  t.ok(lists.isRevoked(theirs))
  t.equal(lists.replace(listsIn(crl({ by: root, revoked: [] }))), 0)
  t.notOk(lists.isRevoked(theirs))
  lists.replace(listsIn(crl({ by: root, revoked: [number] })))
  t.ok(lists.isRevoked(theirs))
  t.equal(lists.replace([]), 0, 'a CA that publishes nothing any more')
  t.notOk(lists.isRevoked(theirs))
})

t.test('a chain that cannot be followed is known as such', async (t) => {
  const between = under(root)
  t.match(chain(leafBy(between), root), { complete: false, links: [] })
  t.match(chain(leafBy(root), root), { complete: true, links: { length: 1 } })
})

t.test('no mutation of a certificate makes the walk throw', async (t) => {
  const good = new X509Certificate(leafBy(root)).raw
  const own = trusting(root)
  let parsed = 0
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
      (edits) => {
        const bytes = Buffer.from(good)
        for (const [at, value] of edits) bytes[at] = value
        const leaf = readable(bytes)
        if (!leaf) return
        parsed++
        chainOf(leaf, own)
      },
    ),
    { numRuns: 1500 },
  )
  t.ok(parsed > 300, `${parsed} could be read`)
})

const readable = (der: Buffer) => {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

t.test('100 000 entries are read in linear time: far below what a quadratic reader takes', async (t) => {
  const msOf = (entries: number): number => {
    const many = Array.from({ length: entries }, (_, i) =>
      Buffer.from([1, (i >> 16) & 255, (i >> 8) & 255, i & 255]),
    )
    const text = crl({ by: root, revoked: many })
    const runs = [1, 2, 3].map(() => {
      const began = performance.now()
      t.equal(listsIn(text)[0]?.revoked.size, many.length)
      return performance.now() - began
    })
    return Math.min(...runs)
  }
  const [few, many] = [msOf(10_000), msOf(100_000)]
  t.ok(many < 50 * few, `${few} ms for a tenth, ${many} ms; a quadratic reader takes 100 times as long`)
})
