import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { kinds, type Pod, reflect } from '#kube'
import { podsRechecked } from '../../controller/recheck-pods.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import {
  acceptTokens,
  certificate,
  controllerFor,
  namespace,
  pod,
  ztunnelPod,
  ztunnelToken,
} from './mesh-kit.ts'

const start = async (t: Test) => {
  const kube = await FakeKube.start(pod('shop', 'order'), pod('shop', 'far', { node: 'node-2' }))
  const stop = new AbortController()
  t.teardown(() => {
    stop.abort()
    return kube[Symbol.asyncDispose]()
  })
  const { signal } = stop
  const pods = reflect<Pod>(kube.client(), kinds.Pod, { signal })
  await pods.synced
  const clock = { nowMs: 0 }
  const recheck = podsRechecked({ client: kube.client(), pods, signal, now: () => clock.nowMs })
  const lists = () => kube.requests.filter((line) => line.includes('fieldSelector=spec.nodeName')).length
  return { kube, pods, clock, recheck, lists }
}

t.test(
  'while pods are heard of nobody is asked; after five seconds of silence the API server is',
  async (t) => {
    const { kube, pods, clock, recheck, lists } = await start(t)
    t.same(await recheck('node-1'), { kind: 'not-needed' })
    clock.nowMs = 5_000
    t.same(await recheck('node-1'), { kind: 'not-needed' })
    clock.nowMs = 5_001
    const answers = await Promise.all(Array.from({ length: 50 }, () => recheck('node-1')))
    t.equal(lists(), 1, 'a burst is one question')
    for (const answer of answers)
      t.match(answer, {
        kind: 'asked',
        pods: [{ namespace: 'shop', serviceAccount: 'order', node: 'node-1' }],
      })
    await recheck('node-2')
    t.equal(lists(), 2, 'each node is asked about by itself')
    clock.nowMs = 10_002
    await recheck('node-1')
    t.equal(lists(), 3, 'an answer serves for five seconds')
    kube.put(pod('shop', 'new'))
    await until(() => pods.size() === 3, 'the watch brings a pod')
    t.same(await recheck('node-1'), { kind: 'not-needed' })
    t.equal(lists(), 3)
  },
)

t.test('an API server that does not answer confirms nothing, and is asked again', async (t) => {
  const { kube, clock, recheck } = await start(t)
  clock.nowMs = 60_000
  const broken = kube.hook(({ path }) => (path.includes('/pods') ? { status: 503, body: {} } : undefined))
  t.match(await recheck('node-1'), { kind: 'unreachable' })
  broken[Symbol.dispose]()
  t.match(await recheck('node-1'), { kind: 'asked' })
})

t.test('a pod that went while the watch of pods was dead gets no certificate', async (t) => {
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    pod('shop', 'order'),
    pod('shop', 'stays'),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const ask = async (account: string) => {
    const identity = `spiffe://cluster.local/ns/shop/sa/${account}`
    const { error } = await certificate(running, { token: ztunnelToken, identity })
    return error?.details
  }
  t.equal(await ask('order'), undefined)
  kube.muteWatches()
  kube.remove(kinds.Pod, 'order', 'shop')
  let details: string | undefined
  for (
    const deadline = AbortSignal.timeout(25_000);
    details === undefined && !deadline.aborted;
    await sleep(250)
  )
    details = await ask('order')
  t.equal(details, 'request impersonation authentication failure', 'long before the watch is taken for dead')
  t.equal(await ask('stays'), undefined, 'one that is still there does')
  kube.hook(({ path }) => (path.endsWith('/pods') ? { status: 500, body: {} } : undefined))
  let later: string | undefined
  for (
    const deadline = AbortSignal.timeout(25_000);
    later === undefined && !deadline.aborted;
    await sleep(250)
  )
    later = await ask('stays')
  t.equal(later, 'certificate service unavailable', 'and nobody while nobody can say')
  t.match(await running.metrics(), /lateen_impersonation_refused_total\{reason="pods-not-confirmed"\} 1/)
})
