import { isRecord } from '#base'
import type { Fetch, Collection } from '#kube'
import type { ConnectionLimits, HttpRule, LocalityPolicy, PathSpelling, RetryPolicy } from '#routes'
import { isUnsaid, usualRetry } from './defaults.ts'
import { type Field, itemsOf, partsOf, problem, textOf, wordOf } from './gateway-api-fields.ts'
import { readRetries } from './istio-actions.ts'
import { given, type Given } from './istio-fields.ts'
import { type Groups, readTrafficPolicy } from './istio-traffic-policy.ts'

/** What the mesh's settings say of routes and destinations that do not say it themselves. */
export type MeshDefaults = Readonly<{
  /** defaultHttpRetryPolicy */
  retry: RetryPolicy
  /** connectTimeout and tcpKeepalive */
  limits: Partial<ConnectionLimits>
  /** h2UpgradePolicy: ports declared as HTTP/1.1 are called by HTTP/2. */
  upgrades: boolean
  /** defaultTrafficPolicy: a DestinationRule's parts stand in place of its. */
  groups: Given<Pick<Required<Groups>, 'connectionPool' | 'outliers'>>
  /** localityLbSetting */
  locality: Readonly<{ enabled: boolean; policy?: LocalityPolicy }>
  /** pathNormalization */
  paths?: PathSpelling
  /** Empty: everybody. */
  exportTo: Readonly<{ virtualService: readonly string[]; destinationRule: readonly string[] }>
}>

/** Istio's. */
const usualMeshDefaults: MeshDefaults = {
  retry: usualRetry,
  limits: {},
  upgrades: false,
  groups: {},
  locality: { enabled: true },
  exportTo: { virtualService: [], destinationRule: [] },
}

/** Its row in a collection of one. */
export const meshDefaultsKey = 'mesh'
export const meshDefaultsOf = (fetch: Fetch, rows: Collection<MeshDefaults>): MeshDefaults =>
  fetch.one(rows, meshDefaultsKey) ?? usualMeshDefaults

/** Throws a TypeError that names the fields which cannot be read; what is not done is in `remarks`. */
export function readMeshDefaults(
  mesh: unknown,
): Readonly<{ defaults: MeshDefaults; remarks: readonly string[] }> {
  if (!isRecord(mesh)) throw new TypeError('mesh: not a map')
  const notes = { problems: [] as string[], remarks: [] as string[] }
  const field = (name: string, value = mesh[name]): Field => ({ value, path: name, problems: notes.problems })
  const isSaid = (name: string) => mesh[name] !== undefined && mesh[name] !== null
  const base = field('defaultTrafficPolicy')
  partsOf(base, ['connectionPool', 'outlierDetection'])
  const { connectTimeout, tcpKeepalive } = mesh
  const pool = readTrafficPolicy(
    { ...field('tcp'), path: 'mesh', value: { connectionPool: { tcp: { connectTimeout, tcpKeepalive } } } },
    notes,
  ).groups.connectionPool
  const locality = isSaid('localityLbSetting')
    ? readTrafficPolicy(
        {
          ...field('mesh'),
          value: { loadBalancer: { localityLbSetting: mesh['localityLbSetting'] }, outlierDetection: {} },
        },
        notes,
      ).groups.loadBalancer
    : undefined
  const groups = notes.problems.length === 0 ? readTrafficPolicy(base, notes).groups : {}
  const defaults: MeshDefaults = {
    retry: isSaid('defaultHttpRetryPolicy')
      ? readRetries(field('defaultHttpRetryPolicy'), notes)
      : usualRetry,
    limits: pool?.limits ?? {},
    upgrades: wordOf(field('h2UpgradePolicy'), ['DO_NOT_UPGRADE', 'UPGRADE']) === 'UPGRADE',
    groups: given({ connectionPool: groups.connectionPool, outliers: groups.outliers }),
    locality: {
      enabled: locality?.localityEnabled !== false,
      ...given({ policy: locality?.locality }),
    },
    ...given({ paths: isSaid('pathNormalization') ? pathsOf(field('pathNormalization')) : undefined }),
    exportTo: {
      virtualService: exportOf(field('defaultVirtualServiceExportTo')),
      destinationRule: exportOf(field('defaultDestinationRuleExportTo')),
    },
  }
  if (notes.problems.length > 0) throw new TypeError(notes.problems.join('; '))
  return { defaults, remarks: notes.remarks }
}

const spellings: Readonly<Record<string, PathSpelling | undefined>> = {
  MERGE_SLASHES: 'merge-slashes',
  DECODE_AND_MERGE_SLASHES: 'decode-and-merge-slashes',
}

/** What asks for less than BASE has BASE; mesh-config-told.ts says so. */
function pathsOf(field: Field): PathSpelling | undefined {
  const word = wordOf(partsOf(field, ['normalization'])?.normalization, [
    'DEFAULT',
    'NONE',
    'BASE',
    'MERGE_SLASHES',
    'DECODE_AND_MERGE_SLASHES',
  ])
  return word && spellings[word]
}

const namespace = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

const exportOf = (field: Field): readonly string[] =>
  itemsOf(field).flatMap((item) => {
    const to = textOf(item)
    if (to === undefined) return []
    return ['*', '.', '~'].includes(to) || namespace.test(to)
      ? [to]
      : (problem(item, 'is neither *, ., ~ nor a namespace') ?? [])
  })

/** Where a route says nothing of retries the mesh's own count, within the time that the route gives one try. */
export const withMeshRetries = (rules: readonly HttpRule[], retry: RetryPolicy): readonly HttpRule[] =>
  retry === usualRetry
    ? rules
    : rules.map((rule) =>
        rule.action.kind === 'forward' && isUnsaid(rule.action.retry)
          ? { ...rule, action: { ...rule.action, retry: beside(rule.action.retry, retry) } }
          : rule,
      )

const beside = ({ perTryTimeoutMs }: RetryPolicy, mesh: RetryPolicy): RetryPolicy =>
  perTryTimeoutMs === 0 ? mesh : { ...mesh, perTryTimeoutMs }
