import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { ChannelCredentials } from '@grpc/grpc-js'
import t from 'tap'
import { createRoot, splitPem } from '#identity'
import { type ConfigMap, kinds } from '#kube'
import { ca as wire } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { secret } from './ca/ca-kit.ts'
import { cacerts, intermediateOf, rootOf } from './ca/chains.ts'
import {
  acceptTokens,
  certificate,
  controllerFor,
  namespace,
  pod,
  type Running,
  ztunnelPod,
  ztunnelToken,
} from './mesh-kit.ts'

t.setTimeout(120_000) // a loaded machine

const start = async (...secrets: ReturnType<typeof secret>[]) => {
  const kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    pod('shop', 'order', { ip: '10.244.1.5' }),
    ...secrets,
  )
  acceptTokens(kube)
  return kube
}
const bundle = (kube: FakeKube, name: string, ns: string) =>
  kube.read<ConfigMap>(kinds.ConfigMap, name, ns)?.data
const roots = (kube: FakeKube, ns = 'shop') => bundle(kube, 'istio-ca-root-cert', ns)?.['root-cert.pem']
const lists = (kube: FakeKube, ns = 'shop') => bundle(kube, 'istio-ca-crl', ns)?.['ca-crl.pem']
const pems = (...issuers: readonly { certPem: string }[]) => issuers.map(({ certPem }) => certPem).join('')

/** The chain of a fresh certificate; fails the test when there is none. */
async function signed(running: Running, rootPem = running.root): Promise<readonly string[]> {
  const ca = () =>
    new wire.IstioCertificateServiceClient(
      `127.0.0.1:${running.app.ports.xds}`,
      ChannelCredentials.createSsl(Buffer.from(rootPem)),
      { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' },
    )
  const { chain, error } = await certificate(
    { ...running, ca },
    {
      token: ztunnelToken,
      identity: 'spiffe://cluster.local/ns/shop/sa/order',
    },
  )
  if (error) throw error
  return chain
}

/** Does whoever trusts `rootPem` believe this chain? */
function isBelieved(chain: readonly string[], rootPem: string): boolean {
  const sent = chain.slice(0, -1).map((pem) => new X509Certificate(pem))
  const trusted = splitPem(rootPem).map((pem) => new X509Certificate(pem))
  return sent.every((one, n) => {
    const signers = [...trusted, ...sent.slice(n + 1, n + 2)]
    return signers.some((ca) => one.checkIssued(ca) && one.verify(ca.publicKey))
  })
}

t.test('root rotation in three phases: at no moment do two workloads distrust each other', async (t) => {
  const [oldRoot, newRoot] = [rootOf('old'), rootOf('new')]
  const [ofOld, ofNew] = [intermediateOf(oldRoot, 'of-old'), intermediateOf(newRoot, 'of-new')]
  await using kube = await start(secret('cacerts', cacerts(ofOld, [oldRoot])))
  await using running = await controllerFor(kube)
  t.equal(running.root, oldRoot.certPem)
  const sign = () => signed(running, roots(kube)) // with the bundle that is mounted
  const before = await sign()
  t.strictSame(before.slice(1), [ofOld.certPem, oldRoot.certPem])

  let failed = 0
  let asked = 0
  const ending = new AbortController()
  const traffic = (async () => {
    while (!ending.signal.aborted) {
      asked++
      await sign().catch(() => failed++)
      await delay(50)
    }
  })()

  kube.put(secret('cacerts', cacerts(ofOld, [oldRoot, newRoot])))
  await until(() => roots(kube) === pems(oldRoot, newRoot), 'both roots in every namespace')
  const renewed = await sign()
  t.equal(renewed.at(-1), pems(oldRoot, newRoot), 'and in the answer')

  kube.put(secret('cacerts', cacerts(ofNew, [oldRoot, newRoot])))
  let after = await sign()
  while (after[1] !== ofNew.certPem) after = await sign()
  t.ok(isBelieved(after, renewed.at(-1) ?? ''), 'by one that has renewed in the first phase')
  t.ok(isBelieved(renewed, after.at(-1) ?? '') && isBelieved(before, after.at(-1) ?? ''))
  t.notOk(isBelieved(after, before.at(-1) ?? ''), 'one that has not would be cut off; hence the phases')

  kube.put(namespace('late'))
  await until(() => roots(kube, 'late') === pems(oldRoot, newRoot), 'a namespace made meanwhile')
  kube.put(secret('cacerts', cacerts(ofNew, [newRoot])))
  await until(() => roots(kube) === newRoot.certPem && roots(kube, 'late') === newRoot.certPem, 'one root')
  t.equal((await sign()).at(-1), newRoot.certPem)
  ending.abort()
  await traffic
  t.equal(failed, 0, `of ${asked} certificates asked for meanwhile`)
  t.match(await running.metrics(), 'lateen_ca_reloads_total{outcome="adopted"} 3')
})

t.test(
  'a new intermediate is in use at once, in our own TLS too, without a new connection failing',
  async (t) => {
    const root = rootOf('corp')
    const [first, second] = [intermediateOf(root, 'first'), intermediateOf(root, 'second')]
    await using kube = await start(secret('cacerts', cacerts(first, [root])))
    await using running = await controllerFor(kube)
    const shown = async () => {
      const socket = connect({
        host: '127.0.0.1',
        port: running.app.ports.xds,
        ALPNProtocols: ['h2'],
        ca: root.certPem,
        servername: 'istiod.istio-system.svc',
      })
      await once(socket, 'secureConnect')
      const { issuer } = socket.getPeerCertificate()
      socket.destroy()
      return issuer['CN']
    }
    t.equal(await shown(), 'first')
    kube.put(secret('cacerts', cacerts(second, [root])))
    let chain = await signed(running)
    while (chain[1] !== second.certPem) chain = await signed(running)
    t.ok(isBelieved(chain, root.certPem))
    t.equal(await shown(), 'second')
    t.equal(roots(kube), root.certPem)
  },
)

t.test('a Secret that cannot be used, or would cut the mesh in two, changes nothing', async (t) => {
  const [root, other] = [rootOf('corp'), rootOf('other')]
  const issuer = intermediateOf(root, 'first')
  await using kube = await start(secret('cacerts', cacerts(issuer, [root])))
  await using running = await controllerFor(kube)
  for (const [data, outcome] of [
    [{}, 'unreadable"} 1'],
    [{ ...cacerts(issuer, [root]), 'ca-key.pem': other.keyPem }, 'unreadable"} 2'],
    [cacerts(intermediateOf(other, 'x'), [other]), 'refused"} 1'],
  ] as const) {
    kube.put(secret('cacerts', { ...data }))
    const line = `lateen_ca_reloads_total{outcome="${outcome}`
    let seen = false
    while (!seen) seen = (await running.metrics()).includes(line)
    t.strictSame((await signed(running)).slice(1), [issuer.certPem, root.certPem], outcome)
  }
  kube.remove(kinds.Secret, 'cacerts', 'istio-system')
  kube.put(namespace('late'))
  await until(() => roots(kube, 'late') === root.certPem, 'it goes on')
  t.equal((await signed(running)).length, 3)
})

t.test('revocation lists are in every namespace, follow the Secret and are put back', async (t) => {
  const list = (text: string) =>
    `-----BEGIN X509 CRL-----\n${Buffer.from(text).toString('base64')}\n-----END X509 CRL-----\n`
  const root = rootOf('corp')
  const issuer = intermediateOf(root, 'first')
  const put = (more: Record<string, string>) => kube.put(secret('cacerts', cacerts(issuer, [root], more)))
  await using kube = await start(secret('cacerts', cacerts(issuer, [root])))
  await using running = await controllerFor(kube)
  await until(() => roots(kube) !== undefined, 'roots')
  t.equal(lists(kube), undefined, 'none without a list')
  put({ 'ca-crl.pem': list('one') })
  await until(() => lists(kube) === list('one') && lists(kube, 'istio-system') === list('one'), 'published')
  put({ 'ca-crl.pem': list('two') })
  await until(() => lists(kube) === list('two'), 'followed')
  kube.remove(kinds.ConfigMap, 'istio-ca-crl', 'shop')
  await until(() => lists(kube) === list('two'), 'put back')
  kube.put(namespace('late'))
  await until(() => lists(kube, 'late') === list('two'), 'a new namespace')
  put({ 'ca-crl.pem': 'garbage' })
  put({})
  kube.put(namespace('later'))
  await until(() => roots(kube, 'later') !== undefined, 'all taken in')
  t.equal(lists(kube), list('two'), 'what was revoked stays revoked until a list says otherwise')
  put({ 'ca-crl.pem': '' })
  await until(() => lists(kube) === '', 'which an empty one does')
  t.match(await running.metrics(), /citadel_server_root_cert_expiry_timestamp \d{10}/)
})

t.test('a self-signed root near its end is renewed under its key, for all replicas', async (t) => {
  const dayMs = 24 * 3600_000
  const old = createRoot({
    organization: 'cluster.local',
    validityMs: 100 * dayMs,
    now: new Date(Date.now() - 90 * dayMs),
  })
  await using kube = await start(
    secret('istio-ca-secret', { 'ca-cert.pem': old.certPem, 'ca-key.pem': old.keyPem }),
  )
  await using running = await controllerFor(kube)
  await using other = await controllerFor(kube, { POD_NAME: 'istiod-2' })
  await until(() => ![undefined, old.certPem].includes(roots(kube)), 'another root is published')
  const root = new X509Certificate(roots(kube) ?? '')
  t.ok(root.validToDate.getTime() > Date.now() + 9 * 365 * dayMs)
  t.ok(root.publicKey.equals(new X509Certificate(old.certPem).publicKey))
  for (const one of [running, other]) {
    let chain = await signed(one)
    while (chain[1] !== roots(kube)) chain = await signed(one)
    t.ok(isBelieved(chain, old.certPem), 'by whoever knows the old one')
  }
  const found = kube.read(kinds.Secret, 'istio-ca-secret', 'istio-system')
  t.equal(Buffer.from(found?.data?.['ca-key.pem'] ?? '', 'base64').toString(), old.keyPem)
  const metrics = await running.metrics()
  for (const name of ['root_cert', 'cert_chain'])
    t.match(metrics, new RegExp(`citadel_server_${name}_expiry_seconds 3\\d{8}`))
})
