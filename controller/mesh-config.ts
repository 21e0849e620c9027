import { isDeepStrictEqual } from 'node:util'
import { parse } from 'yaml'
import { isRecord, messageOf } from '#base'
import { type Collection, type ConfigMap, deriveMany } from '#kube'
import type { Logger } from '#telemetry'
import {
  type EntryVisibility,
  type LabelSelector,
  liveKey,
  type LiveSettings,
  parseLabelSelector,
  seenThrough,
  type Settings,
} from './collections/index.ts'

import { type MeshDefaults, meshDefaultsKey, readMeshDefaults } from './routes/index.ts'

/** What of the ConfigMap `istio` holds from start to end; identities and the CA hang on it. */
type MeshConfig = Readonly<{
  trustDomain: string
  trustDomainAliases: readonly string[]
  rootNamespace: string
}>

/** Of a revision, by Istio's names. */
export const meshConfigMap = (revision: string): string =>
  revision === 'default' ? 'istio' : `istio-${revision}`

const domain = /^[a-z0-9._-]{1,255}$/
const namespaceName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** Reads `mesh` of the ConfigMap; what is missing or unreadable is Istio's default, and the log says so. */
export function meshConfigFrom(map: ConfigMap | undefined, namespace: string, log: Logger): MeshConfig {
  const defaults = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: namespace }
  const text = map?.data?.['mesh']
  if (text === undefined) return defaults
  try {
    const mesh: unknown = parse(text) ?? {}
    if (!isRecord(mesh)) throw new TypeError('not a map')
    const read = (field: 'trustDomain' | 'rootNamespace', pattern: RegExp): string => {
      const value = mesh[field]
      if (value === undefined || value === '') return defaults[field]
      if (typeof value === 'string' && pattern.test(value)) return value
      log.error('a field of the ConfigMap istio cannot be read; using its default', { field, value })
      return defaults[field]
    }
    return {
      trustDomain: read('trustDomain', domain),
      trustDomainAliases: aliasesIn(mesh['trustDomainAliases'], log),
      rootNamespace: read('rootNamespace', namespaceName),
    }
  } catch (error) {
    log.error('the ConfigMap istio cannot be read; using defaults', { error: messageOf(error) })
    return defaults
  }
}

/** One that cannot be read is left out: nobody is known by it. */
function aliasesIn(value: unknown, log: Logger): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value)
    ? value
    : value === undefined || value === null
      ? []
      : [value]
  return list.filter((one): one is string => {
    const isGood = Array.isArray(value) && typeof one === 'string' && domain.test(one)
    if (!isGood)
      log.error('an alias of the trust domain cannot be read; nobody is known by it', { alias: one })
    return isGood
  })
}

/** What of the ConfigMap may change while we run. A version of it that cannot be read leaves the last good one. */
export const liveSettings = (maps: Collection<ConfigMap>, log: Logger): Collection<LiveSettings> =>
  deriveMany('MeshConfig', maps, ({ data }) => [liveSettingsFrom(parse(data?.['mesh'] ?? '{}') ?? {})], {
    log,
    keyOf: () => liveKey,
  })

/** What of it is for routes and destinations, likewise. */
export const meshDefaults = (maps: Collection<ConfigMap>, log: Logger): Collection<MeshDefaults> =>
  deriveMany(
    'MeshDefaults',
    maps,
    ({ data }) => [readMeshDefaults(parse(data?.['mesh'] ?? '{}') ?? {}).defaults],
    {
      log,
      keyOf: () => meshDefaultsKey,
    },
  )

/** Says when the ConfigMap changes what cannot change while we run; a trust domain of our environment is not its to say. */
export const warnOfRestart = (
  maps: Collection<ConfigMap>,
  inUse: Pick<Settings, keyof MeshConfig>,
  { namespace, trustDomain: own }: Readonly<{ namespace: string; trustDomain: string | undefined }>,
  log: Logger,
): Disposable =>
  maps.subscribe((changes) => {
    for (const { row } of changes) {
      const said = meshConfigFrom(row, namespace, log)
      const changed = { ...said, trustDomain: own ?? said.trustDomain }
      for (const field of ['trustDomain', 'trustDomainAliases', 'rootNamespace'] as const)
        if (!isDeepStrictEqual(inUse[field] ?? [], changed[field]))
          log.warn(
            'the ConfigMap istio has changed a field that is read at start only; restart all replicas',
            {
              field,
              inUse: inUse[field],
              wanted: changed[field],
            },
          )
    }
  })

/** Throws a TypeError that names the field which cannot be read. */
export function liveSettingsFrom(mesh: unknown): LiveSettings {
  if (!isRecord(mesh)) throw new TypeError('mesh: not a map')
  const { defaultVisibility, policies } = recordOf(mesh['serviceEntryVisibility'], 'serviceEntryVisibility')
  const exported = listOf(mesh['defaultServiceExportTo'], 'defaultServiceExportTo')
  return {
    exportTo: seenThrough(exported) ?? 'everybody',
    discoverySelectors: listOf(mesh['discoverySelectors'], 'discoverySelectors').map(selectorOf),
    entryVisibility: {
      otherwise: visibilityOf(defaultVisibility ?? 'PUBLIC'),
      rules: listOf(policies, 'serviceEntryVisibility.policies').map((value) => {
        const { visibility, matchingRules } = recordOf(value, 'serviceEntryVisibility.policies[]')
        const rules = listOf(matchingRules, 'serviceEntryVisibility.policies[].matchingRules')
        return {
          visibility: visibilityOf(visibility),
          namespaces: rules.map((rule) => selectorOf(recordOf(rule, 'matchingRules[]')['namespaceSelector'])),
        }
      }),
    },
  }
}

const visibilities: ReadonlyMap<unknown, EntryVisibility> = new Map([
  ['PUBLIC', 'everybody'],
  ['NAMESPACE', 'namespace'],
  ['NONE', 'nobody'],
])

function visibilityOf(value: unknown): EntryVisibility {
  const known = visibilities.get(value)
  if (known === undefined) throw new TypeError(`serviceEntryVisibility: ${JSON.stringify(value)} is unknown`)
  return known
}

function selectorOf(value: unknown): LabelSelector {
  const selector = parseLabelSelector(value)
  if (selector === undefined) throw new TypeError(`not a label selector: ${JSON.stringify(value)}`)
  return selector
}

function recordOf(value: unknown, path: string): Record<string, unknown> {
  if (value === undefined || value === null) return {}
  if (!isRecord(value)) throw new TypeError(`${path}: not a map`)
  return value
}

function listOf(value: unknown, path: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new TypeError(`${path}: not a list`)
  return value
}
