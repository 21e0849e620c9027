import t from 'tap'
import { isRecord } from '#base'
import { type Custom, type KubeObject, kinds } from '#kube'
import { conditionsOf } from '../../controller/reconcile/index.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { waypoint } from './gateways/gateway-kit.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  names,
  namespace,
  ztunnelNode,
  ztunnelPod,
} from './mesh-kit.ts'

t.setTimeout(120_000) // a loaded machine

const of = (revision: string | undefined) => (revision === undefined ? {} : { 'istio.io/rev': revision })
const entry = (name: string, revision?: string) => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'shop', labels: of(revision) },
  spec: { hosts: [`${name}.example.com`], ports: [{ number: 80, name: 'http' }], resolution: 'DNS' },
})
const policy = (name: string, revision?: string) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: 'shop', labels: of(revision) },
  spec: { action: 'DENY', rules: [{ to: [{ operation: { ports: ['1'] } }] }] },
})
const tag = (name: string, revision: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: `istiod-revision-tag-${name}`,
    namespace: 'istio-system',
    labels: { 'istio.io/tag': name, 'istio.io/rev': revision },
  },
})

const addressesOf = (kube: FakeKube, name: string) => {
  const status: unknown = kube.read<Custom>(kinds.ServiceEntry, name, 'shop')?.status
  const addresses: unknown = isRecord(status) ? status['addresses'] : undefined
  return Array.isArray(addresses) ? addresses.map((one: unknown) => (isRecord(one) ? one['value'] : '')) : []
}
const isTold = (kube: FakeKube, name: string) =>
  conditionsOf(kube.read<Custom>(kinds.AuthorizationPolicy, name, 'shop')?.status).length > 0
const environmentOf = (kube: FakeKube, name: string) =>
  JSON.stringify(kube.read<KubeObject>(kinds.Deployment, name, 'shop') ?? null)
const holder = (kube: FakeKube, name: string) =>
  kube.read(kinds.Lease, name, 'istio-system')?.spec?.holderIdentity

t.test(
  'two revisions in one cluster: each has its own objects, what names none is written by one of them',
  async (t) => {
    const revisions = ['default', 'canary']
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      ztunnelPod,
      waypoint({ name: 'plain' }),
      waypoint({ name: 'of-canary', labels: of('canary') }),
      waypoint({ name: 'of-tag', labels: of('next') }),
      tag('next', 'canary'),
      entry('everybodys'),
      policy('everybodys'),
      ...revisions.flatMap((revision) => [entry(revision, revision), policy(revision, revision)]),
    )
    acceptTokens(kube)
    await using ours = await controllerFor(kube, { POD_NAME: 'istiod-1', REVISION: 'default' })
    await until(() => environmentOf(kube, 'plain') !== 'null' && isTold(kube, 'default'), 'one revision')
    await until(() => addressesOf(kube, 'everybodys').length === 2, 'addresses')
    t.equal(environmentOf(kube, 'of-canary'), 'null')
    t.equal(isTold(kube, 'canary'), false, 'what is another’s is not written to')
    t.strictSame(addressesOf(kube, 'canary'), [])

    await using canary = await controllerFor(kube, { POD_NAME: 'istiod-canary-1', REVISION: 'canary' })
    for (const name of ['of-canary', 'of-tag'])
      await until(() => environmentOf(kube, name).includes('istiod-canary.istio-system.svc:15012'), name)
    await until(() => isTold(kube, 'canary') && addressesOf(kube, 'canary').length === 2, 'its own')
    t.match(environmentOf(kube, 'plain'), /istiod\.istio-system\.svc:15012/, 'and nothing of the other’s')
    t.equal(holder(kube, 'istio-gateway-deployment-canary'), 'istiod-canary-1')
    for (const job of ['istio-status-leader', 'istio-ip-autoallocate', 'istio-gateway-deployment-default'])
      t.equal(holder(kube, job), 'istiod-1', `${job}: one of them`)
    const all = ['everybodys', 'default', 'canary'].flatMap((name) => addressesOf(kube, name))
    t.equal(new Set(all).size, 6, 'no address twice')

    for (const [running, revision, other] of [
      [ours, 'default', 'canary'],
      [canary, 'canary', 'default'],
    ] as const) {
      using stream = adsStream(running)
      stream.send({ node: ztunnelNode })
      const sent = names(await stream.next())
      t.ok(sent.includes(`shop/${revision}.example.com`) && sent.includes('shop/everybodys.example.com'))
      t.notOk(
        sent.includes(`shop/${other}.example.com`),
        'an object that names another revision is not there',
      )
    }

    // Moving the tag moves what names it: the other revision renders it again.
    kube.put(tag('next', 'default'))
    await until(() => environmentOf(kube, 'of-tag').includes('istiod.istio-system.svc:15012'), 'handed over')
    t.match(environmentOf(kube, 'of-canary'), /istiod-canary\./)
  },
)
