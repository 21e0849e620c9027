import t from 'tap'
import { afterExit, afterProbe, afterStart } from '../../../sandbox/node/pod/after.ts'
import type { PodContainer } from '../../../sandbox/node/pod/pod.ts'
import { type ContainerRecord, creating, newRecord } from '../../../sandbox/node/pod/records.ts'
import type { ProbeNews } from '../../../sandbox/node/probes/prober.ts'
import type { StartResult } from '../../../sandbox/node/start-container.ts'
import { podOf } from './pods.ts'

const now = 1_000_000
const containerOf = (extra: Record<string, unknown> = {}): PodContainer => {
  const [container] = podOf({ containers: [{ name: 'app', ...extra }] }).spec.containers
  if (!container) throw new Error('no container')
  return container
}
const probe = { httpGet: { path: '/', port: 80 } }
const running: ContainerRecord = {
  ...newRecord('app'),
  run: 3,
  started: true,
  ready: true,
  state: { kind: 'running', startedAt: now - 5_000 },
}

const start = (result: StartResult, before = newRecord('app'), container = containerOf()) =>
  afterStart(
    container,
    { before, record: creating(before, before.run + 1), run: before.run + 1 },
    result,
    now,
  )

t.test('a container that started runs, and is ready once its probes say so', async (t) => {
  const plain = start({ kind: 'started', dir: '/x' })
  t.match(plain.record, { run: 0, started: true, ready: true, state: { kind: 'running', startedAt: now } })
  t.match(plain.event, { type: 'Normal', reason: 'Started' })
  const probed = start({ kind: 'started', dir: '/x' }, undefined, containerOf({ readinessProbe: probe }))
  t.match(probed.record, { started: true, ready: false })
  const slow = start({ kind: 'started', dir: '/x' }, undefined, containerOf({ startupProbe: probe }))
  t.match(slow.record, { started: false, ready: false })
})

t.test('an image that is not there is no run, and is looked for again', async (t) => {
  const missing = { kind: 'waiting', reason: 'ErrImagePull', message: 'no image "x"' } as const
  const once = start(missing)
  t.match(once.record, { run: -1, state: { kind: 'waiting', reason: 'ErrImagePull', retryAt: now + 3_000 } })
  t.match(once.event, { type: 'Warning', reason: 'Failed', message: missing.message })
  t.match(start(missing, once.record).record.state, { reason: 'ImagePullBackOff' })
  const other = start({ ...missing, reason: 'CreateContainerConfigError' }, once.record)
  t.match(other.record.state, { reason: 'CreateContainerConfigError' })
})

t.test('a program that cannot be started has ended', async (t) => {
  const { record, event } = start({ kind: 'failed', message: 'no such file' })
  t.match(record, {
    run: 0,
    quickEnds: 1,
    state: { kind: 'terminated', exitCode: 128, reason: 'StartError' },
  })
  t.equal(event?.message, 'Error: no such file')
})

t.test('an end is told as such, a second quick one as back-off', async (t) => {
  const done = afterExit(running, 3, { code: 0, finishedAt: now })
  t.match(done?.record.state, {
    kind: 'terminated',
    exitCode: 0,
    reason: 'Completed',
    startedAt: now - 5_000,
  })
  t.equal(done?.event, undefined)
  t.equal(afterExit(running, 3, { code: 1, finishedAt: now })?.event, undefined)
  const again = afterExit({ ...running, quickEnds: 1 }, 3, { code: 1, finishedAt: now })
  t.match(again, { record: { quickEnds: 2 }, event: { reason: 'BackOff' } })
  t.equal(afterExit(running, 2, { code: 1, finishedAt: now }), undefined, 'of an older run nothing')
  t.equal(afterExit(newRecord('app'), -1, { code: 1, finishedAt: now }), undefined, 'of none nothing')
})

const news: [string, ContainerRecord, ProbeNews, object | undefined][] = [
  [
    'that it started',
    { ...running, started: false, ready: false },
    { kind: 'started' },
    { record: { started: true, ready: true } },
  ],
  ['that it started, again', running, { kind: 'started' }, undefined],
  ['that it is not ready', running, { kind: 'ready', ready: false }, { record: { ready: false } }],
  [
    'a failure',
    running,
    { kind: 'unhealthy', probe: 'liveness', message: 'x' },
    { event: { reason: 'Unhealthy' } },
  ],
  [
    'that it is dead',
    running,
    { kind: 'dead', probe: 'liveness', message: 'x' },
    { event: { reason: 'Killing' }, stop: true },
  ],
  ['anything of an older run', { ...running, run: 4 }, { kind: 'ready', ready: false }, undefined],
]
for (const [what, record, said, want] of news)
  t.test(`a probe says ${what}`, async (t) => {
    const after = afterProbe(containerOf(), record, 3, said)
    if (want === undefined) return t.equal(after, undefined)
    t.match(after, want)
    if ('event' in want) t.equal(after?.record, record, 'the record stays')
  })
