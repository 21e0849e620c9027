import t from 'tap'
import { type Custom, keyOf, kinds } from '#kube'
import { silent } from '#telemetry'
import { startControllers } from '../../../sandbox/controllers/app.ts'
import { deployments, pods, replicaSets } from '../../../sandbox/controllers/objects.ts'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { ready } from './world.ts'

const template = (image: string) => ({
  metadata: { labels: { app: 'order' } },
  spec: { containers: [{ name: 'a', image, ports: [{ name: 'http', containerPort: 8080 }] }] },
})
const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'order', namespace: 'shop', generation: 1 },
  spec: { replicas: 3, selector: { matchLabels: { app: 'order' } }, template: template('v1') },
}
const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'order', namespace: 'shop' },
  spec: {
    clusterIP: '10.96.0.50',
    ipFamilies: ['IPv4'],
    selector: { app: 'order' },
    ports: [{ name: 'http', port: 80, targetPort: 'http' }],
  },
}
const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
const node = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, creationTimestamp: new Date().toISOString() },
  status: { conditions: [ready()] },
})

/** Resolves when `is` holds; the fake answers within milliseconds, so this long means never. */
async function until(what: string, is: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!is()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A cluster whose kubelet starts every placed pod at once, each with its own address. */
async function cluster(t: { teardown(f: () => unknown): void }) {
  const kube = await FakeKube.start(
    namespace('shop'),
    namespace('default'),
    namespace('kube-system'),
    node('n1'),
    node('n2'),
    deployment,
    service,
  )
  const stop = new AbortController()
  let count = 0
  kube.hook(({ method, path, body }) => {
    const name = /^\/api\/v1\/namespaces\/shop\/pods\/([^/]+)\/binding$/.exec(path)?.[1]
    if (method !== 'POST' || name === undefined) return undefined
    const pod = kube.read(pods, name, 'shop')
    if (!pod) return { status: 404, body: {} }
    const nodeName = JSON.parse(JSON.stringify(body)).target.name
    const status = {
      phase: 'Running' as const,
      conditions: [ready()],
      podIPs: [{ ip: `10.244.1.${++count}` }],
    }
    kube.put({ ...pod, apiVersion: 'v1', kind: 'Pod', spec: { ...pod.spec, nodeName }, status })
    return { status: 201, body: {} }
  })
  const controllers = await startControllers({
    client: kube.client(),
    config: sandboxConfig('t'),
    rootPem: 'root',
    signal: stop.signal,
    log: silent,
  })
  t.teardown(async () => {
    stop.abort()
    await controllers[Symbol.asyncDispose]()
    await kube[Symbol.asyncDispose]()
  })
  return kube
}
const images = (kube: FakeKube) => kube.all(pods).map(({ spec }) => spec?.containers?.[0]?.image)
const addresses = (kube: FakeKube) =>
  kube
    .all(kinds.EndpointSlice)
    .filter(({ metadata }) => metadata.namespace === 'shop')
    .flatMap(({ endpoints }) => (endpoints ?? []).flatMap((endpoint) => endpoint.addresses ?? []))
const isAvailable = (kube: FakeKube, replicas: number) =>
  kube.read(deployments, 'order', 'shop')?.status?.availableReplicas === replicas

t.test('a Deployment runs, spread over the nodes, and its Service finds it', async (t) => {
  const kube = await cluster(t)
  await until('three available', () => isAvailable(kube, 3) && addresses(kube).length === 3)
  t.equal(kube.all(pods).length, 3, 'no pod too many')
  t.same(new Set(kube.all(pods).map(({ spec }) => spec?.nodeName)), new Set(['n1', 'n2']))
  t.equal(kube.all(replicaSets).length, 1)
  const creations = kube.requests.filter((line) => line.startsWith('POST /api/v1/namespaces/shop/pods?'))
  t.equal(creations.length, 3, 'and none was ever made twice')
  t.match(kube.all(kinds.EndpointSlice).find(({ metadata }) => metadata.namespace === 'shop')?.ports, [
    { port: 8080 },
  ])

  kube.put({
    ...deployment,
    metadata: { ...deployment.metadata, generation: 2 },
    spec: { ...deployment.spec, template: template('v2') },
  })
  await until(
    'the new version alone',
    () => images(kube).every((image) => image === 'v2') && isAvailable(kube, 3),
  )
  await until('its addresses alone', () => addresses(kube).length === 3)
  t.equal(kube.all(replicaSets).length, 2)
  const reasons = new Set(kube.all(kinds.Event).map((event) => ('reason' in event ? event.reason : '')))
  for (const reason of ['ScalingReplicaSet', 'SuccessfulCreate', 'SuccessfulDelete', 'Scheduled'])
    t.ok(reasons.has(reason), reason)
})

t.test(
  'namespaces are furnished, the cluster has its own Services, and what nobody runs is said',
  async (t) => {
    const kube = await cluster(t)
    const set: Custom & Record<string, unknown> = {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db', namespace: 'shop' },
    }
    kube.put(set)
    await until('all', () => {
      const names = [
        ...kube.all(kinds.ServiceAccount),
        ...kube.all(kinds.ConfigMap),
        ...kube.all(kinds.Service),
      ].map(keyOf)
      return ['shop/default', 'shop/kube-root-ca.crt', 'default/kubernetes', 'kube-system/kube-dns'].every(
        (key) => names.includes(key),
      )
    })
    t.match(kube.read(kinds.ConfigMap, 'kube-root-ca.crt', 'shop'), { data: { 'ca.crt': 'root' } })
    await until(
      'the API endpoint',
      () => kube.read(kinds.EndpointSlice, 'kubernetes', 'default') !== undefined,
    )
    await until('the warning', () =>
      kube.all(kinds.Event).some((event) => 'reason' in event && event.reason === 'NotRun'),
    )
    kube.remove(kinds.ServiceAccount, 'default', 'shop')
    await until('it is back', () => kube.read(kinds.ServiceAccount, 'default', 'shop') !== undefined)
  },
)

t.test('broken watches and refused writes hold nothing up for good', async (t) => {
  const kube = await cluster(t)
  await until('three available', () => isAvailable(kube, 3))
  let refusals = 3
  using _ = kube.hook(({ method, path }) =>
    method === 'POST' && path.endsWith('/pods') && refusals-- > 0
      ? { status: 500, body: { kind: 'Status', message: 'no disk' } }
      : undefined,
  )
  kube.breakWatches()
  kube.put({
    ...deployment,
    metadata: { ...deployment.metadata, generation: 2 },
    spec: { ...deployment.spec, replicas: 5 },
  })
  await until('five', () => isAvailable(kube, 5))
  t.equal(kube.all(pods).length, 5)
  t.ok(kube.all(kinds.Event).some((event) => 'reason' in event && event.reason === 'FailedCreate'))
})
