import t from 'tap'
import { daemonSetPlan } from '../../../sandbox/controllers/daemon-set.ts'
import type { DaemonSet, SchedulableNode, SchedulablePod } from '../../../sandbox/controllers/objects.ts'
import { schedule } from '../../../sandbox/controllers/scheduler.ts'
import { Model, node, now, ready, told } from './world.ts'

const template = (image: string) => ({
  metadata: { labels: { app: 'ztunnel' } },
  spec: { containers: [{ name: 'a', image }] },
})
const start = (spec: DaemonSet['spec'] = {}, nodes = [node('n1'), node('n2'), node('n3')]): Model => {
  const model = new Model()
  const object: DaemonSet = {
    metadata: { name: 'ztunnel', namespace: 'istio-system' },
    spec: { template: template('v1'), ...spec },
  }
  model.put('DaemonSet', object)
  for (const each of nodes) model.put('Node', each)
  return model
}
function step(model: Model): readonly string[] {
  const set = model.get<DaemonSet>('DaemonSet', 'ztunnel')
  const nodes = model.all<SchedulableNode>('Node')
  const actions = daemonSetPlan(set, nodes, model.owned<SchedulablePod>('Pod', set), now)
  model.do(actions)
  for (const waiting of model.all<SchedulablePod>('Pod').filter(({ spec }) => !spec?.nodeName)) {
    const placement = schedule(waiting, nodes, model.all<SchedulablePod>('Pod'))
    if (placement.kind === 'bind')
      model.change('Pod', waiting.metadata.name ?? '', { spec: { nodeName: placement.node } })
  }
  return told(actions)
}
const settle = (model: Model, each: () => void = () => undefined) => {
  for (let rounds = 0; rounds < 50; rounds++) {
    if (step(model).length === 0) return
    each()
  }
  throw new Error('does not settle')
}
const startPods = (model: Model, which: (each: SchedulablePod) => boolean = () => true) => {
  for (const each of model.all<SchedulablePod>('Pod').filter(which))
    model.change('Pod', each.metadata.name ?? '', { status: { phase: 'Running', conditions: [ready()] } })
}
const endPods = (model: Model) => {
  for (const { metadata } of model.all('Pod'))
    if (metadata.deletionTimestamp) model.remove('Pod', metadata.name ?? '')
}
const placed = (model: Model) =>
  model
    .all<SchedulablePod>('Pod')
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .map(({ spec }) => `${spec?.nodeName} ${spec?.containers?.[0]?.image}`)
    .sort()

t.test('one pod on each node, and on a node that comes later; none where the node is gone', async (t) => {
  const model = start()
  settle(model)
  t.same(placed(model), ['n1 v1', 'n2 v1', 'n3 v1'])
  t.match(model.get<DaemonSet>('DaemonSet', 'ztunnel').status, {
    desiredNumberScheduled: 3,
    currentNumberScheduled: 3,
    numberReady: 0,
    numberUnavailable: 3,
  })
  startPods(model)
  model.put('Node', node('n4'))
  settle(model)
  t.same(placed(model), ['n1 v1', 'n2 v1', 'n3 v1', 'n4 v1'])
  model.remove('Node', 'n2')
  settle(model, () => endPods(model))
  t.same(placed(model), ['n1 v1', 'n3 v1', 'n4 v1'])
  t.match(model.get<DaemonSet>('DaemonSet', 'ztunnel').status, {
    desiredNumberScheduled: 3,
    numberReady: 2,
    numberAvailable: 2,
  })
})

const places: [string, DaemonSet['spec'], SchedulableNode[], string[]][] = [
  [
    'a selector',
    { template: { spec: { nodeSelector: { disk: 'ssd' } } } },
    [node('n1', { metadata: { labels: { disk: 'ssd' } } }), node('n2')],
    ['n1'],
  ],
  [
    'a taint',
    {},
    [node('n1', { spec: { taints: [{ key: 'gpu', effect: 'NoSchedule' }] } }), node('n2')],
    ['n2'],
  ],
  [
    'a toleration of everything',
    { template: { spec: { tolerations: [{ operator: 'Exists' }] } } },
    [node('n1', { spec: { taints: [{ key: 'gpu', effect: 'NoSchedule' }] } })],
    ['n1'],
  ],
  ['a cordoned node', {}, [node('n1', { spec: { unschedulable: true } })], ['n1']],
  [
    'a node that is not ready: its network may be what the daemon brings',
    {},
    [node('n1', { status: { conditions: [ready(false)] } })],
    ['n1'],
  ],
]
for (const [name, spec, nodes, want] of places)
  t.test(`where a daemon belongs: ${name}`, async (t) => {
    const model = start(spec, nodes)
    settle(model)
    t.same(
      model.all<SchedulablePod>('Pod').map((each) => each.spec?.nodeName),
      want,
    )
  })

t.test('with surge the new pod is ready before the old one goes', async (t) => {
  const model = start({ updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } })
  settle(model)
  startPods(model)
  settle(model)
  model.change('DaemonSet', 'ztunnel', { spec: { template: template('v2') } })
  settle(model)
  t.same(placed(model), ['n1 v1', 'n1 v2', 'n2 v1', 'n3 v1'], 'one node at a time, the old one still runs')
  startPods(model)
  settle(model, () => endPods(model))
  t.same(placed(model), ['n1 v2', 'n2 v1', 'n2 v2', 'n3 v1'])
  settle(model, () => {
    endPods(model)
    startPods(model)
  })
  startPods(model)
  settle(model, () => {
    endPods(model)
    startPods(model)
  })
  t.same(placed(model), ['n1 v2', 'n2 v2', 'n3 v2'])
  t.match(model.get<DaemonSet>('DaemonSet', 'ztunnel').status, {
    updatedNumberScheduled: 3,
    numberAvailable: 3,
    numberUnavailable: 0,
  })
})

t.test('without surge one node at a time goes without, and a broken version stops there', async (t) => {
  const model = start()
  settle(model)
  startPods(model)
  settle(model)
  model.change('DaemonSet', 'ztunnel', { spec: { template: template('broken') } })
  settle(model, () => endPods(model))
  t.same(placed(model), ['n1 broken', 'n2 v1', 'n3 v1'])
  model.change('DaemonSet', 'ztunnel', { spec: { template: template('v3') } })
  settle(model, () => {
    endPods(model)
    startPods(model, ({ spec }) => spec?.containers?.[0]?.image === 'v3')
  })
  t.same(placed(model), ['n1 v3', 'n2 v3', 'n3 v3'])
})

t.test('OnDelete changes nothing until somebody deletes a pod', async (t) => {
  const model = start({ updateStrategy: { type: 'OnDelete' } }, [node('n1')])
  settle(model)
  startPods(model)
  model.change('DaemonSet', 'ztunnel', { spec: { template: template('v2') } })
  settle(model)
  t.same(placed(model), ['n1 v1'])
  for (const { metadata } of model.all('Pod')) model.remove('Pod', metadata.name ?? '')
  settle(model)
  t.same(placed(model), ['n1 v2'])
})

t.test('a failed daemon is made anew, once it is gone', async (t) => {
  const model = start({}, [node('n1')])
  settle(model)
  for (const { metadata } of model.all('Pod'))
    model.change('Pod', metadata.name ?? '', { status: { phase: 'Failed' } })
  const lines = step(model)
  t.match(lines, ['Warning FailedDaemonPod', /^delete Pod/])
  t.notOk(lines.some((line) => line.startsWith('create')))
  endPods(model)
  settle(model)
  t.same(placed(model), ['n1 v1'])
})
