import t from 'tap'
import { type Client, eventually, type Parsed, startServer } from '../../sandbox/api/harness.ts'
import { applyAs, cluster, conditionOf, find, gateways, ok } from './cluster.ts'
import { waypoint } from './gateway-kit.ts'
import { startWriters } from './start-writers.ts'

t.setTimeout(120_000) // a loaded machine

const maps = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps`
const paths = {
  deployment: '/apis/apps/v1/namespaces/shop/deployments/waypoint',
  service: '/api/v1/namespaces/shop/services/waypoint',
  autoscaler: '/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/waypoint',
  budget: '/apis/policy/v1/namespaces/shop/poddisruptionbudgets/waypoint',
}
const setMap = (c: Client, data: Record<string, string>, name = 'mine', namespace = 'shop', labels = {}) =>
  applyAs(c, 'test', `${maps(namespace)}/${name}`, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels },
    data,
  })
const setGateway = (c: Client, change: Parsed = {}) => {
  const { uid: _, generation: __, ...metadata } = waypoint(change).metadata
  return applyAs(c, 'test', `${gateways}/waypoint`, { ...waypoint(change), metadata })
}
const withMap = {
  spec: { infrastructure: { parametersRef: { group: '', kind: 'ConfigMap', name: 'mine' } } },
}
const replicasOf = async (c: Client) => (await find(c, paths.deployment))?.spec.replicas
const until = (check: () => Promise<boolean>) => eventually(async () => ((await check()) ? true : undefined))
const accepted = async (c: Client) => conditionOf(await find(c, `${gateways}/waypoint`), 'Accepted')
const refused = async (c: Client, message: RegExp) =>
  until(async () => {
    const condition = await accepted(c)
    return condition?.reason === 'InvalidParameters' && message.test(condition.message)
  })

t.test(
  'a ConfigMap changes what is deployed, at once; a bad one says so and what was deployed stays',
  async (t) => {
    await using c = await startServer()
    using client = await cluster(c)
    await using _writers = await startWriters(client)
    await setGateway(c, withMap)
    await refused(c, /ConfigMap shop\/mine does not exist/)
    t.equal(await find(c, paths.deployment), undefined, 'nothing is deployed by guessing')

    await setMap(c, { deployment: 'spec: {replicas: 2}', service: 'metadata: {annotations: {lb: internal}}' })
    await until(async () => (await replicasOf(c)) === 2)
    await until(async () => (await accepted(c)).status === 'True')
    t.equal((await find(c, paths.service)).metadata.annotations.lb, 'internal')
    await setMap(c, { deployment: 'spec: {replicas: 3}' })
    await until(async () => (await replicasOf(c)) === 3)
    await until(async () => (await find(c, paths.service)).metadata.annotations.lb === undefined)

    await setMap(c, { deployment: 'spec: {replicas: 4}', sevrice: '{}' })
    await refused(c, /key sevrice is unknown/)
    // The API server would take the Deployment, and not the Service: all of it is taken or none.
    await setMap(c, { deployment: 'spec: {replicas: 4}', service: 'spec: {type: Best}' })
    await refused(c, /ConfigMap shop\/mine: the API server refuses the Service: .*Best/)
    await setMap(c, { deployment: 'spec: {replicas: -1}' })
    await refused(c, /refuses the Deployment/)
    await ok(c, 'DELETE', `${maps('shop')}/mine`)
    await refused(c, /does not exist/)
    const { spec, metadata } = await find(c, paths.deployment)
    t.equal(spec.replicas, 3, 'the last good one stays')
    t.equal(metadata.generation, 2, 'and was never touched meanwhile')
    await setMap(c, { deployment: 'spec: {replicas: 5}' })
    await until(async () => (await replicasOf(c)) === 5)
    await until(async () => (await accepted(c)).status === 'True')
  },
)

t.test('an autoscaler and a budget come and go with the overlay, and nobody else’s is taken', async (t) => {
  await using c = await startServer()
  using client = await cluster(c)
  await using _writers = await startWriters(client)
  const data = {
    horizontalPodAutoscaler: 'spec: {minReplicas: 2, maxReplicas: 5}',
    podDisruptionBudget: 'spec: {minAvailable: 1}',
  }
  await setMap(c, data)
  await setGateway(c, withMap)
  await until(async () => (await find(c, paths.autoscaler)) && (await find(c, paths.budget)))
  t.match((await find(c, paths.autoscaler)).spec, { minReplicas: 2, maxReplicas: 5 })
  t.match((await find(c, paths.budget)).metadata.ownerReferences, [{ kind: 'Gateway', name: 'waypoint' }])
  // What the autoscaler sets is its own: the Deployment is not scaled back.
  await ok(c, 'PATCH', paths.deployment, { spec: { replicas: 4 } }, 'application/merge-patch+json')
  await setMap(c, { podDisruptionBudget: data.podDisruptionBudget })
  await until(async () => (await find(c, paths.autoscaler)) === undefined)
  t.ok(await find(c, paths.budget))
  t.equal(await replicasOf(c), 4)
  await ok(c, 'POST', '/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers', {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'waypoint' },
    spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'waypoint' }, maxReplicas: 7 },
  })
  await setMap(c, {})
  await until(async () => (await find(c, paths.budget)) === undefined)
  t.equal((await find(c, paths.autoscaler)).spec.maxReplicas, 7, 'a user’s own stays')
})

t.test(
  'defaults of a class, words of the infrastructure, and a new release are rendered again',
  async (t) => {
    await using c = await startServer()
    using client = await cluster(c)
    const label = { 'gateway.istio.io/defaults-for-class': 'istio-waypoint' }
    const image = async () => (await find(c, paths.deployment))?.spec.template.spec.containers[0].image
    {
      await using _writers = await startWriters(client)
      await setGateway(c)
      await until(async () => (await image()) === 'lateen:dev')
      await setMap(c, { deployment: 'spec: {replicas: 2}' }, 'defaults', 'istio-system', label)
      await until(async () => (await replicasOf(c)) === 2)
      await setGateway(c, { spec: { infrastructure: { labels: { team: 'a' }, annotations: { note: 'b' } } } })
      await until(async () => (await find(c, paths.service)).metadata.labels.team === 'a')
      const { metadata, spec } = await find(c, paths.deployment)
      t.match([metadata.annotations, spec.template.metadata.labels], [{ note: 'b' }, { team: 'a' }])
    }
    await using _next = await startWriters(client, { image: 'lateen:next' })
    await until(async () => (await image()) === 'lateen:next')
    t.equal(await replicasOf(c), 2, 'with the same defaults')
    await ok(c, 'DELETE', `${maps('istio-system')}/defaults`)
    await until(async () => (await replicasOf(c)) === 1)
  },
)
