import t from 'tap'
import { isRecord } from '#base'
import { type Custom, type KubeObject, kinds } from '#kube'
import { conditionsOf } from '../../../controller/reconcile/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'
import { defaultClassOptions } from '../../../controller/gateways/index.ts'
import { waypoint } from './gateway-kit.ts'
import { startWriters } from './start-writers.ts'

t.setTimeout(120_000) // a loaded machine

const namespace = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
})
const slice = (name: string, port: string, ready: boolean) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${name}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
  addressType: 'IPv4',
  ports: [{ name: port, port: 15_008 }],
  endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready } }],
})
const children = [kinds.ServiceAccount, kinds.Deployment, kinds.Service] as const

const start = (kube: FakeKube) => startWriters(kube.client())

const have = (kube: FakeKube, name = 'waypoint') =>
  children.filter((kind) => kube.read<KubeObject>(kind, name, 'shop') !== undefined).map(({ kind }) => kind)
const programmed = (kube: FakeKube, name = 'waypoint') =>
  conditionsOf(kube.read<Custom>(kinds.Gateway, name, 'shop')?.status).find(
    ({ type }) => type === 'Programmed',
  )?.status
const addresses = (kube: FakeKube) => {
  const status: unknown = kube.read<Custom>(kinds.Gateway, 'waypoint', 'shop')?.status
  return isRecord(status) ? status['addresses'] : undefined
}

t.test('a Gateway is deployed, is programmed when somebody is ready, and keeps its addresses', async (t) => {
  await using kube = await FakeKube.start(namespace('shop'), waypoint())
  await using _running = await start(kube)
  await until(() => have(kube).length === 3 && programmed(kube) === 'False', 'children')
  t.strictSame(addresses(kube), [], 'nobody is ready: nobody is bound to it')
  kube.put(slice('waypoint', 'status-port', true))
  kube.put(slice('waypoint', 'mesh', true))
  await until(() => programmed(kube) === 'True', 'programmed')
  const published = addresses(kube)
  t.match(published, [{ type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' }])
  kube.put(slice('waypoint', 'mesh', false))
  await until(() => programmed(kube) === 'False', 'not programmed any more')
  t.strictSame(addresses(kube), published, 'still published')
})

t.test('a child that goes or is changed is put back; writing ends when all is as wanted', async (t) => {
  await using kube = await FakeKube.start(namespace('shop'), waypoint())
  await using _running = await start(kube)
  await until(() => have(kube).length === 3 && programmed(kube) === 'False', 'children')
  kube.remove(kinds.Deployment, 'waypoint', 'shop')
  await until(() => have(kube).length === 3, 'made again')
  const service = kube.read(kinds.Service, 'waypoint', 'shop')
  kube.put({
    ...service,
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...service?.metadata },
    spec: { ...service?.spec, selector: { app: 'x' } },
  })
  const selector = () => kube.read(kinds.Service, 'waypoint', 'shop')?.spec?.selector ?? {}
  await until(() => 'gateway.networking.k8s.io/gateway-name' in selector(), 'repaired')
  const patches = () =>
    kube.requests.filter((line) => line.startsWith('PATCH') && !line.includes('/status?')).length
  // What was under way while the Service was repaired may still be written.
  let written = 1
  for (let round = 0; round < 10 && written > 0; round++) {
    const before = patches()
    const ready = round % 2 === 0
    kube.put(slice('waypoint', 'mesh', ready))
    await until(() => programmed(kube) === (ready ? 'True' : 'False'), 'the status')
    written = patches() - before
  }
  t.equal(written, 0, 'the status alone was written')
})

t.test('somebody else’s object of the name is not touched, and the others are made', async (t) => {
  const mine = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'waypoint', namespace: 'shop' },
    spec: { ports: [{ port: 1 }] },
  }
  await using kube = await FakeKube.start(namespace('shop'), waypoint(), mine)
  await using _running = await start(kube)
  await until(() => have(kube).length === 3 && programmed(kube) === 'False', 'the others')
  t.strictSame(kube.read(kinds.Service, 'waypoint', 'shop')?.spec, mine.spec)
})

t.test('what is not ours to deploy is left alone', async (t) => {
  const none = [
    waypoint({ name: 'foreign', spec: { gatewayClassName: 'nginx' } }),
    waypoint({ name: 'eastwest', spec: { gatewayClassName: 'istio-east-west' } }),
    waypoint({ name: 'canary', labels: { 'istio.io/rev': 'canary' } }),
    waypoint({ name: 'later', annotations: { 'gateway.istio.io/controller-version': '6' } }),
  ]
  const told = [
    waypoint({ name: 'ingress', spec: { gatewayClassName: 'istio' } }),
    waypoint({ name: 'manual', spec: { addresses: [{ type: 'Hostname', value: 'x' }] } }),
    waypoint({ name: 'parameters', spec: { infrastructure: { parametersRef: { name: 'p' } } } }),
  ]
  await using kube = await FakeKube.start(namespace('shop'), ...none, ...told, waypoint())
  await using _running = await startWriters(kube.client(), { classes: defaultClassOptions })
  await until(() => have(kube).length === 3, 'ours')
  for (const { metadata } of told)
    await until(() => programmed(kube, metadata.name) === 'False', `${metadata.name} is told`)
  for (const { metadata } of [...none, ...told]) t.strictSame(have(kube, metadata.name), [], metadata.name)
  for (const { metadata } of none) t.equal(programmed(kube, metadata.name), undefined, metadata.name)
})

t.test('the revision that an object names, itself or by its namespace, deploys it', async (t) => {
  const tag = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'istiod-revision-tag-prod',
      namespace: 'istio-system',
      labels: { 'istio.io/tag': 'prod', 'istio.io/rev': 'default' },
    },
  }
  const tagged = waypoint({ name: 'tagged', labels: { 'istio.io/rev': 'prod' } })
  await using kube = await FakeKube.start(namespace('shop', { 'istio.io/rev': 'canary' }), waypoint(), tagged)
  await using _running = await start(kube)
  kube.put(tag)
  await until(() => have(kube, 'tagged').length === 3, 'the tag is ours')
  t.strictSame(have(kube), [], 'the namespace is another revision’s')
  kube.put(namespace('shop'))
  await until(() => have(kube).length === 3, 'handed over')
})

t.test('classes: made when missing, not rewritten, made again', async (t) => {
  const custom = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: 'istio-remote' },
    spec: { controllerName: 'example.com/x' },
  }
  await using kube = await FakeKube.start(custom)
  await using _running = await start(kube)
  const found = (name: string) => kube.read<Custom>(kinds.GatewayClass, name)
  await until(() => found('istio-waypoint') !== undefined, 'made')
  kube.remove(kinds.GatewayClass, 'istio-waypoint')
  await until(() => found('istio-waypoint') !== undefined, 'made again')
  t.match(found('istio-remote'), custom)
  await until(() => found('istio') !== undefined, 'made, though nothing serves it')
})

t.test(
  'a tag of a mutating webhook counts as one of a Service; the default validator names the owner',
  async (t) => {
    const webhook = (kind: string, name: string, labels: Record<string, string>) => ({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind,
      metadata: { name, labels },
      webhooks: [],
    })
    const tag = { 'istio.io/tag': 'prod', 'istio.io/rev': 'default' }
    const validator = (rev: string) =>
      webhook('ValidatingWebhookConfiguration', 'istiod-default-validator', { 'istio.io/rev': rev })
    await using kube = await FakeKube.start(
      namespace('shop'),
      validator('canary'),
      webhook('MutatingWebhookConfiguration', 'istio-revision-tag-prod', tag),
      waypoint(),
      waypoint({ name: 'tagged', labels: { 'istio.io/rev': 'prod' } }),
    )
    await using _running = await start(kube)
    await until(() => have(kube, 'tagged').length === 3, 'the tag is ours')
    t.strictSame(have(kube), [], 'canary is the default')
    kube.put(validator('default'))
    await until(() => have(kube).length === 3, 'now we are')
  },
)

t.test(
  'routes that are attached are counted, and counted again when they or their namespace change',
  async (t) => {
    const route = (name: string, own: string) => ({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name, namespace: own },
      spec: { parentRefs: [{ name: 'ingress', namespace: 'shop' }] },
    })
    const namespaces = { from: 'Selector', selector: { matchLabels: { team: 'a' } } }
    const listeners = [{ name: 'http', port: 80, protocol: 'HTTP', allowedRoutes: { namespaces } }]
    const ingress = waypoint({ name: 'ingress', spec: { gatewayClassName: 'istio', listeners } })
    await using kube = await FakeKube.start(namespace('shop', { team: 'a' }), namespace('other'), ingress)
    await using _running = await start(kube)
    const attached = () => {
      const status: unknown = kube.read<Custom>(kinds.Gateway, 'ingress', 'shop')?.status
      const [listener]: readonly unknown[] =
        isRecord(status) && Array.isArray(status['listeners']) ? status['listeners'] : []
      return isRecord(listener) ? listener['attachedRoutes'] : undefined
    }
    await until(() => attached() === 0, 'none')
    const told = (name: string, own: string) => {
      const status: unknown = kube.read<Custom>(kinds.HTTPRoute, name, own)?.status
      const parents: unknown = isRecord(status) ? status['parents'] : undefined
      return conditionsOf(Array.isArray(parents) ? parents[0] : undefined)[0]?.reason
    }
    kube.put(route('one', 'shop'))
    await until(() => attached() === 1 && told('one', 'shop') === 'Accepted', 'one')
    kube.put(route('two', 'other'))
    await until(() => told('two', 'other') === 'NotAllowedByListeners', 'not let in')
    kube.put(namespace('other', { team: 'a' }))
    await until(() => attached() === 2 && told('two', 'other') === 'Accepted', 'two')
    kube.put(namespace('other'))
    await until(() => attached() === 1, 'the namespace is not selected any more')
    kube.remove(kinds.HTTPRoute, 'one', 'shop')
    await until(() => attached() === 0, 'gone')
    kube.remove(kinds.Gateway, 'ingress', 'shop')
    await until(() => told('two', 'other') === undefined, 'nobody speaks for a Gateway that is gone')
    t.equal(kube.read<KubeObject>(kinds.Deployment, 'ingress', 'shop'), undefined)
  },
)
