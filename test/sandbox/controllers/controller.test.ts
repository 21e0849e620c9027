import t from 'tap'
import { KubeClient } from '#kube'
import { silent } from '#telemetry'
import { runController } from '../../../sandbox/controllers/controller.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

t.test('a look that is due in years is not taken at once, again and again', async (t) => {
  await using kube = await FakeKube.start()
  using client = new KubeClient(kube.cluster)
  let looks = 0
  const world = { client, collections: new Map(), log: silent, now: () => new Date() }
  const controller = {
    name: 'patient',
    sources: [(add: (key: string) => void) => (add('a'), { [Symbol.dispose]: () => undefined })],
    plan: () => {
      looks++
      // progressDeadlineSeconds of 2147483647, which Kubernetes takes for "no deadline".
      return [{ kind: 'again', afterMs: 2_147_483_647_000 } as const]
    },
  }
  await using _running = runController(controller, world, new AbortController().signal)
  await until(() => looks > 0, 'the first look')
  await new Promise((resolve) => setTimeout(resolve, 30))
  t.equal(looks, 1)
})
