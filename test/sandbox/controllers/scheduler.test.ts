import t from 'tap'
import type { PodSpec, SchedulableNode } from '../../../sandbox/controllers/objects.ts'
import { schedule, schedulePlan } from '../../../sandbox/controllers/scheduler.ts'
import { node, now, pod, ready, told } from './world.ts'

const owner = (uid: string) => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  name: uid,
  uid,
  controller: true,
})
const on = (nodeName: string, name: string, uid?: string, spec: PodSpec = {}) =>
  pod(name, {
    metadata: {
      name,
      namespace: 'shop',
      labels: { app: 'x' },
      ...(uid && { ownerReferences: [owner(uid)] }),
    },
    spec: { nodeName, ...spec },
  })
const port = (hostPort: number): PodSpec => ({
  containers: [{ name: 'a', ports: [{ containerPort: 80, hostPort }] }],
})
const zone = (value: string) => ({ metadata: { labels: { zone: value } } })
const required = (operator: string, values?: string[]): PodSpec => ({
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator, ...(values && { values }) }] }],
      },
    },
  },
})
const apart: PodSpec = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'x' } } },
      ],
    },
  },
}
const taint = { key: 'gpu', value: 'yes', effect: 'NoSchedule' }
const two = [node('n1'), node('n2')]

const cases: [string, PodSpec, SchedulableNode[], ReturnType<typeof on>[], string][] = [
  ['nobody anywhere', {}, two, [], 'n1'],
  ['the emptier node', {}, two, [on('n1', 'a')], 'n2'],
  ['away from siblings, however full', {}, two, [on('n1', 'a', 'own'), on('n2', 'b'), on('n2', 'c')], 'n2'],
  ['finished pods take no room', {}, two, [{ ...on('n1', 'a'), status: { phase: 'Succeeded' } }], 'n1'],
  [
    'a node selector',
    { nodeSelector: { zone: 'b' } },
    [node('n1', zone('a')), node('n2', zone('b'))],
    [],
    'n2',
  ],
  [
    'a selector that nothing has',
    { nodeSelector: { zone: 'c' } },
    two,
    [],
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
  ],
  ['affinity In', required('In', ['b']), [node('n1', zone('a')), node('n2', zone('b'))], [], 'n2'],
  ['affinity NotIn', required('NotIn', ['a']), [node('n1', zone('a')), node('n2', zone('b'))], [], 'n2'],
  ['affinity Exists', required('Exists'), [node('n1'), node('n2', zone('b'))], [], 'n2'],
  ['affinity DoesNotExist', required('DoesNotExist'), [node('n1', zone('a')), node('n2')], [], 'n2'],
  [
    'an operator that nobody knows matches nothing',
    required('Like', ['a']),
    [node('n1', zone('a'))],
    [],
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
  ],
  ['a taint', {}, [node('n1', { spec: { taints: [taint] } }), node('n2')], [on('n2', 'a')], 'n2'],
  [
    'a tolerated taint',
    { tolerations: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] },
    [node('n1', { spec: { taints: [taint] } })],
    [],
    'n1',
  ],
  [
    'a toleration of another value',
    { tolerations: [{ key: 'gpu', value: 'no' }] },
    [node('n1', { spec: { taints: [taint] } })],
    [],
    '0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.',
  ],
  [
    'PreferNoSchedule keeps nobody away',
    {},
    [node('n1', { spec: { taints: [{ ...taint, effect: 'PreferNoSchedule' }] } })],
    [],
    'n1',
  ],
  [
    'a node that is not ready',
    {},
    [node('n1', { status: { conditions: [ready(false)] } }), node('n2')],
    [on('n2', 'a')],
    'n2',
  ],
  [
    'a cordoned node',
    {},
    [node('n1', { spec: { unschedulable: true } })],
    [],
    '0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unschedulable: }.',
  ],
  [
    'a taken host port',
    port(80),
    two,
    [on('n1', 'a', undefined, port(80)), on('n2', 'b'), on('n2', 'c')],
    'n2',
  ],
  [
    'a full node',
    {},
    [node('n1', { status: { conditions: [ready()], allocatable: { pods: '1' } } })],
    [on('n1', 'a')],
    '0/1 nodes are available: 1 Too many pods.',
  ],
  ['required anti-affinity', apart, two, [on('n1', 'a')], 'n2'],
  [
    'required anti-affinity everywhere',
    apart,
    two,
    [on('n1', 'a'), on('n2', 'b')],
    "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
  ],
  ['no nodes at all', {}, [], [], '0/0 nodes are available.'],
]
for (const [name, spec, nodes, placed, want] of cases)
  t.test(`${name}: ${want}`, async (t) => {
    const waiting = pod('p', {
      metadata: { name: 'p', namespace: 'shop', ownerReferences: [owner('own')] },
      spec,
    })
    const placement = schedule(waiting, nodes, placed)
    t.equal(placement.kind === 'bind' ? placement.node : placement.message, want)
  })

t.test('a pod that fits nowhere is told so once', async (t) => {
  const waiting = pod('p', { spec: { nodeSelector: { zone: 'c' } } })
  const lines = told(schedulePlan(waiting, two, [], now))
  t.match(lines, [
    /^patch Pod p status .*"type":"PodScheduled","status":"False","reason":"Unschedulable"/,
    'Warning FailedScheduling',
  ])
  const message = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
  const condition = { type: 'PodScheduled', status: 'False' as const, message }
  t.same(schedulePlan({ ...waiting, status: { conditions: [condition] } }, two, [], now), [])
})

t.test('only pods that wait for us are placed', async (t) => {
  const cases: [string, ReturnType<typeof pod>, number][] = [
    ['waiting', pod('p'), 2],
    ['placed', pod('p', { spec: { nodeName: 'n1' } }), 0],
    ['of another scheduler', pod('p', { spec: { schedulerName: 'mine' } }), 0],
    ['gated', pod('p', { spec: { schedulingGates: [{ name: 'x' }] } }), 0],
    ['deleted', pod('p', { metadata: { name: 'p', deletionTimestamp: '2026-01-01T00:00:00Z' } }), 0],
  ]
  for (const [name, waiting, actions] of cases)
    t.equal(schedulePlan(waiting, two, [], now).length, actions, name)
})
