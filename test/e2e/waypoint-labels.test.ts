/** Whose waypoint acts for what, as labels of namespaces, services, pods and waypoints say. */
import t, { type Test } from 'tap'
import { apply, label, nameOf, pods, read, skip } from './kit/cluster.ts'
import { complaint, type Expected } from './kit/expect.ts'
import { openStage, type Stage } from './kit/stage.ts'
import { setTimeout as delay } from 'node:timers/promises'

t.setTimeout(300_000)

const use = 'istio.io/use-waypoint'
/** Waypoints start in it. */
const patienceMs = 60_000

const gateway = (ns: string, name: string, waypointFor: string, from = 'Same') => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: ${ns}, labels: { istio.io/waypoint-for: ${waypointFor} } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE, allowedRoutes: { namespaces: { from: ${from} } } }]
`

type Labels = Readonly<Record<string, string>>
const labelled = (ns: string, kind: 'Service' | 'Pod', name: string, labels: Labels) =>
  apply(
    `{ apiVersion: v1, kind: ${kind}, metadata: { name: ${name}, namespace: ${ns}, labels: ${JSON.stringify(labels)} } }`,
    'labels',
  )

/** What is asked by way of a waypoint has been counted by it. */
const via = (question: string, by: string): Expected => [
  question,
  by,
  { seen: { 'x-envoy-attempt-count': '1' } },
]
const past = (question: string, by: string): Expected => [
  question,
  by,
  { seen: { 'x-envoy-attempt-count': null } },
]

type Conditions = { status?: { conditions?: { type: string; reason: string }[] } }
const boundOf = async (ns: string) => {
  const { status } = (await read('v1', 'Service', ns, 'echo-v1')) as Conditions
  return status?.conditions?.find(({ type }) => type === 'istio.io/WaypointBound')?.reason
}

/** `reason`: of the condition of service echo-v1. */
const seesOf =
  (t: Test, stage: Stage) =>
  async (title: string, reason: string | undefined, ...all: readonly Expected[]): Promise<void> => {
    const end = Date.now() + patienceMs
    for (;;) {
      const asked = all.map(([question, ...rest]) => complaint(stage, [stage.fill(question), ...rest]))
      const wrong = (await Promise.all(asked)).filter((one) => one !== undefined)
      const told = await boundOf(stage.ns)
      if (told !== reason) wrong.push(`its condition says ${told}`)
      if (wrong.length === 0 || Date.now() > end) return void t.same(wrong, [], title)
      await delay(100)
    }
  }

const [echo, other, pod] = ['GET echo-v1/', 'GET echo-v2/', 'GET $V1_IP:8080/']

t.test('labels say whose waypoint acts', { skip, timeout: 280_000 }, async (t) => {
  const stage = await openStage(t, 'labels', false)
  const { ns, consumer } = stage
  const [v1] = await pods(ns, 'pod=v1')
  const sees = seesOf(t, stage)
  const service = (labels: Labels) => labelled(ns, 'Service', 'echo-v1', labels)
  const podOf = (labels: Labels) => labelled(ns, 'Pod', nameOf(v1 ?? {}), labels)
  for (const kind of ['all', 'workload', 'none']) await apply(gateway(ns, `for-${kind}`, kind))
  await apply(gateway(consumer, 'shared', 'service'))
  const accepted = 'WaypointAccepted'

  await service({ [use]: 'for-all' })
  await sees('a service’s own', accepted, via(echo, 'v1'), past(other, 'v2'), past(pod, 'v1'))
  await podOf({ [use]: 'for-all' })
  const toPod = [via(pod, 'v1'), via('GET headless:8080/', 'v1'), via(`consumer: ${pod}`, 'v1')]
  await sees('a pod’s own', accepted, ...toPod, ['HEAR $V1_IP:9001', '5.7.0-v1'])
  await service({ [use]: 'none' })
  await sees('none for a service whose pod has one', undefined, past(echo, 'v1'), via(pod, 'v1'))
  await label(ns, { [use]: 'for-all' })
  await sees('none in a namespace that has one', undefined, past(echo, 'v1'), via(other, 'v2'))
  await service({ [use]: 'missing' })
  await sees('one that is not there', 'WaypointIsNotReady', past(echo, 'v1'), via(other, 'v2'))
  await service({})
  await podOf({})
  await sees('a namespace’s, for everything', accepted, via(echo, 'v1'), via(pod, 'v1'))
  await label(ns, { [use]: 'for-workload' })
  await sees('for workloads', 'UnsupportedTrafficType', past(echo, 'v1'), via(pod, 'v1'))
  await label(ns, { [use]: 'for-none' })
  await sees('for none', 'UnsupportedTrafficType', past(echo, 'v1'), past(pod, 'v1'))
  await label(ns, { [use]: null })

  await service({ [use]: 'shared', 'istio.io/use-waypoint-namespace': consumer })
  await sees('another namespace’s that does not let us', 'AttachmentDenied', past(echo, 'v1'))
  await apply(gateway(consumer, 'shared', 'service', 'All'))
  const ours = [via(echo, 'v1'), via('consumer: GET echo-v1.$NS/', 'v1')]
  await sees('another namespace’s that lets us', accepted, ...ours)
})
