import { X509Certificate } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { checkPeer } from '#identity'
import { type ConfigMap, kinds } from '#kube'
import { authorizationTypeUrl, workload } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import {
  acceptTokens,
  adsStream,
  certificate,
  controllerFor,
  names,
  namespace,
  pod,
  service,
  versions,
  workloadIn,
  ztunnelNode,
  ztunnelPod,
  ztunnelToken,
} from './mesh-kit.ts'

const start = async () => {
  const kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    pod('shop', 'order', { ip: '10.244.1.5' }),
    service('shop', 'order'),
  )
  acceptTokens(kube)
  return kube
}
const order = 'Kubernetes//Pod/shop/order'
const orderService = 'shop/order.shop.svc.cluster.local'

t.test('a wildcard client is told the mesh, then only what changes', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  const first = await stream.next()
  t.strictSame(names(first), ['Kubernetes//Pod/istio-system/ztunnel-1', order, orderService])
  t.equal(workloadIn(first, order)?.tunnelProtocol, workload.TunnelProtocol.HBONE)
  t.strictSame(first.resources.find(({ name }) => name === order)?.aliases, ['/10.244.1.5'])

  stream.send({ typeUrl: authorizationTypeUrl, node: ztunnelNode })
  const policies = await stream.next()
  t.equal(policies.typeUrl, authorizationTypeUrl)
  t.strictSame(names(policies), [], 'answered although there are none: clients wait for it')

  kube.put(pod('shop', 'order', { ip: '10.244.1.5', hbone: false }))
  const delta = await stream.next()
  t.strictSame(names(delta), [order])
  t.equal(workloadIn(delta, order)?.tunnelProtocol, workload.TunnelProtocol.NONE)
  kube.remove(kinds.Pod, 'order', 'shop')
  t.strictSame((await stream.next()).removedResources, [order])
  kube.put({ ...namespace('shop', { unrelated: 'label' }) })
  kube.put(pod('shop', 'other', { ip: '10.244.1.6' }))
  t.strictSame(names(await stream.next()), ['Kubernetes//Pod/shop/other'], 'and nothing in between')
})

t.test('after a restart of the controller nothing that is unchanged is sent again', async (t) => {
  await using kube = await start()
  let known: Record<string, string>
  {
    await using before = await controllerFor(kube)
    using stream = adsStream(before)
    stream.send({ node: ztunnelNode })
    known = versions(await stream.next())
  }
  kube.put(pod('shop', 'payment', { ip: '10.244.1.7' }))
  kube.remove(kinds.Service, 'order', 'shop')
  await using after = await controllerFor(kube)
  using stream = adsStream(after)
  stream.send({ node: ztunnelNode, initialResourceVersions: known })
  const first = await stream.next()
  t.strictSame(
    names(first),
    [order, 'Kubernetes//Pod/shop/payment'],
    'order lost its service, payment is new',
  )
  t.strictSame(first.removedResources, [orderService])
})

t.test(
  'an AuthorizationPolicy reaches ztunnel and its status says so; garbage is said to be garbage',
  async (t) => {
    await using kube = await start()
    await using running = await controllerFor(kube)
    using stream = adsStream(running)
    stream.send({ typeUrl: authorizationTypeUrl, node: ztunnelNode })
    t.strictSame(names(await stream.next()), [])
    const policy = (name: string, spec: unknown) =>
      kube.put({
        apiVersion: 'security.istio.io/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name, namespace: 'shop', generation: 1 },
        spec,
      })
    policy('allow', { rules: [{ from: [{ source: { namespaces: ['shop'] } }] }] })
    t.strictSame(names(await stream.next()), ['shop/allow'])
    policy('garbage', { action: 'ALLOW', rules: [{ from: [{ source: { ipBlocks: ['not-an-address'] } }] }] })
    t.strictSame(names(await stream.next()), ['shop/garbage'])
    const condition = (name: string) => {
      const found = kube.read(kinds.AuthorizationPolicy, name, 'shop')?.status as
        | { conditions?: { status: string; reason: string; message: string }[] }
        | undefined
      return found?.conditions?.[0]
    }
    await until(() => condition('allow') !== undefined && condition('garbage') !== undefined, 'conditions')
    t.match(condition('allow'), {
      type: 'ZtunnelAccepted',
      status: 'True',
      reason: 'Accepted',
      observedGeneration: 1,
    })
    t.match(condition('garbage'), { type: 'ZtunnelAccepted', status: 'False', message: /not-an-address/ })
    await new Promise((done) => setTimeout(done, 50))
    t.equal(stream.unread(), 0, 'writing status pushes nothing')
  },
)

t.test('a policy comes before the workload that names it, and goes after it', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  await stream.next()
  stream.send({ typeUrl: authorizationTypeUrl, node: ztunnelNode })
  await stream.next()
  kube.put({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'selects', namespace: 'shop' },
    spec: { selector: { matchLabels: { app: 'order' } } },
  })
  t.strictSame(names(await stream.next()), ['shop/selects'])
  const naming = await stream.next()
  t.strictSame(workloadIn(naming, order)?.authorizationPolicies, ['shop/selects'])
  kube.remove(kinds.AuthorizationPolicy, 'selects', 'shop')
  t.strictSame(workloadIn(await stream.next(), order)?.authorizationPolicies, [])
  t.strictSame((await stream.next()).removedResources, ['shop/selects'])
})

t.test('NACK is counted and not answered with the same again', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  const first = await stream.next(false)
  stream.send({
    responseNonce: first.nonce,
    errorDetail: { code: 0, message: `${order}: cannot read`, details: [] },
  })
  await until(() => stream.unread() === 0, 'taken')
  kube.put(pod('shop', 'new', { ip: '10.244.1.8' }))
  t.strictSame(names(await stream.next()), ['Kubernetes//Pod/shop/new'])
  t.match(await running.metrics(), /pilot_total_xds_rejects\{type="wds"\} 1/)
})

t.test('while a response is on its way, changes gather and arrive as one', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  const first = await stream.next(false)
  // Somebody who acknowledges at once shows when the controller has heard of each.
  using other = adsStream(running)
  other.send({ node: { ...ztunnelNode, id: 'other' } })
  await other.next()
  for (const n of [1, 2, 3]) {
    kube.put(pod('shop', `p${n}`, { ip: `10.244.1.1${n}` }))
    t.strictSame(names(await other.next()), [`Kubernetes//Pod/shop/p${n}`])
  }
  t.equal(stream.unread(), 0)
  stream.send({ responseNonce: first.nonce })
  t.strictSame(
    names(await stream.next()),
    [1, 2, 3].map((n) => `Kubernetes//Pod/shop/p${n}`),
  )
})

t.test('who does not prove who he is gets nothing; garbage ends that stream only', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  using good = adsStream(running)
  for (const [why, token, parts] of [
    ['no token', undefined, {}],
    ['unknown token', 'x', {}],
    ['token bound to no pod', 'istio-system/ztunnel', {}],
    [
      'node of another namespace',
      ztunnelToken,
      { node: { ...ztunnelNode, metadata: { NAMESPACE: 'kube-system' } } },
    ],
    ['unknown type', ztunnelToken, { typeUrl: 'type.googleapis.com/made.up', node: ztunnelNode }],
    [
      '20,000 names',
      ztunnelToken,
      { resourceNamesSubscribe: Array.from({ length: 20_000 }, (_, i) => `n${i}`) },
    ],
  ] as const) {
    using stream = token === undefined ? adsStreamWithout(running) : adsStream(running, token)
    stream.send({
      node: ztunnelNode,
      ...parts,
      resourceNamesSubscribe: [
        ...(('resourceNamesSubscribe' in parts && parts.resourceNamesSubscribe) || []),
      ],
    })
    const error = await stream.error()
    t.ok(error && error.code !== status.OK && error.code !== status.INTERNAL, `${why}: ${error?.details}`)
    t.equal(stream.responses.length, 0)
  }
  good.send({ node: ztunnelNode })
  t.equal((await good.next()).resources.length, 3)
})
const adsStreamWithout = (running: Parameters<typeof adsStream>[0]) => adsStream(running, '')

t.test('a ztunnel gets certificates of identities on its node, and of no others', async (t) => {
  await using kube = await start()
  kube.put(pod('shop', 'far', { node: 'node-2', ip: '10.244.2.5' }))
  await using running = await controllerFor(kube)
  const id = (account: string, domain = 'cluster.local') => `spiffe://${domain}/ns/shop/sa/${account}`
  const signed = await certificate(running, { token: ztunnelToken, identity: id('order'), seconds: 3600 })
  t.equal(signed.error, undefined)
  const [leaf = '', root = ''] = signed.chain
  t.equal(signed.chain.length, 2)
  t.equal(root, running.root, 'the root comes last and is the one of the bundle')
  const x509 = new X509Certificate(leaf)
  t.match(checkPeer(x509.raw), { kind: 'peer', id: id('order') })
  t.ok(x509.checkIssued(new X509Certificate(root)))
  const lifeMs = x509.validToDate.getTime() - Date.now()
  t.ok(lifeMs > 3_500_000 && lifeMs <= 3_600_000, 'lives as long as asked')
  t.ok(x509.validFromDate.getTime() < Date.now() - 60_000, 'back-dated for clocks that differ')

  const own = await certificate(running, { token: ztunnelToken, seconds: 10 ** 9 })
  const ownLeaf = new X509Certificate(own.chain[0] ?? '')
  t.match(checkPeer(ownLeaf.raw), { id: 'spiffe://cluster.local/ns/istio-system/sa/ztunnel' })
  t.ok(ownLeaf.validToDate.getTime() - Date.now() <= 24 * 3600_000, 'never longer than a day')

  const refusals: readonly [string, Parameters<typeof certificate>[1]][] = [
    ['pod on another node', { token: ztunnelToken, identity: id('far') }],
    ['nobody has that account', { token: ztunnelToken, identity: id('nobody') }],
    ['foreign trust domain', { token: ztunnelToken, identity: id('order', 'evil.org') }],
    ['not a SPIFFE id', { token: ztunnelToken, identity: 'spiffe://cluster.local/order' }],
    ['not a node account', { token: 'shop/order/order/uid-of-order', identity: id('order') }],
    ['a pod that is no more', { token: 'istio-system/ztunnel/ztunnel-1/older-uid', identity: id('order') }],
    ['a token bound to no pod', { token: 'istio-system/ztunnel', identity: id('order') }],
    ['no token', { identity: id('order') }],
  ]
  for (const [why, request] of refusals) {
    const { error, chain } = await certificate(running, request)
    t.equal(error?.code, status.UNAUTHENTICATED, why)
    t.notMatch(error?.details, /node|account|trust/, 'the caller is not told why')
    t.equal(chain.length, 0)
  }
  const bad = await certificate(running, { token: ztunnelToken, csr: 'garbage' })
  t.equal(bad.error?.code, status.INVALID_ARGUMENT)
  kube.remove(kinds.Pod, 'order', 'shop')
  let issued = 2
  const ask = () => certificate(running, { token: ztunnelToken, identity: id('order') })
  let late = await ask()
  // Until the controller has heard of it.
  for (; late.error === undefined && issued < 2_000; issued++) late = await ask()
  t.equal(late.error?.code, status.UNAUTHENTICATED, 'not after the pod is gone')
  const metrics = await running.metrics()
  t.match(metrics, new RegExp(`citadel_server_success_cert_issuance_count ${issued}$`, 'm'))
  t.match(metrics, /lateen_impersonation_refused_total\{reason="identity-not-on-node"\} 3/)
})

t.test('the root is in every namespace, is put back when changed, and survives a restart', async (t) => {
  await using kube = await start()
  const bundle = (ns: string): ConfigMap | undefined => kube.read(kinds.ConfigMap, 'istio-ca-root-cert', ns)
  let root: string
  {
    await using running = await controllerFor(kube)
    root = running.root
    await until(() => bundle('shop') !== undefined, 'bundle in shop')
    t.same(bundle('shop')?.metadata.labels, { 'istio.io/config': 'true' })
    kube.put({
      ...bundle('shop'),
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { ...bundle('shop')?.metadata },
      data: { 'root-cert.pem': 'evil' },
    })
    await until(() => bundle('shop')?.data?.['root-cert.pem'] === root, 'repaired')
    kube.remove(kinds.ConfigMap, 'istio-ca-root-cert', 'shop')
    await until(() => bundle('shop') !== undefined, 'made again')
    kube.put(namespace('late'))
    kube.put({ ...namespace('ending'), status: { phase: 'Terminating' } })
    await until(() => bundle('late') !== undefined, 'bundle in a new namespace')
    t.equal(bundle('ending'), undefined)
    const secret = kube.read(kinds.Secret, 'istio-ca-secret', 'istio-system')
    t.same(Object.keys(secret?.data ?? {}).sort(), [
      'ca-cert.pem',
      'ca-key.pem',
      'cert-chain.pem',
      'key.pem',
      'root-cert.pem',
    ])
  }
  await using again = await controllerFor(kube)
  t.equal(again.root, root)
})

t.test(
  'Gateways and Services that ask for a waypoint are told that there is none that is ready',
  async (t) => {
    await using kube = await start()
    kube.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'waypoint', namespace: 'shop' },
      spec: {
        gatewayClassName: 'istio-waypoint',
        listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
      },
    })
    const foreign = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'nginx', namespace: 'shop' },
      spec: { gatewayClassName: 'nginx' },
    }
    kube.put(foreign)
    const asking = service('shop', 'asking')
    kube.put({ ...asking, metadata: { ...asking.metadata, labels: { 'istio.io/use-waypoint': 'waypoint' } } })
    await using _running = await controllerFor(kube)
    const conditions = (kind: 'Gateway' | 'Service', name: string) => {
      const { status: s } = (kube.read(kinds[kind], name, 'shop') ?? {}) as {
        status?: { conditions?: { type: string }[] }
      }
      return s?.conditions ?? []
    }
    await until(
      () => conditions('Gateway', 'waypoint').length === 2 && conditions('Service', 'asking').length === 1,
      'conditions',
    )
    t.match(conditions('Gateway', 'waypoint'), [
      { type: 'Accepted', status: 'True' },
      { type: 'Programmed', status: 'False', reason: 'AddressNotAssigned' },
    ])
    t.match(conditions('Service', 'asking'), [
      { type: 'istio.io/WaypointBound', status: 'False', reason: 'WaypointIsNotReady' },
    ])
    t.equal(conditions('Gateway', 'nginx').length, 0)
    kube.put({
      ...(kube.read(kinds.Service, 'asking', 'shop') ?? asking),
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'asking', namespace: 'shop', labels: {} },
    })
    await until(() => conditions('Service', 'asking').length === 0, 'condition taken away with the label')
  },
)

t.test('ready only when it is; the API server’s absence later ends nothing', async (t) => {
  await using kube = await start()
  await using running = await controllerFor(kube)
  t.match(await running.get(running.app.ports.readiness, '/ready'), { status: 200 })
  for (const port of [running.app.ports.readiness, running.app.ports.monitoring])
    t.match(await running.get(port, '/healthz/ready'), { status: 200 })
  t.match(await running.get(running.app.ports.monitoring, '/version'), { status: 200 })
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  await stream.next()
  const down = kube.hook(() => ({ status: 503, body: {} }))
  kube.breakWatches()
  const remembered = await certificate(running, { token: ztunnelToken })
  t.equal(remembered.error, undefined, 'a token that was just reviewed still counts')
  down[Symbol.dispose]()
  kube.put(pod('shop', 'later', { ip: '10.244.1.20' }))
  t.strictSame(names(await stream.next()), ['Kubernetes//Pod/shop/later'])
})
