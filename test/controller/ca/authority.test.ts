import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { checkPeer, createRoot, generateKeyPair, issueCertificate, privateKeyPem, spiffeId } from '#identity'
import { kinds, type Secret } from '#kube'
import { silent } from '#telemetry'
import {
  authorityFrom,
  openAuthority,
  servingCertificate,
  signWorkload,
} from '../../../controller/ca/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'

const where = (log = silent) => ({
  namespace: 'istio-system',
  trustDomain: 'cluster.local',
  signal: new AbortController().signal,
  log,
})
const secret = (name: string, data: Record<string, string>): Secret & Record<string, unknown> => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'istio-system' },
  data: Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v).toString('base64')])),
})
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' })
const dayMs = 24 * 3600_000

t.test('replicas that start together end with one root', async (t) => {
  await using kube = await FakeKube.start()
  const authorities = await Promise.all([1, 2, 3].map(() => openAuthority(kube.client(), where())))
  t.equal(new Set(authorities.map(({ rootPem }) => rootPem)).size, 1)
  t.equal(kube.all(kinds.Secret).length, 1)
  t.equal(kube.read(kinds.Secret, 'istio-ca-secret', 'istio-system')?.type, 'istio.io/ca-root')
  const again = await openAuthority(kube.client(), where())
  t.equal(again.rootPem, authorities[0]?.rootPem)
})

t.test('a plugged-in CA is preferred, and nothing is made beside it', async (t) => {
  const root = createRoot({ organization: 'corp', validityMs: 10 * dayMs })
  await using kube = await FakeKube.start(
    secret('cacerts', {
      'ca-cert.pem': root.certPem,
      'ca-key.pem': root.keyPem,
      'root-cert.pem': root.certPem,
      'cert-chain.pem': root.certPem,
    }),
  )
  const authority = await openAuthority(kube.client(), where())
  t.equal(authority.rootPem, root.certPem)
  t.strictSame(authority.intermediates, [], 'a root that signs itself is not sent twice')
  t.equal(kube.all(kinds.Secret).length, 1)
})

t.test('a Secret that is no CA is refused with what is wrong, and without its key', async (t) => {
  const root = createRoot({ organization: 'a', validityMs: dayMs })
  const other = createRoot({ organization: 'b', validityMs: dayMs })
  const expired = createRoot({ organization: 'c', validityMs: 1000, now: new Date(Date.now() - dayMs) })
  const keys = generateKeyPair()
  const leaf = issueCertificate({
    issuer: root,
    publicKey: keys.publicKey,
    uris: [id],
    notBefore: new Date(),
    notAfter: new Date(Date.now() + dayMs),
    usages: [],
  })
  for (const [data, message] of [
    [{}, /are needed/],
    [{ 'ca-cert.pem': root.certPem }, /are needed/],
    [{ 'ca-cert.pem': 'garbage', 'ca-key.pem': root.keyPem }, /are needed/],
    [{ 'ca-cert.pem': root.certPem, 'ca-key.pem': 'garbage' }, /not a private key/],
    [{ 'ca-cert.pem': root.certPem, 'ca-key.pem': other.keyPem }, /does not belong/],
    [{ 'ca-cert.pem': leaf, 'ca-key.pem': privateKeyPem(keys.privateKey) }, /not a CA/],
    [{ 'ca-cert.pem': expired.certPem, 'ca-key.pem': expired.keyPem }, /expired/],
  ] as const) {
    t.throws(() => authorityFrom(secret('cacerts', { ...data })), { code: 'bad-config', message })
    try {
      authorityFrom(secret('cacerts', { ...data }))
    } catch (error) {
      t.notMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)), /PRIVATE KEY/)
    }
  }
})

t.test('a workload certificate: only the identity, capped by a day and by the issuer', async (t) => {
  const root = createRoot({ organization: 'cluster.local', validityMs: dayMs / 2 })
  const authority = authorityFrom(
    secret('istio-ca-secret', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }),
  )
  const now = Date.now()
  const life = (ms: number) => {
    const [leaf = ''] = signWorkload(authority, id, generateKeyPair().publicKey, ms, { now })
    return new X509Certificate(leaf).validToDate.getTime() - now
  }
  const near = (got: number, want: number) => Math.abs(got - want) < 2_000
  t.ok(near(life(3600_000), 3600_000))
  t.ok(near(life(10), 60_000), 'at least a minute')
  t.ok(near(life(0), dayMs / 2), 'unsaid: a day, but no longer than the issuer')
  t.ok(near(life(-5), dayMs / 2))
  t.ok(near(life(Number.NaN), dayMs / 2))
  const [leaf = '', last] = signWorkload(authority, id, generateKeyPair().publicKey, 3600_000)
  const x509 = new X509Certificate(leaf)
  t.match(checkPeer(x509.raw), { kind: 'peer', id })
  t.equal(x509.subjectAltName, `URI:${id}`)
  t.ok(x509.verify(new X509Certificate(root.certPem).publicKey))
  t.equal(last, root.certPem)
})

t.test('lifetimes as they are set: unasked the default, and never more than the most', async (t) => {
  const root = createRoot({ organization: 'cluster.local', validityMs: 30 * dayMs })
  const authority = authorityFrom(secret('s', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))
  const now = Date.now()
  const lifetimes = { defaultMs: 3600_000, maxMs: 2 * dayMs }
  for (const [askedMs, want] of [
    [0, 3600_000],
    [Number.NaN, 3600_000],
    [dayMs, dayMs],
    [2 * dayMs, 2 * dayMs],
    [90 * dayMs, 2 * dayMs],
    [Infinity, 2 * dayMs],
    [1, 60_000],
  ] as const) {
    const options = { lifetimes, now }
    const [leaf = ''] = signWorkload(authority, id, generateKeyPair().publicKey, askedMs, options)
    const { validToDate, validFromDate } = new X509Certificate(leaf)
    t.ok(Math.abs(validToDate.getTime() - now - want) < 2_000, `asked ${askedMs}`)
    t.ok(Math.abs(now - validFromDate.getTime() - 120_000) < 2_000, 'back-dated for clocks that differ')
  }
})

t.test('no two certificates have one serial number, and none tells how many there were', async (t) => {
  const root = createRoot({ organization: 'cluster.local', validityMs: 30 * dayMs })
  const authority = authorityFrom(secret('s', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))
  const { publicKey } = generateKeyPair()
  const serials = Array.from(
    { length: 1_000 },
    () => new X509Certificate(signWorkload(authority, id, publicKey, 3600_000)[0] ?? '').serialNumber,
  )
  t.equal(new Set(serials).size, 1_000)
  t.equal(new Set(serials.map((serial) => serial.slice(0, 12))).size, 1_000, 'they do not count up')
  for (const serial of serials) t.match(serial, /^[4-7][0-9A-F]{31}$/, 'positive, of 127 bits')
})

t.test('clocks that are two minutes apart do not keep two workloads apart', async (t) => {
  const root = createRoot({
    organization: 'cluster.local',
    validityMs: 30 * dayMs,
    now: new Date(Date.now() - 120_000),
  })
  const authority = authorityFrom(secret('s', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))
  const now = Date.now()
  const of = (skewMs: number) => {
    const [leaf = ''] = signWorkload(authority, id, generateKeyPair().publicKey, 3600_000, {
      now: now + skewMs,
    })
    const { validFromDate, validToDate } = new X509Certificate(leaf)
    return validFromDate.getTime() <= now + 1_000 && validToDate.getTime() > now
  }
  t.ok(of(120_000), 'a controller whose clock is ahead')
  t.ok(of(-120_000), 'or behind')
  t.notOk(of(600_000), 'ten minutes ahead is another matter')
})

t.test('our own certificate has the names of the Service', async (t) => {
  const root = createRoot({ organization: 'cluster.local', validityMs: 10 * dayMs })
  const authority = authorityFrom(secret('s', { 'ca-cert.pem': root.certPem, 'ca-key.pem': root.keyPem }))
  const { chainPem, notAfter } = servingCertificate(authority, generateKeyPair().publicKey, {
    dns: ['istiod.istio-system.svc'],
  })
  const x509 = new X509Certificate(chainPem)
  t.equal(x509.checkHost('istiod.istio-system.svc'), 'istiod.istio-system.svc')
  t.equal(x509.checkHost('evil.istio-system.svc'), undefined)
  t.ok(notAfter.getTime() > Date.now() + dayMs - 60_000)
})
