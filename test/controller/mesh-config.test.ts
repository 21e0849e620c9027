import t from 'tap'
import { type ConfigMap, Table } from '#kube'
import { silent } from '#telemetry'
import { liveKey } from '../../controller/collections/index.ts'
import {
  liveSettings,
  liveSettingsFrom,
  meshConfigFrom,
  meshDefaults,
  warnOfRestart,
} from '../../controller/mesh-config.ts'
import { meshDefaultsKey } from '../../controller/routes/index.ts'

const map = (mesh: string | undefined): ConfigMap => ({
  metadata: { namespace: 'istio-system', name: 'istio' },
  ...(mesh === undefined ? {} : { data: { mesh } }),
})
const defaults = liveSettingsFrom({})

t.test('the ConfigMap is followed; what cannot be read leaves what was', async (t) => {
  const maps = new Table<ConfigMap>('configmaps')
  const live = liveSettings(maps.collection, silent)
  const key = 'istio-system/istio'
  const put = (row: ConfigMap | undefined) => maps.apply([{ key, old: maps.get(key), row }])
  const visibility = () => live.get(liveKey)?.entryVisibility.otherwise
  t.equal(live.get(liveKey), undefined, 'no map: the defaults')
  put(map('serviceEntryVisibility: {defaultVisibility: NAMESPACE}'))
  t.equal(visibility(), 'namespace')
  for (const bad of [
    '{',
    '[]',
    'serviceEntryVisibility: 5',
    'serviceEntryVisibility: {defaultVisibility: SOME}',
    'discoverySelectors: {}',
    'defaultServiceExportTo: "."',
  ])
    t.equal((put(map(bad)), visibility()), 'namespace', bad)
  put(map('serviceEntryVisibility: {defaultVisibility: NONE}'))
  t.equal(visibility(), 'nobody')
  put(map(''))
  t.strictSame(live.get(liveKey), defaults)
  put(map(undefined))
  t.strictSame(live.get(liveKey), defaults)
  put(undefined)
  t.equal(live.get(liveKey), undefined)
})

t.test('label selectors are read whole or not at all', async (t) => {
  const read = (selector: unknown) => () => liveSettingsFrom({ discoverySelectors: [selector] })
  const expression = (operator: string, values?: unknown) => ({
    matchExpressions: [{ key: 'k', operator, ...(values === undefined ? {} : { values }) }],
  })
  for (const good of [
    {},
    { matchLabels: { a: 'b' } },
    expression('In', ['a']),
    expression('Exists'),
    expression('DoesNotExist', []),
  ])
    t.doesNotThrow(read(good), JSON.stringify(good))
  for (const bad of [
    5,
    null,
    { matchLabels: { a: 5 } },
    { matchlabels: {} },
    { matchExpressions: {} },
    expression('Like', ['a']),
    expression('In'),
    expression('In', [5]),
    expression('Exists', ['a']),
  ])
    t.throws(read(bad), TypeError, JSON.stringify(bad))
})

t.test('what is for routes is followed too; what cannot be read leaves what was', async (t) => {
  const maps = new Table<ConfigMap>('configmaps')
  const rows = meshDefaults(maps.collection, silent)
  const key = 'istio-system/istio'
  const put = (row: ConfigMap | undefined) => maps.apply([{ key, old: maps.get(key), row }])
  const attempts = () => rows.get(meshDefaultsKey)?.retry.attempts
  put(map('defaultHttpRetryPolicy: {attempts: 7}'))
  t.equal(attempts(), 7)
  for (const bad of [
    '{',
    'defaultHttpRetryPolicy: 5',
    'defaultHttpRetryPolicy: {attempts: -1}',
    'defaultHttpRetryPolicy: {atempts: 1}',
    'connectTimeout: soon',
    'pathNormalization: {normalization: ALL}',
    'pathNormalization: 5',
    'h2UpgradePolicy: SOMETIMES',
    'tcpKeepalive: {probes: few}',
    'defaultTrafficPolicy: {tls: {mode: DISABLE}}',
    'defaultTrafficPolicy: {outlierDetection: {interval: x}}',
    'localityLbSetting: {distribute: [{from: a, to: {b: 10}}]}',
    'localityLbSetting: {failovers: []}',
    'defaultVirtualServiceExportTo: "."',
    'defaultDestinationRuleExportTo: ["no space"]',
  ])
    t.equal((put(map(bad)), attempts()), 7, bad)
  put(map(''))
  t.equal(attempts(), 2)
})

t.test('aliases of the trust domain hold from start to end; a change is told', async (t) => {
  const lines: string[] = []
  const say = (message: string) => void lines.push(message)
  const log = { ...silent, error: say, warn: say }
  const read = (mesh: string) => meshConfigFrom(map(mesh), 'istio-system', log).trustDomainAliases
  t.strictSame(read(''), [])
  t.strictSame(read('trustDomainAliases: [old.example.com, older]'), ['old.example.com', 'older'])
  t.equal(lines.length, 0)
  t.strictSame(read('trustDomainAliases: [old, 5, "UPPER", "a/b"]'), ['old'])
  t.strictSame(read('trustDomainAliases: old'), [])
  t.equal(lines.splice(0).length, 4)
  const maps = new Table<ConfigMap>('configmaps')
  const inUse = { trustDomain: 'cluster.local', trustDomainAliases: ['old'], rootNamespace: 'istio-system' }
  using _watched = warnOfRestart(
    maps.collection,
    inUse,
    { namespace: 'istio-system', trustDomain: undefined },
    log,
  )
  const key = 'istio-system/istio'
  const put = (row: ConfigMap) => maps.apply([{ key, old: maps.get(key), row }])
  put(map('trustDomainAliases: [old]'))
  t.equal(lines.length, 0)
  put(map('trustDomainAliases: [old, older]'))
  t.match(lines, [/restart all replicas/])
})
