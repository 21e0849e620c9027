import t from 'tap'
import {
  eventually,
  isCaptured,
  isReady,
  meshPod,
  nameOf,
  namespace,
  pods,
  restartDaemonSet,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { captureOn } from './kit/node-tools.ts'
import { during, flowing, marker, openShop } from './kit/shop.ts'

t.setTimeout(400_000)
const ordersPerSecond = 100

t.test('an upgrade of ztunnel on every node', { skip, timeout: 380_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'restart', { 'istio.io/dataplane-mode': 'ambient' })
  const { order } = await openShop(ns, nodes, ordersPerSecond)
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
  await flowing(order, 'payment')
  const before = await Promise.all(nodes.map((node) => meshPod('app=ztunnel', node)))
  const captured = captureOn(nodes[0], 20, marker)

  const seen = await during(order, 'payment', async () => {
    await restartDaemonSet('istio-system', 'ztunnel')
    await eventually(
      'the old ones have gone',
      async () => {
        const left = await pods('istio-system', 'app=ztunnel')
        return left.every((pod) => isReady(pod) && !before.some((old) => nameOf(old) === nameOf(pod)))
      },
      180_000,
    )
    await flowing(order, 'payment')
  })
  t.comment(`${seen.requests} new connections meanwhile`)
  t.ok(seen.requests > 20)
  t.equal(seen.failed, 0, seen.failed === 0 ? 'no failure' : `the last: ${seen.lastError ?? 'unknown'}`)
  t.equal((await captured).withMarker, 0, 'and nothing was readable on the way')
  t.ok((await pods(ns, '')).every(isCaptured), 'every pod is still captured')
})
