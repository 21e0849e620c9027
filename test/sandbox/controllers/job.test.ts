import t from 'tap'
import { jobPlan } from '../../../sandbox/controllers/job.ts'
import type { Job, SchedulablePod } from '../../../sandbox/controllers/objects.ts'
import { now, pod, ready, told } from './world.ts'

const startTime = '2026-11-21T11:59:00Z'
const job = (spec: Job['spec'] = {}, status: Job['status'] = { startTime }): Job => ({
  metadata: { name: 'once', namespace: 'shop', uid: 'job' },
  spec: { template: { spec: { restartPolicy: 'Never' } }, ...spec },
  status: status ?? {},
})
const done = (name: string) => pod(name, { status: { phase: 'Succeeded' } })
const failed = (name: string, at = '2026-11-21T11:00:00Z') =>
  pod(name, { status: { phase: 'Failed', conditions: [ready(false, at)] } })
const active = (name: string) => pod(name, { status: { phase: 'Running', conditions: [ready()] } })
/** What is done, with the status patch shortened to its end. */
const plan = (of: Job, ...own: SchedulablePod[]) =>
  told(jobPlan(of, own, now)).map((line) =>
    line.startsWith('patch Job')
      ? (/"type":"(\w+)","reason":"(\w+)"/.exec(line)?.slice(1).join(' ') ?? 'status')
      : line,
  )

const cases: [string, readonly string[], readonly string[]][] = [
  ['a new Job makes its pod', plan(job({}, {})), ['create Pod', 'status']],
  ['a running pod is waited for', plan(job(), active('a')), ['status']],
  ['one success completes it', plan(job(), done('a')), ['Normal Completed', 'Complete Completed']],
  [
    'three are wanted, two at a time',
    plan(job({ completions: 3, parallelism: 2 })),
    ['create Pod', 'create Pod'],
  ],
  [
    'two of three are done',
    plan(job({ completions: 3, parallelism: 2 }), done('a'), done('b')),
    ['create Pod', 'status'],
  ],
  [
    'a work queue makes nobody new after the first success',
    plan(job({ parallelism: 2 }), done('a'), active('b')),
    ['status'],
  ],
  [
    'a work queue ends when all have ended',
    plan(job({ parallelism: 2 }), done('a'), done('b')),
    ['Normal Completed', 'Complete Completed'],
  ],
  ['an old failure is followed by another try', plan(job(), failed('a')), ['create Pod', 'status']],
  [
    'a fresh failure is followed by a pause',
    plan(job(), failed('a', '2026-11-21T11:59:57Z')),
    ['again in 7000 ms', 'status'],
  ],
  [
    'the pause doubles',
    plan(job(), failed('a'), failed('b', '2026-11-21T11:59:57Z')),
    ['again in 17000 ms', 'status'],
  ],
  [
    'too many failures end it',
    plan(job({ backoffLimit: 1, parallelism: 2, completions: 9 }), failed('a'), failed('b'), active('c')),
    ['delete Pod c', 'Warning BackoffLimitExceeded', 'Failed BackoffLimitExceeded'],
  ],
  [
    'too long ends it',
    plan(job({ activeDeadlineSeconds: 60 }), active('a')),
    ['delete Pod a', 'Warning DeadlineExceeded', 'Failed DeadlineExceeded'],
  ],
  [
    'not yet too long',
    plan(job({ activeDeadlineSeconds: 90 }), active('a')),
    ['status', 'again in 30000 ms'],
  ],
  ['suspended, nothing runs', plan(job({ suspend: true }), active('a')), ['delete Pod a', 'status']],
  [
    'less parallelism',
    plan(job({ completions: 5, parallelism: 1 }), active('a'), active('b')),
    ['delete Pod b', 'status'],
  ],
  ['what is not understood is refused aloud', plan(job({ completionMode: 'Indexed' })), ['Warning NotRun']],
]
for (const [name, got, want] of cases)
  t.test(name, async (t) => {
    t.same(got, want)
  })

t.test('a finished Job is left alone, until its time to live is over', async (t) => {
  const ended = (spec: Job['spec'], secondsAgo: number) =>
    job(spec, {
      conditions: [
        {
          type: 'Complete',
          status: 'True',
          lastTransitionTime: new Date(now.getTime() - secondsAgo * 1000).toISOString(),
        },
      ],
    })
  t.same(plan(ended({}, 10), done('a')), [])
  t.same(plan(ended({ ttlSecondsAfterFinished: 30 }, 10), done('a')), ['again in 20000 ms'])
  t.same(plan(ended({ ttlSecondsAfterFinished: 30 }, 31), done('a')), ['delete Job once'])
})

t.test('pods carry the labels that kubectl looks for', async (t) => {
  const [action] = jobPlan(job(), [], now)
  t.match(action, {
    object: {
      metadata: {
        labels: { 'job-name': 'once', 'batch.kubernetes.io/job-name': 'once' },
        ownerReferences: [{ kind: 'Job', uid: 'job', controller: true }],
      },
    },
  })
})
