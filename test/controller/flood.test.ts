import t from 'tap'
import { kinds } from '#kube'
import type { ads } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
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

const order = (revision: number) =>
  pod('shop', 'order', { labels: { app: 'order', version: `v${revision}` } })
const uid = 'Kubernetes//Pod/shop/order'
const updates = 10_000

t.test(
  `${updates} updates of one object are a few responses, the last of which is right`,
  { timeout: 90_000 },
  async (t) => {
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      ztunnelPod,
      order(0),
    )
    acceptTokens(kube)
    await using running = await controllerFor(kube, {
      PILOT_DEBOUNCE_AFTER: '100ms',
      PILOT_DEBOUNCE_MAX: '1s',
    })
    using stream = adsStream(running)
    stream.send({ node: ztunnelNode })
    await stream.next()
    for (let revision = 1; revision <= updates; revision++) {
      kube.put(order(revision))
      if (revision % 100 === 0) await new Promise((turn) => setImmediate(turn))
    }
    const seen: ads.DeltaDiscoveryResponse[] = []
    const revisionSeen = () => {
      const last = seen.at(-1)
      return last && workloadIn(last, uid)?.canonicalRevision
    }
    while (revisionSeen() !== `v${updates}`) seen.push(await stream.next())
    t.ok(
      seen.length < 60,
      `at most one for each second of it, and they took far less than a minute: ${seen.length}`,
    )
    t.ok(
      seen.every((response) => names(response).length === 1),
      'and each has the one resource',
    )
  },
)

t.test('what was deleted while a client was away is the first thing that it is told', async (t) => {
  const gone = Array.from({ length: 500 }, (_, i) =>
    pod('shop', `gone-${i}`, { ip: `10.244.${2 + (i >> 8)}.${i & 255}` }),
  )
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    order(1),
    ...gone,
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const held: Record<string, string> = {}
  {
    using stream = adsStream(running)
    stream.send({ node: ztunnelNode })
    for (const { name, version } of (await stream.next()).resources) held[name] = version
  }
  t.equal(Object.keys(held).length, 502)
  for (const { metadata } of gone) kube.remove(kinds.Pod, metadata.name, 'shop')
  await until(() => kube.all(kinds.Pod).length === 2, 'they are gone')
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode, initialResourceVersions: held })
  const removed = new Set<string>()
  while (removed.size < gone.length) {
    const response = await stream.next()
    t.strictSame(names(response), [], 'what is still there is not sent again')
    for (const name of response.removedResources) removed.add(name)
  }
  t.strictSame(
    [...removed].sort(),
    gone.map(({ metadata }) => `Kubernetes//Pod/shop/${metadata.name}`).sort(),
  )
})
