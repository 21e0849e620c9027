import t from 'tap'
import { planPod } from '../../../sandbox/node/pod/plan.ts'
import {
  began,
  type ContainerRecord,
  creating,
  ended,
  newRecord,
  restartDelayMs,
} from '../../../sandbox/node/pod/records.ts'
import { podOf } from './pods.ts'

const now = 1_000_000
const running = (name: string, extra: Partial<ContainerRecord> = {}): ContainerRecord => ({
  ...newRecord(name),
  run: 0,
  started: true,
  ready: true,
  state: { kind: 'running', startedAt: now - 5_000 },
  ...extra,
})
const done = (name: string, exitCode: number, agoMs = 10, quickEnds = 1): ContainerRecord => ({
  ...newRecord(name),
  run: 0,
  quickEnds,
  state: { kind: 'terminated', exitCode, reason: 'x', startedAt: now - agoMs - 10, finishedAt: now - agoMs },
})

const app = { name: 'app' }
const cases: [string, Record<string, unknown>, ContainerRecord[], string][] = [
  ['a new pod starts its container', { containers: [app] }, [], 'start app, Pending'],
  ['all containers start together', { containers: [app, { name: 'b' }] }, [], 'start app b, Pending'],
  ['a running pod needs nothing', { containers: [app] }, [running('app')], 'start -, Running'],
  [
    'init containers come one by one',
    { initContainers: [{ name: 'i' }, { name: 'j' }], containers: [app] },
    [],
    'start i, Pending',
  ],
  [
    'the second init container after the first has succeeded',
    { initContainers: [{ name: 'i' }, { name: 'j' }], containers: [app] },
    [done('i', 0)],
    'start j, Pending',
  ],
  [
    'a failed init container waits before it is tried again',
    { initContainers: [{ name: 'i' }], containers: [app] },
    [done('i', 1)],
    'start -, Pending, wake +490',
  ],
  [
    'a failed init container of a pod that never restarts fails the pod',
    { restartPolicy: 'Never', initContainers: [{ name: 'i' }], containers: [app] },
    [done('i', 1)],
    'start -, Failed',
  ],
  [
    'a sidecar must have started before the rest',
    { initContainers: [{ name: 's', restartPolicy: 'Always' }], containers: [app] },
    [running('s', { started: false })],
    'start -, Pending',
  ],
  [
    'the rest starts once the sidecar has',
    { initContainers: [{ name: 's', restartPolicy: 'Always' }], containers: [app] },
    [running('s')],
    'start app, Pending',
  ],
  [
    'an ended container waits its turn',
    { containers: [app] },
    [done('app', 1)],
    'start -, Running, wake +490',
  ],
  ['and is started when it has come', { containers: [app] }, [done('app', 1, 600)], 'start app, Running'],
  [
    'success ends a pod that restarts on failure',
    { restartPolicy: 'OnFailure', containers: [app] },
    [done('app', 0)],
    'start -, Succeeded',
  ],
  [
    'failure does not',
    { restartPolicy: 'OnFailure', containers: [app] },
    [done('app', 1, 9e5)],
    'start app, Running',
  ],
  [
    'never means never',
    { restartPolicy: 'Never', containers: [app] },
    [done('app', 1, 9e5)],
    'start -, Failed',
  ],
  [
    'one success among running ones is no success yet',
    { restartPolicy: 'Never', containers: [app, { name: 'b' }] },
    [done('app', 0), running('b')],
    'start -, Running',
  ],
]
for (const [name, spec, records, want] of cases) {
  t.test(name, async (t) => {
    const plan = planPod(podOf(spec), new Map(records.map((each) => [each.name, each])), now)
    const start = plan.start.map((each) => each.name).join(' ') || '-'
    const wake = plan.wakeAt === undefined ? '' : `, wake +${plan.wakeAt - now}`
    t.equal(`start ${start}, ${plan.phase}${wake}`, want)
  })
}

t.test(
  'restarts come soon at first, then ever more slowly, and never after more than a minute',
  async (t) => {
    t.strictSame(
      [0, 1, 2, 3, 4, 7, 8, 100].map(restartDelayMs),
      [250, 500, 1000, 2000, 4000, 32000, 60000, 60000],
    )
  },
)

t.test('a run of half a minute is forgiven its end', async (t) => {
  const times = (ms: number) => ({ exitCode: 1, reason: 'Error', startedAt: 0, finishedAt: ms })
  t.equal(ended(running('a', { quickEnds: 4 }), times(29_999)).quickEnds, 5)
  t.equal(ended(running('a', { quickEnds: 4 }), times(30_000)).quickEnds, 0)
})

t.test('the last termination stays known through the next start', async (t) => {
  const first = ended(began(creating(newRecord('a'), 0), 0, 5, { startup: false, readiness: false }), {
    exitCode: 3,
    reason: 'Error',
    startedAt: 5,
    finishedAt: 9,
  })
  const second = began(creating(first, 1), 1, 20, { startup: false, readiness: true })
  t.strictSame(second.last, { exitCode: 3, reason: 'Error', startedAt: 5, finishedAt: 9 })
  t.strictSame([second.run, second.ready, second.started], [1, false, true])
})
