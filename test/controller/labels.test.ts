import t from 'tap'
import { kinds, type KubeObject } from '#kube'
import { toldLabels } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import {
  acceptTokens,
  adsStream,
  controllerFor,
  names,
  namespace,
  pod,
  workloadIn,
  ztunnelNode,
  ztunnelPod,
} from './mesh-kit.ts'

const rule = (labels: Readonly<Record<string, string>>): KubeObject =>
  ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { namespace: 'shop', name: 'order' },
    spec: { host: 'order', subsets: [{ name: 'one', labels }] },
  }) as KubeObject
const order = 'Kubernetes//Pod/shop/order'

t.test(
  'data planes are told of a label when a DestinationRule begins to ask for it, and as long as it does',
  async (t) => {
    const labelled = pod('shop', 'order', {
      ip: '10.244.1.5',
      labels: { app: 'order', track: 'canary', tier: 'x' },
    })
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      ztunnelPod,
      labelled,
    )
    acceptTokens(kube)
    await using running = await controllerFor(kube)
    using stream = adsStream(running)
    stream.send({ node: ztunnelNode })
    const told = (response: Parameters<typeof workloadIn>[0]) =>
      Object.fromEntries(toldLabels(workloadIn(response, order)?.extensions ?? []))
    t.strictSame(told(await stream.next()), {})
    kube.put(rule({ track: 'canary', app: 'order' }))
    const delta = await stream.next()
    t.strictSame(names(delta), [order], 'nobody else')
    t.strictSame(told(delta), { track: 'canary' }, 'the name of its app is told anyway')
    kube.put(pod('shop', 'order', { ip: '10.244.1.5', labels: { app: 'order', track: 'stable', tier: 'y' } }))
    t.strictSame(told(await stream.next()), { track: 'stable' })
    kube.remove(kinds.DestinationRule, 'order', 'shop')
    t.strictSame(told(await stream.next()), {})
  },
)
