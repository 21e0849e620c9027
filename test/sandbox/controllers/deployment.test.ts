import t from 'tap'
import { deploymentPlan } from '../../../sandbox/controllers/deployment.ts'
import type { Deployment, ReplicaSet, SchedulablePod } from '../../../sandbox/controllers/objects.ts'
import { isActive, isReady } from '../../../sandbox/controllers/pod-state.ts'
import { replicaSetPlan } from '../../../sandbox/controllers/replica-set.ts'
import { Model, now, pod, ready, told } from './world.ts'

const template = (image: string) => ({
  metadata: { labels: { app: 'order' } },
  spec: { containers: [{ name: 'a', image }] },
})
const deployment = (spec: Deployment['spec'] = {}): Deployment => ({
  metadata: { name: 'order', namespace: 'shop' },
  spec: { replicas: 4, selector: { matchLabels: { app: 'order' } }, template: template('v1'), ...spec },
})
const start = (spec: Deployment['spec'] = {}): Model => {
  const model = new Model()
  model.put('Deployment', deployment(spec))
  return model
}

/** Both controllers look once; the answer says what they did. */
function step(model: Model, at = now): readonly string[] {
  const object = model.get<Deployment>('Deployment', 'order')
  const sets = model.owned<ReplicaSet>('ReplicaSet', object)
  const actions = [
    ...deploymentPlan({ deployment: object, sets, pods: model.all<SchedulablePod>('Pod') }, at),
  ]
  model.do(actions)
  for (const { metadata } of model.all('ReplicaSet')) {
    const set = model.get<ReplicaSet>('ReplicaSet', metadata.name ?? '')
    const own = replicaSetPlan(set, model.owned<SchedulablePod>('Pod', set), at)
    model.do(own)
    actions.push(...own)
  }
  return told(actions).filter((line) => !line.startsWith('again'))
}
function settle(model: Model, each: () => void = () => undefined): number {
  for (let rounds = 1; rounds < 100; rounds++) {
    if (step(model).length === 0) return rounds
    each()
  }
  throw new Error('does not settle')
}
const live = (model: Model) => model.all<SchedulablePod>('Pod').filter(isActive)
const startPods = (model: Model, image?: string) => {
  for (const { metadata, spec } of live(model))
    if (image === undefined || spec?.containers?.[0]?.image === image)
      model.change('Pod', metadata.name ?? '', { status: { phase: 'Running', conditions: [ready()] } })
}
const endPods = (model: Model) => {
  for (const { metadata } of model.all('Pod'))
    if (metadata.deletionTimestamp) model.remove('Pod', metadata.name ?? '')
}
const images = (model: Model) => live(model).map(({ spec }) => spec?.containers?.[0]?.image)
const conditions = (model: Model) =>
  Object.fromEntries(
    (model.get<Deployment>('Deployment', 'order').status?.conditions ?? []).map((c) => [
      c.type,
      `${c.status} ${c.reason}`,
    ]),
  )

t.test(
  'a new Deployment makes one ReplicaSet and its pods, and becomes available when they are ready',
  async (t) => {
    const model = start()
    settle(model)
    t.same(images(model), ['v1', 'v1', 'v1', 'v1'])
    t.same(conditions(model), {
      Available: 'False MinimumReplicasUnavailable',
      Progressing: 'True ReplicaSetUpdated',
    })
    const [first] = live(model)
    t.ok(first?.metadata.labels?.['pod-template-hash'])
    t.equal(first?.metadata.labels?.['app'], 'order')
    t.match(first?.metadata.ownerReferences, [{ kind: 'ReplicaSet', controller: true }])
    startPods(model)
    settle(model)
    t.same(conditions(model), {
      Available: 'True MinimumReplicasAvailable',
      Progressing: 'True NewReplicaSetAvailable',
    })
    t.match(model.get<Deployment>('Deployment', 'order'), {
      metadata: { annotations: { 'deployment.kubernetes.io/revision': '1' } },
      status: {
        observedGeneration: 1,
        replicas: 4,
        updatedReplicas: 4,
        readyReplicas: 4,
        availableReplicas: 4,
        unavailableReplicas: 0,
      },
    })
    t.equal(settle(model), 1, 'and nothing more is done')
  },
)

const rolls: [string, Deployment['spec'], number, number][] = [
  ['25 % each way', {}, 5, 3],
  ['surge only', { strategy: { rollingUpdate: { maxSurge: 2, maxUnavailable: 0 } } }, 6, 4],
  ['no surge', { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } } }, 4, 3],
  [
    'both 0 counts as one unavailable',
    { strategy: { rollingUpdate: { maxSurge: '0%', maxUnavailable: 0 } } },
    4,
    3,
  ],
  ['everything at once', { strategy: { rollingUpdate: { maxSurge: '100%', maxUnavailable: '100%' } } }, 8, 0],
]
for (const [name, spec, most, fewest] of rolls)
  t.test(`a rolling update keeps between ${fewest} available and ${most} pods: ${name}`, async (t) => {
    const model = start(spec)
    settle(model)
    startPods(model)
    settle(model)
    model.change('Deployment', 'order', { metadata: { generation: 2 }, spec: { template: template('v2') } })
    let [max, min] = [0, 99]
    let rounds = 0
    while (images(model).some((image) => image === 'v1') || live(model).length !== 4) {
      if (rounds++ > 40) return t.fail('does not end')
      step(model)
      max = Math.max(max, live(model).length)
      min = Math.min(min, live(model).filter(isReady).length)
      endPods(model)
      if (rounds % 2 === 0) startPods(model)
    }
    t.ok(max <= most, `${max} pods at most`)
    t.ok(min >= fewest, `${min} available at least`)
    startPods(model)
    settle(model)
    t.same(images(model), ['v2', 'v2', 'v2', 'v2'])
    t.equal(model.get('Deployment', 'order').metadata.annotations?.['deployment.kubernetes.io/revision'], '2')
    t.equal(model.all('ReplicaSet').length, 2, 'the old set is kept for a way back')
  })

t.test('a version that never gets ready stops the update with the old one serving', async (t) => {
  const model = start()
  settle(model)
  startPods(model)
  settle(model)
  model.change('Deployment', 'order', { metadata: { generation: 2 }, spec: { template: template('broken') } })
  settle(model, () => endPods(model))
  t.equal(live(model).filter(isReady).length, 3)
  t.equal(live(model).length, 5)
  const later = new Date(now.getTime() + 601_000)
  step(model, later)
  t.equal(conditions(model)['Progressing'], 'False ProgressDeadlineExceeded')
  t.equal(conditions(model)['Available'], 'True MinimumReplicasAvailable')
  model.change('Deployment', 'order', { metadata: { generation: 3 }, spec: { template: template('v1') } })
  settle(model, () => {
    endPods(model)
    startPods(model, 'v1')
  })
  t.same(images(model), ['v1', 'v1', 'v1', 'v1'])
  t.equal(model.get('Deployment', 'order').metadata.annotations?.['deployment.kubernetes.io/revision'], '3')
  t.equal(model.all('ReplicaSet').length, 2, 'the first set came back, none was added')
})

t.test('Recreate never runs two versions, not even one that is still ending', async (t) => {
  const model = start({ strategy: { type: 'Recreate' } })
  settle(model)
  startPods(model)
  settle(model)
  model.change('Deployment', 'order', { metadata: { generation: 2 }, spec: { template: template('v2') } })
  settle(model)
  t.same(images(model), [])
  t.equal(model.all('Pod').length, 4, 'all are ending')
  endPods(model)
  settle(model)
  t.same(images(model), ['v2', 'v2', 'v2', 'v2'])
})

t.test('scaling changes the one set that there is', async (t) => {
  const model = start()
  settle(model)
  startPods(model)
  settle(model)
  for (const replicas of [7, 2, 0]) {
    model.change('Deployment', 'order', { spec: { replicas } })
    settle(model, () => {
      endPods(model)
      startPods(model)
    })
    t.equal(live(model).length, replicas)
    t.equal(model.all('ReplicaSet').length, 1)
  }
})

t.test('a paused Deployment starts no new version, but scales', async (t) => {
  const model = start()
  settle(model)
  startPods(model)
  settle(model)
  model.change('Deployment', 'order', { spec: { paused: true, replicas: 5, template: template('v2') } })
  settle(model)
  t.same(images(model), ['v1', 'v1', 'v1', 'v1', 'v1'])
})

t.test('old sets beyond the history limit are forgotten', async (t) => {
  const model = start({ revisionHistoryLimit: 1 })
  const roll = () =>
    settle(model, () => {
      endPods(model)
      startPods(model)
    })
  roll()
  for (const image of ['v2', 'v3', 'v4']) {
    model.change('Deployment', 'order', { spec: { template: template(image) } })
    roll()
  }
  t.equal(model.all('ReplicaSet').length, 2)
})

t.test('a Deployment that is being deleted is left alone', async (t) => {
  const model = start()
  model.change('Deployment', 'order', { metadata: { deletionTimestamp: now.toISOString() } })
  t.same(step(model), [])
})

t.test('a ReplicaSet gives up the pods that are worth least', async (t) => {
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true }
  const member = (name: string, nodeName: string | undefined, isUp: boolean, creationTimestamp: string) =>
    pod(name, {
      metadata: { name, namespace: 'shop', uid: name, ownerReferences: [owner], creationTimestamp },
      spec: nodeName === undefined ? {} : { nodeName },
      status: { conditions: [ready(isUp)] },
    })
  const own = [
    member('old', 'n1', true, '2026-01-01T00:00:00Z'),
    member('young', 'n2', true, '2026-03-01T00:00:00Z'),
    member('young-crowded', 'n1', true, '2026-02-01T00:00:00Z'),
    member('unready', 'n3', false, '2026-01-01T00:00:00Z'),
    member('unplaced', undefined, false, '2026-01-01T00:00:00Z'),
  ]
  const victims = (replicas: number) =>
    told(
      replicaSetPlan(
        { metadata: { name: 'rs', namespace: 'shop', uid: 'rs' }, spec: { replicas } },
        own,
        now,
      ),
    )
      .filter((line) => line.startsWith('delete'))
      .map((line) => line.split(' ')[2])
  t.same(victims(4), ['unplaced'])
  t.same(victims(3), ['unplaced', 'unready'])
  t.same(victims(2), ['unplaced', 'unready', 'young-crowded'])
  t.same(victims(0).length, 5)
})

t.test('a pod that failed is made anew and does not count', async (t) => {
  const set: ReplicaSet = { metadata: { name: 'rs', uid: 'rs' }, spec: { replicas: 1 } }
  const failed = pod('a', { status: { phase: 'Failed' } })
  t.match(told(replicaSetPlan(set, [failed], now)), ['create Pod', /"replicas":0/])
})

t.test('a pod counts as available after minReadySeconds', async (t) => {
  const set: ReplicaSet = { metadata: { name: 'rs', uid: 'rs' }, spec: { replicas: 1, minReadySeconds: 10 } }
  const fresh = pod('a', { status: { conditions: [ready(true, '2026-11-21T11:59:56Z')] } })
  const lines = told(replicaSetPlan(set, [fresh], now))
  t.match(lines, [/"readyReplicas":1,"availableReplicas":0/, 'again in 6000 ms'])
})
