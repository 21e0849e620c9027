import t from 'tap'
import { planPod } from '../../../sandbox/node/pod/plan.ts'
import type { NodePod } from '../../../sandbox/node/pod/pod.ts'
import { type ContainerRecord, newRecord } from '../../../sandbox/node/pod/records.ts'
import { statusOf } from '../../../sandbox/node/pod/status.ts'
import { podOf } from './pods.ts'

const now = Date.UTC(2026, 10, 21)
const facts = { podIps: ['10.244.1.2', 'fd00::2'], hostIps: ['10.77.0.11'], startTime: now, now }
type Status = {
  phase: string
  conditions: { type: string; status: string; reason?: string; lastTransitionTime: string }[]
  podIPs: unknown
  containerStatuses: {
    state: Record<string, Record<string, unknown>>
    ready: boolean
    restartCount: number
    lastState: object
  }[]
}
const statusFor = (pod: NodePod, records: ContainerRecord[]) => {
  const map = new Map(records.map((each) => [each.name, each]))
  return statusOf(pod, map, planPod(pod, map, now), facts) as unknown as Status
}
const app: ContainerRecord = {
  ...newRecord('app'),
  run: 2,
  started: true,
  ready: true,
  state: { kind: 'running', startedAt: now },
}

t.test('a running pod is Ready and says where it is', async (t) => {
  const status = statusFor(podOf({ containers: [{ name: 'app', image: 'lateen:dev' }] }), [app])
  t.equal(status.phase, 'Running')
  t.strictSame(
    status.conditions.map(({ type, status }) => `${type}=${status}`),
    [
      'PodReadyToStartContainers=True',
      'Initialized=True',
      'Ready=True',
      'ContainersReady=True',
      'PodScheduled=True',
    ],
  )
  t.strictSame(status.podIPs, [{ ip: '10.244.1.2' }, { ip: 'fd00::2' }])
  t.equal(status.containerStatuses[0]?.restartCount, 2)
})

t.test('one container that is not ready makes the pod not ready', async (t) => {
  const status = statusFor(podOf({ containers: [{ name: 'app' }] }), [{ ...app, ready: false }])
  const ready = status.conditions.find(({ type }) => type === 'Ready')
  t.strictSame([ready?.status, ready?.reason], ['False', 'ContainersNotReady'])
})

t.test('a condition keeps the time of its last change', async (t) => {
  const since = '2020-01-01T00:00:00Z'
  const pod: NodePod = {
    ...podOf({ containers: [{ name: 'app' }] }),
    status: {
      conditions: [
        { type: 'Ready', status: 'True', lastTransitionTime: since },
        { type: 'x.io/gate', status: 'True' },
      ],
    },
  }
  const status = statusFor(pod, [app])
  t.equal(status.conditions.find(({ type }) => type === 'Ready')?.lastTransitionTime, since)
  t.ok(
    status.conditions.find(({ type }) => type === 'x.io/gate'),
    "another's condition is kept",
  )
})

t.test('a container that keeps ending is in CrashLoopBackOff', async (t) => {
  const crashed: ContainerRecord = {
    ...app,
    ready: false,
    quickEnds: 3,
    state: { kind: 'terminated', exitCode: 3, reason: 'Error', startedAt: now - 50, finishedAt: now },
  }
  const [status] = statusFor(podOf({ containers: [{ name: 'app' }] }), [crashed]).containerStatuses
  t.match(status?.state, {
    waiting: { reason: 'CrashLoopBackOff', message: /^back-off 2s restarting failed container=app/ },
  })
  t.match(status?.lastState, { terminated: { exitCode: 3, reason: 'Error' } })
})

t.test('what has not begun says why', async (t) => {
  const pod = podOf({ initContainers: [{ name: 'i' }], containers: [{ name: 'app' }] })
  const status = statusFor(pod, []) as unknown as {
    containerStatuses: unknown[]
    initContainerStatuses: unknown[]
  }
  t.match(status.containerStatuses[0], { state: { waiting: { reason: 'PodInitializing' } } })
  t.match(status.initContainerStatuses[0], { state: { waiting: { reason: 'ContainerCreating' } } })
})
