import t from 'tap'
import { isRecord } from '#base'
import { type Custom, type KubeObject, kinds } from '#kube'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { waypoint } from './gateways/gateway-kit.ts'
import { controllerFor, namespace, service } from './mesh-kit.ts'

t.setTimeout(120_000) // a loaded machine

const parentsOf = (kube: FakeKube): readonly unknown[] => {
  const status: unknown = kube.read<Custom>(kinds.HTTPRoute, 'route', 'shop')?.status
  const parents: unknown = isRecord(status) ? status['parents'] : undefined
  return Array.isArray(parents) ? parents : []
}

t.test(
  'a route with a Service and a Gateway for parents is told about both, by writers that leave each other alone',
  async (t) => {
    const listeners = [{ name: 'http', port: 80, protocol: 'HTTP' }]
    const toService = { group: '', kind: 'Service', name: 'order' }
    const toGateway = { name: 'front' }
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      service('shop', 'order'),
      waypoint({ name: 'front', spec: { gatewayClassName: 'istio', listeners } }),
      {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'HTTPRoute',
        metadata: { name: 'route', namespace: 'shop', generation: 1 },
        spec: { parentRefs: [toService, toGateway], rules: [{ backendRefs: [{ name: 'order', port: 80 }] }] },
      },
    )
    await using _running = await controllerFor(kube)
    await until(() => parentsOf(kube).length === 2, 'both')
    const byRef = (ref: unknown) =>
      parentsOf(kube).find(
        (entry) => isRecord(entry) && JSON.stringify(entry['parentRef']) === JSON.stringify(ref),
      )
    for (const ref of [toService, toGateway])
      t.match(byRef(ref), {
        controllerName: 'istio.io/gateway-controller',
        conditions: [{ type: 'Accepted', status: 'True' }],
      })
    // Other work, begun later, is done: a quarrel of the two would have gone on meanwhile.
    const writes = () => kube.requests.filter((line) => /^PATCH .*\/httproutes\//.test(line)).length
    let settled = false
    for (let round = 0; round < 10 && !settled; round++) {
      const before = writes()
      kube.put(waypoint({ name: `later-${round}` }))
      const made = () => kube.read<KubeObject>(kinds.Service, `later-${round}`, 'shop') !== undefined
      await until(made, 'something else')
      settled = writes() === before
    }
    t.ok(settled, 'nothing is written any more')
    t.equal(parentsOf(kube).length, 2)
  },
)
