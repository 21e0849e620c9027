import { setTimeout as delay } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import {
  apply,
  eventually,
  exec,
  isCaptured,
  isReady,
  meshPod,
  nameOf,
  namespace,
  pods,
  readyPods,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { captureOn, killPod } from './kit/node-tools.ts'
import { app, during, flowing, marker, openShop } from './kit/shop.ts'

const restarts = async (namespace: string, name: string) => {
  const pod = (await pods(namespace, '')).find((candidate) => nameOf(candidate) === name)
  return { count: pod?.status?.containerStatuses?.[0]?.restartCount ?? 0, ready: pod ? isReady(pod) : false }
}

t.setTimeout(400_000)

t.test('components may crash', { skip, timeout: 380_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'crashes', { 'istio.io/dataplane-mode': 'ambient' })
  const { order } = await openShop(ns, nodes)
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
  await flowing(order, 'payment')

  await t.test('SIGKILL of the controller: traffic goes on, and it comes back', async (t) => {
    const [istiod] = await pods('istio-system', 'app=istiod')
    if (!istiod) return t.fail('no istiod')
    const name = nameOf(istiod)
    const before = await restarts('istio-system', name)
    const seen = await during(order, 'payment', async () => {
      await killPod(istiod.spec?.nodeName ?? '', name)
      await delay(4000)
    })
    t.ok(seen.requests > 0)
    t.equal(seen.failed, 0)
    await eventually(
      'the controller is restarted and ready',
      async () => {
        const now = await restarts('istio-system', name)
        return now.count > before.count && now.ready
      },
      120_000,
    )
    await apply(app(ns, { name: 'payment', node: nodes[0] }))
    await eventually(
      'a pod made after the crash is reached by name',
      async () => {
        const found = await pods(ns, 'app=payment')
        return (
          found.length === 1 &&
          found[0]?.spec?.nodeName === nodes[0] &&
          found.every((pod) => isReady(pod) && isCaptured(pod))
        )
      },
      120_000,
    )
    await flowing(order, 'payment')
  })

  await t.test('SIGKILL of a ztunnel: it is restarted, traffic recovers and is never readable', async (t) => {
    const ztunnel = await meshPod('app=ztunnel', nodes[0])
    const before = await restarts('istio-system', nameOf(ztunnel))
    const captured = captureOn(nodes[0], 8, marker)
    await killPod(nodes[0], nameOf(ztunnel))
    await eventually(
      'it is restarted and ready',
      async () => {
        const now = await restarts('istio-system', nameOf(ztunnel))
        return now.count > before.count && now.ready
      },
      120_000,
    )
    await flowing(order, 'inventory', 120_000)
    t.equal((await captured).withMarker, 0, 'requests failed rather than go in the clear')
  })

  await t.test('SIGKILL of the CNI agent: traffic goes on, new pods wait for the next agent', async (t) => {
    const agent = await meshPod('k8s-app=istio-cni-node', nodes[1])
    const seen = await during(order, 'inventory', async () => {
      await killPod(nodes[1], nameOf(agent))
      await apply(app(ns, { name: 'payment', node: nodes[1] }))
      await delay(3000)
    })
    t.equal(seen.failed, 0)
    await eventually(
      'the new pod is captured',
      async () => {
        const found = await pods(ns, 'app=payment')
        return found.length === 1 && found.every((pod) => isReady(pod) && isCaptured(pod))
      },
      120_000,
    )
    await flowing(order, 'payment')
  })

  const sandbox = process.env['LATEEN_SANDBOX']
  await t.test(
    'a restart of the Kubernetes API: everything resynchronises',
    { skip: sandbox ? false : 'needs the sandbox' },
    async (t) => {
      const seen = await during(order, 'payment', async () => {
        const child = spawn('node', ['sandbox/main.ts', 'restart-api', '--name', sandbox ?? ''], {
          stdio: 'ignore',
        })
        t.same(await once(child, 'exit'), [0, null])
      })
      t.equal(seen.failed, 0)
      await apply(app(ns, { name: 'inventory', node: nodes[0] }))
      await eventually(
        'a change after the restart arrives everywhere',
        async () => {
          const found = await pods(ns, 'app=inventory')
          return (
            found.length === 1 &&
            found[0]?.spec?.nodeName === nodes[0] &&
            found.every((pod) => isReady(pod) && isCaptured(pod))
          )
        },
        180_000,
      )
      await readyPods(ns, 'app=inventory', 1)
      await flowing(order, 'inventory')
      t.equal((await exec(ns, nameOf(order), ['true'])).code, 0)
    },
  )
})
