import t from 'tap'
import { type KubeObject, kinds } from '#kube'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { waypoint } from './gateways/gateway-kit.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  names,
  namespace,
  pod,
  ztunnelNode,
  ztunnelPod,
} from './mesh-kit.ts'

const order = 'Kubernetes//Pod/shop/order'
const leaderOf = (kube: FakeKube) =>
  kube.read(kinds.Lease, 'istio-gateway-deployment-default', 'istio-system')?.spec?.holderIdentity
const isDeployed = (kube: FakeKube, name: string) =>
  kube.read<KubeObject>(kinds.Deployment, name, 'shop') !== undefined

t.test(
  'two replicas serve, one writes; when that one goes the other writes on and its clients notice nothing',
  async (t) => {
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      ztunnelPod,
      pod('shop', 'order', { ip: '10.244.1.5' }),
      waypoint({ name: 'first' }),
    )
    acceptTokens(kube)
    await using first = await controllerFor(kube, { POD_NAME: 'istiod-1' })
    await until(() => leaderOf(kube) === 'istiod-1' && isDeployed(kube, 'first'), 'the first leads')
    await using second = await controllerFor(kube, { POD_NAME: 'istiod-2' })
    t.equal(second.root, first.root, 'one root')

    using stream = adsStream(second)
    stream.send({ node: ztunnelNode })
    t.ok(names(await stream.next()).includes(order), 'who does not lead serves')
    t.equal(leaderOf(kube), 'istiod-1')

    await first.app[Symbol.asyncDispose]()
    kube.put(waypoint({ name: 'second' }))
    await until(() => leaderOf(kube) === 'istiod-2' && isDeployed(kube, 'second'), 'the second leads')
    t.ok(isDeployed(kube, 'first'), 'what was deployed stays')
    kube.remove(kinds.Pod, 'order', 'shop')
    t.strictSame((await stream.next()).removedResources, [order], 'the stream went on')
  },
)
