import t from 'tap'
import { type ConfigMap, Table } from '#kube'
import { silent } from '#telemetry'
import { liveKey } from '../../controller/collections/index.ts'
import { liveSettings, liveSettingsFrom } from '../../controller/mesh-config.ts'

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
