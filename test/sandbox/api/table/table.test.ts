import t from 'tap'
import { resourceOf } from '../../../../sandbox/api/rest/kinds.ts'
import { printerOf, tableOf } from '../../../../sandbox/api/table/index.ts'
import { humanDuration } from '../../../../sandbox/api/table/age.ts'
import { jsonPath } from '../../../../sandbox/api/table/json-path.ts'
import { builtinKinds, type KindType } from '../../../../sandbox/api/types/index.ts'

const now = Date.parse('2026-01-02T00:00:00Z')
const metadata = { name: 'x', namespace: 'ns', creationTimestamp: '2026-01-01T00:00:00Z' }
const kindOf = (resource: string): KindType => {
  const found = builtinKinds().find((kind) => resourceOf(kind) === resource)
  if (found === undefined) throw new Error(resource)
  return found
}
const cells = (resource: string, fields: object) => {
  const object = { apiVersion: 'v1', kind: 'X', metadata, ...fields }
  return printerOf(kindOf(resource)).cells(object, now)
}

for (const [seconds, want] of [
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [200, '3m20s'],
  [600, '10m'],
  [7200, '120m'],
  [10_800, '3h'],
  [12_000, '3h20m'],
  [36_000, '10h'],
  [172_800, '2d'],
  [180_000, '2d2h'],
  [864_000, '10d'],
  [70_000_000, '2y80d'],
] as const)
  t.test(`${seconds} seconds are shown as ${want}`, async (t) => t.equal(humanDuration(seconds * 1000), want))

const container = (name: string, more: object = {}) => ({ name, image: 'i', ...more })
const spec = { containers: [container('a'), container('b')], nodeName: 'n1' }
const podCases: [string, object, unknown[]][] = [
  ['a new pod', { spec, status: { phase: 'Pending' } }, ['x', '0/2', 'Pending', '0']],
  [
    'a running pod',
    {
      spec,
      status: {
        phase: 'Running',
        podIP: '10.0.0.1',
        containerStatuses: [
          { ready: true, restartCount: 1, state: { running: {} } },
          { ready: true, restartCount: 2, state: { running: {} } },
        ],
      },
    },
    ['x', '2/2', 'Running', '3'],
  ],
  [
    'a crashing pod',
    {
      spec,
      status: {
        phase: 'Running',
        containerStatuses: [
          {
            ready: false,
            restartCount: 4,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
            lastState: { terminated: { finishedAt: '2026-01-01T23:59:00Z' } },
          },
        ],
      },
    },
    ['x', '0/2', 'CrashLoopBackOff', '4 (60s ago)'],
  ],
  [
    'a failed one',
    {
      spec,
      status: {
        phase: 'Failed',
        containerStatuses: [{ restartCount: 0, state: { terminated: { exitCode: 3 } } }],
      },
    },
    ['x', '0/2', 'ExitCode:3', '0'],
  ],
  [
    'one in its second init step',
    {
      spec: { ...spec, initContainers: [container('i1'), container('i2')] },
      status: {
        phase: 'Pending',
        initContainerStatuses: [
          { name: 'i1', restartCount: 0, state: { terminated: { exitCode: 0 } } },
          { name: 'i2', restartCount: 0, state: { running: {} } },
        ],
      },
    },
    ['x', '0/2', 'Init:1/2', '0'],
  ],
  [
    'one whose sidecar runs',
    {
      spec: { ...spec, initContainers: [container('s', { restartPolicy: 'Always' })] },
      status: {
        phase: 'Running',
        initContainerStatuses: [{ name: 's', started: true, restartCount: 0, state: { running: {} } }],
        containerStatuses: [{ ready: true, restartCount: 0, state: { running: {} } }],
      },
    },
    ['x', '1/2', 'Running', '0'],
  ],
  [
    'one that is leaving',
    {
      metadata: { ...metadata, deletionTimestamp: '2026-01-02T00:00:00Z' },
      spec,
      status: { phase: 'Running' },
    },
    ['x', '0/2', 'Terminating', '0'],
  ],
]
for (const [name, fields, want] of podCases)
  t.test(`${name} is shown as ${want.join(' ')}`, async (t) =>
    t.same(cells('pods', fields).slice(0, 4), want),
  )

const otherCases: [string, object, unknown[]][] = [
  [
    'deployments.apps',
    { spec: { replicas: 3 }, status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 } },
    ['x', '1/3', 2, 1, '24h'],
  ],
  [
    'daemonsets.apps',
    { spec: {}, status: { desiredNumberScheduled: 2, numberReady: 1 } },
    ['x', 2, 0, 1, 0, 0, '<none>', '24h'],
  ],
  [
    'services',
    {
      spec: {
        type: 'NodePort',
        clusterIP: '10.96.0.9',
        ports: [{ port: 80, nodePort: 30_080, protocol: 'TCP' }],
      },
    },
    ['x', 'NodePort', '10.96.0.9', '<none>', '80:30080/TCP', '24h'],
  ],
  [
    'services',
    { spec: { type: 'LoadBalancer', ports: [] } },
    ['x', 'LoadBalancer', '<none>', '<pending>', '<none>', '24h'],
  ],
  [
    'nodes',
    { spec: { unschedulable: true }, status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    ['x', 'Ready,SchedulingDisabled', '<none>', '24h', '<unknown>'],
  ],
  ['secrets', { type: 'Opaque', data: { a: '', b: '' } }, ['x', 'Opaque', 2, '24h']],
  [
    'events',
    {
      lastTimestamp: '2026-01-01T23:59:30Z',
      type: 'Normal',
      reason: 'R',
      involvedObject: { kind: 'Pod', name: 'p' },
      message: 'm\n',
    },
    ['30s', 'Normal', 'R', 'pod/p', 'm'],
  ],
  [
    'endpointslices.discovery.k8s.io',
    {
      addressType: 'IPv4',
      ports: [{ port: 80 }],
      endpoints: ['1', '2', '3', '4'].map((n) => ({ addresses: [n] })),
    },
    ['x', 'IPv4', '80', '1,2,3 + 1 more...', '24h'],
  ],
  ['ingresses.networking.k8s.io', {}, ['x', '24h']],
]
for (const [resource, fields, want] of otherCases)
  t.test(`${resource} show ${want.join(' ')}`, async (t) =>
    t.same(cells(resource, fields).slice(0, want.length), want),
  )

t.test('objects of any shape can be shown by every printer', async (t) => {
  const odd = [
    {},
    { spec: null, status: 'x', data: [] },
    {
      spec: { ports: [1, null], containers: 'no', selector: 7 },
      status: { conditions: [null, 'x'], containerStatuses: [4] },
    },
  ]
  for (const kind of builtinKinds())
    for (const fields of odd)
      t.doesNotThrow(
        () => printerOf(kind).cells({ apiVersion: 'v1', kind: 'X', metadata, ...fields }, now),
        kind.kind,
      )
})

const value = {
  spec: {
    a: [
      { t: 'X', s: 1 },
      { t: 'Y', s: 2 },
    ],
    'b.c/d': 'e',
  },
}
const paths: [string, unknown[]][] = [
  ['.spec.a[0].s', [1]],
  ['.spec.a[*].s', [1, 2]],
  ['.spec.a[?(@.t=="Y")].s', [2]],
  [".spec['b.c/d']", ['e']],
  ['.spec.b\\.c/d', ['e']],
  ['{.spec.a[-1].t}', ['Y']],
  ['.spec.none.more', []],
  ['.spec.a[', []],
  ['.spec.a[?(@.t=~"Y")]', []],
]
for (const [path, want] of paths) t.test(`JSONPath ${path}`, async (t) => t.same(jsonPath(value, path), want))

t.test('the columns of a CRD are shown by type', async (t) => {
  const columns = [
    { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
    { name: 'Wrong', type: 'integer', jsonPath: '.spec.word' },
    { name: 'Since', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    { name: 'List', type: 'string', jsonPath: '.spec.list' },
    { name: 'Lost', type: 'string', jsonPath: '.spec.lost', priority: 1 },
  ]
  const kind: KindType = { ...kindOf('configmaps'), custom: true, printerColumns: columns }
  const object = { apiVersion: 'e/v1', kind: 'T', metadata, spec: { size: 3, word: 'w', list: ['a', 'b'] } }
  const table = tableOf(kind, [object], { now, include: 'None', metadata: {}, version: 'v1' })
  t.match(table, { kind: 'Table', rows: [{ cells: ['x', 3, null, '24h', '["a","b"]', null] }] })
  t.match(table['columnDefinitions'], [{ name: 'Name', format: 'name' }, {}, {}, {}, {}, { priority: 1 }])
})
