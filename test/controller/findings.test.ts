import t from 'tap'
import { type Custom, keyOf, type Namespace, type Pod, Table } from '#kube'
import { isRecord } from '#base'
import { startLogging } from '#telemetry'
import { meshFrom } from '../../controller/collections/index.ts'
import { logFindings } from '../../controller/findings.ts'
import { liveSettingsFrom } from '../../controller/mesh-config.ts'
import { inputsOf, type Objects, settings } from './collections/world.ts'
import { namespace as namespaceOf, pod as podOf, type PodOptions } from './objects.ts'

const pod = (ns: string, name: string, o: PodOptions = {}) => podOf(ns, name, o) as unknown as Pod
const namespace = (name: string, labels = {}) => namespaceOf(name, labels) as Namespace
const wp = { 'istio.io/use-waypoint': 'wp' }
const entry = (name: string, spec: object): Custom => ({
  metadata: { name, namespace: 'shop', creationTimestamp: `2026-01-01T00:00:0${name.length}Z` },
  spec: { hosts: ['a.example.com'], ports: [{ number: 80, name: 'http' }], resolution: 'STATIC', ...spec },
})

/** The log lines of a mesh of these objects, and a way to change its pods. */
function said(objects: Objects, mesh: unknown = {}) {
  const lines: Record<string, unknown>[] = []
  const logs = startLogging({
    format: 'json',
    write: (line) => {
      const parsed: unknown = JSON.parse(line)
      if (isRecord(parsed)) lines.push(parsed)
    },
  })
  const pods = new Table<Pod>('pods')
  const inputs = { ...inputsOf({ ...objects, live: liveSettingsFrom(mesh) }), pods: pods.collection }
  const log = logs.root('test')
  const open = logFindings(inputs, meshFrom(inputs, settings), settings, log)
  const put = (row: Pod) => pods.apply([{ key: keyOf(row), old: pods.get(keyOf(row)), row }])
  const text = () =>
    lines.map((line) =>
      Object.entries(line)
        .filter(([key]) => !['time', 'level', 'scope', 'target'].includes(key))
        .map(([, value]) => (isRecord(value) ? JSON.stringify(value) : String(value)))
        .join(' '),
    )
  return { text, put, [Symbol.dispose]: () => open[Symbol.dispose]() }
}

t.test('what is not served or enforced as written is said once', async (t) => {
  using world = said({
    serviceEntries: [
      entry('good', {}),
      entry('younger', {}),
      entry('bad', { hosts: ['bad/host'] }),
      entry('some', { hosts: ['b.example.com'], exportTo: ['bank'] }),
    ],
    workloadEntries: [{ metadata: { name: 'vm', namespace: 'shop' }, spec: { address: '' } }],
    policies: [
      { metadata: { name: 'ok', namespace: 'shop' }, spec: { rules: [{}] } },
      { metadata: { name: 'to', namespace: 'shop' }, spec: { targetRef: { kind: 'Service', name: 'x' } } },
    ],
  })
  const lines = world.text()
  t.equal(
    lines.filter((line) => /shop\/younger.*HostConflict a.example.com/.test(line)).length,
    1,
    lines.join('\n'),
  )
  t.equal(lines.filter((line) => /shop\/bad.*Invalid/.test(line)).length, 1)
  t.equal(lines.filter((line) => /shop\/some.*not narrower/.test(line)).length, 1)
  t.equal(lines.filter((line) => /shop\/vm.*Invalid/.test(line)).length, 1)
  t.equal(lines.filter((line) => /shop\/to.*TargetNotFound/.test(line)).length, 1)
  t.equal(lines.length, 5, 'and nothing of those that are')
})

t.test('a namespace and a pod that ask for a waypoint which is not there', async (t) => {
  using world = said({
    namespaces: [namespace('shop', wp), namespace('bank', { 'istio.io/use-waypoint': 'none' })],
  })
  t.match(world.text(), [/a namespace asks.*shop shop\/wp WaypointIsNotReady/])
  world.put(pod('shop', 'a', { labels: wp }))
  t.match(world.text()[1] ?? '', /a pod asks.*shop\/a shop\/wp WaypointIsNotReady/)
  world.put(pod('shop', 'a', { labels: wp, ip: '10.0.0.7' }))
  world.put(pod('shop', 'b'))
  t.equal(world.text().length, 2, 'said when the label is new, and for labels of their own only')
})

t.test('a root namespace that is not looked at', async (t) => {
  const mesh = { discoverySelectors: [{ matchLabels: { mesh: 'on' } }] }
  using world = said({ namespaces: [namespace('shop'), namespace('istio-system')] }, mesh)
  t.match(world.text(), [/discoverySelectors leave out the root namespace.*istio-system/])
  using fine = said({ namespaces: [namespace('shop'), namespace('istio-system', { mesh: 'on' })] }, mesh)
  t.strictSame(fine.text(), [])
})
