import t from 'tap'
import { type Collection, type Custom, fixed, type Pod, Table } from '#kube'
import { labelOf, toldLabels, workload } from '#wire'
import { labelKeys, meshFrom } from '../../../controller/collections/index.ts'
import { inputsOf, pod, settings, uid } from './world.ts'

const custom = (spec: unknown): Custom => ({ metadata: { namespace: 'shop', name: 'o' }, spec }) as Custom
const asked = (rules: readonly unknown[], services: readonly unknown[] = []) => {
  const of = (name: string, specs: readonly unknown[]) =>
    fixed<Custom>(name, Object.fromEntries(specs.map((spec, i) => [`shop/${i}`, custom(spec)])))
  return labelKeys({ destinationRules: of('d', rules), virtualServices: of('v', services) })
}
const labelled = (labels: Record<string, string>): Pod => {
  const base = pod()
  return { ...base, metadata: { ...base.metadata, labels } }
}
const rowOf = (one: Pod, keys?: Collection<readonly string[]>): workload.Workload => {
  const row = meshFrom(inputsOf({ pods: [one] }), settings, undefined, keys).workloads.get(uid)
  if (!row) throw new Error('no row')
  return row
}
const told = (row: workload.Workload) => Object.fromEntries(toldLabels(row.extensions))

const keyCases: [title: string, rules: readonly unknown[], services: readonly unknown[], keys: string[]][] = [
  ['nobody asks', [], [{ http: [{ match: [{ uri: { exact: '/' } }] }] }], []],
  [
    'subsets',
    [{ subsets: [{ labels: { track: 'a', tier: 'b' } }, { labels: { track: 'c' } }] }],
    [],
    ['tier', 'track'],
  ],
  [
    'failover by labels, of every place where it can be said',
    [
      { trafficPolicy: { loadBalancer: { localityLbSetting: { failoverPriority: ['rack', 'row=3'] } } } },
      {
        subsets: [
          {
            trafficPolicy: {
              portLevelSettings: [{ loadBalancer: { localityLbSetting: { failoverPriority: ['hall'] } } }],
            },
          },
        ],
      },
    ],
    [],
    ['hall', 'rack', 'row'],
  ],
  [
    'clients',
    [],
    [
      { http: [{ match: [{ sourceLabels: { a: '1' } }] }], tls: [{ match: [{ sourceLabels: { b: '1' } }] }] },
      { tcp: [{ match: [{ sourceLabels: { c: '1' } }] }] },
    ],
    ['a', 'b', 'c'],
  ],
  [
    'garbage asks for nothing',
    [null, { subsets: 'x' }, { subsets: [null, { labels: ['x'] }] }, { trafficPolicy: [] }],
    [{ http: { match: 1 } }, { http: [null, { match: [3, { sourceLabels: 'a' }] }] }],
    [],
  ],
]
for (const [title, rules, services, keys] of keyCases)
  t.test(`labels that are asked for: ${title}`, async (t) => {
    t.same(asked(rules, services).get('all'), keys)
  })

t.test('a pod tells of the labels that are asked for, and of no others', async (t) => {
  const keys = asked([{ subsets: [{ labels: { track: 'x', 'pod-template-hash': 'y' } }] }])
  const row = rowOf(labelled({ track: 'canary', 'pod-template-hash': '5d7', secret: 'z' }), keys)
  t.same(told(row), { track: 'canary', 'pod-template-hash': '5d7' })
  const decoded = workload.Workload.decode(workload.Workload.encode(row).finish())
  t.same(told(decoded), told(row), 'also over the wire')
})

t.test('a row is as it was, byte for byte, where nothing is asked or the row tells it itself', async (t) => {
  const bytesOf = (row: workload.Workload) =>
    Buffer.from(workload.Workload.encode(row).finish()).toString('hex')
  const one = labelled({ app: 'order', version: 'v2', other: 'x' })
  const before = bytesOf(rowOf(one))
  for (const labels of [{}, { track: 'a' }, { version: 'v1' }, { app: 'order', version: 'v2' }])
    t.equal(bytesOf(rowOf(one, asked([{ subsets: [{ labels }] }]))), before, JSON.stringify(labels))
})

t.test('what the row would tell wrongly is told', async (t) => {
  const keys = asked([{ subsets: [{ labels: { app: 'a', version: 'v' } }] }])
  const read = (labels: Record<string, string>, key: string) => {
    const row = rowOf(labelled(labels), keys)
    return labelOf(row, toldLabels(row.extensions), key)
  }
  t.equal(read({}, 'app'), '', 'the name of a Deployment is no label')
  t.equal(read({}, 'version'), '', 'nor is the version that everybody has')
  t.equal(read({ version: 'latest' }, 'version'), 'latest')
  t.equal(read({ app: 'a', 'service.istio.io/canonical-name': 'b' }, 'app'), 'a')
  t.equal(read({ version: 'v1' }, 'version'), 'v1')
  t.equal(read({ 'topology.kubernetes.io/zone': 'lie' }, 'topology.kubernetes.io/zone'), '')
})

t.test('workloads are told anew when somebody begins or ends to ask', async (t) => {
  const rules = new Table<Custom>('d')
  rules.markSynced()
  const keys = labelKeys({ destinationRules: rules.collection, virtualServices: fixed('v', {}) })
  const mesh = meshFrom(inputsOf({ pods: [labelled({ track: 'canary' })] }), settings, undefined, keys)
  let changes = 0
  using _ = mesh.workloads.subscribe((all) => void (changes += all.length))
  const before = changes
  const rule = custom({ subsets: [{ name: 'c', labels: { track: 'canary' } }] })
  rules.apply([{ key: 'shop/o', old: undefined, row: rule }])
  t.same(told(mesh.workloads.get(uid) as workload.Workload), { track: 'canary' })
  t.equal(changes, before + 1)
  const again = custom({ subsets: [{ name: 'c', labels: { track: 'stable' } }] })
  rules.apply([{ key: 'shop/o', old: rule, row: again }])
  t.equal(changes, before + 1, 'the same labels: nothing changes')
  rules.apply([{ key: 'shop/o', old: again, row: undefined }])
  t.same(mesh.workloads.get(uid)?.extensions, [])
})
