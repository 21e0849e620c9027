import { isRecord } from '#base'

type Fields = Readonly<Record<string, unknown>>
/** What became of a patch. */
type Merged = Readonly<{ kind: 'merged'; value: Fields } | { kind: 'refused'; why: string }>

/**
 * Kubernetes' strategic merge patch, for the kinds that Gateways are deployed as: lists of these fields are merged item by
 * item, told apart by this key; every other list is replaced. (kubernetes: patchMergeKey of the API types.)
 */
const mergeKeys: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  imagePullSecrets: 'name',
  secrets: 'name',
  hostAliases: 'ip',
  topologySpreadConstraints: 'topologyKey',
  schedulingGates: 'name',
  resourceClaims: 'name',
}
/** `ports` of a container and `ports` of a Service have different ones. */
const keyOfPorts = (items: readonly unknown[]) =>
  items.some((item) => isRecord(item) && 'containerPort' in item) ? 'containerPort' : 'port'
/** What is replaced whole all the same, by kind and path. */
const replacedWhole: readonly string[] = [
  'PodDisruptionBudget spec.selector',
  'ServiceAccount imagePullSecrets',
]

/** Nested more deeply than any object of Kubernetes. */
const maxDepth = 64

/** Merges a patch into an object of a kind; neither is changed. */
export function strategicMerge(kind: string, original: Fields, patch: unknown): Merged {
  const replaces: Replaces = (path) => replacedWhole.includes(`${kind} ${path.join('.')}`)
  if (!isRecord(patch)) return { kind: 'refused', why: 'not an object' }
  const why = problemIn(patch, '', 0)
  return why === undefined
    ? { kind: 'merged', value: mergeObjects(original, patch, [], replaces) }
    : { kind: 'refused', why }
}

const unsafe: readonly string[] = ['__proto__', 'constructor', 'prototype']
const deletion = '$deleteFromPrimitiveList/'

/** Everything that a merge could not act on; what passes here cannot fail later. */
function problemIn(value: unknown, path: string, depth: number): string | undefined {
  if (depth > maxDepth) return 'nested too deeply'
  if (Array.isArray(value))
    return firstProblem(
      value.map((item, i) => [`${path}[${i}]`, item] as const),
      depth,
    )
  if (!isRecord(value)) return undefined
  for (const [key, own] of Object.entries(value)) {
    const problem = directiveProblem(key, own) ?? itemProblem(key, own)
    if (problem !== undefined) return `${path === '' ? '' : `${path}.`}${key}${problem}`
  }
  return firstProblem(
    Object.entries(value).map(([key, own]) => [path === '' ? key : `${path}.${key}`, own] as const),
    depth,
  )
}

function directiveProblem(key: string, value: unknown): string | undefined {
  if (unsafe.includes(key)) return ': not a field'
  if (!key.startsWith('$')) return undefined
  if (key === '$patch')
    return value === 'replace' || value === 'merge' || value === 'delete'
      ? undefined
      : ': one of merge, replace, delete'
  if (key !== '$retainKeys' && !key.startsWith(deletion)) return ': unknown directive'
  return Array.isArray(value) ? undefined : ': must be a list'
}

/** An item that cannot be told apart could only be added again and again. */
function itemProblem(field: string, value: unknown): string | undefined {
  if (!Array.isArray(value)) return undefined
  const key = keyOfList(field, value)
  if (key === undefined) return undefined
  const bad = value.findIndex((item) => !isRecord(item) || !(key in item || isWhole(item)))
  return bad < 0 ? undefined : `[${bad}]: has no ${key}`
}

const keyOfList = (field: string, items: readonly unknown[]): string | undefined =>
  field === 'ports' ? keyOfPorts(items) : mergeKeys[field]

/** Says that the list is not to be merged. */
const isWhole = (item: unknown) => isRecord(item) && item['$patch'] === 'replace'

function firstProblem(parts: readonly (readonly [string, unknown])[], depth: number): string | undefined {
  for (const [path, own] of parts) {
    const problem = problemIn(own, path, depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}

type Replaces = (path: readonly string[]) => boolean

function mergeObjects(original: Fields, patch: Fields, path: readonly string[], replaces: Replaces): Fields {
  if (patch['$patch'] === 'delete') return {}
  const fields = Object.entries(patch).filter(([key]) => !key.startsWith('$'))
  const kept = patch['$retainKeys']
  const isKept = (key: string) => !Array.isArray(kept) || kept.includes(key)
  const base = patch['$patch'] === 'replace' ? [] : Object.entries(original).filter(([key]) => isKept(key))
  const merged = new Map<string, unknown>(base)
  for (const [key, value] of fields) {
    if (value === null) merged.delete(key)
    else merged.set(key, mergeValue(merged.get(key), value, [...path, key], replaces))
  }
  for (const [key, values] of Object.entries(patch)) {
    if (!key.startsWith(deletion) || !Array.isArray(values)) continue
    const name = key.slice(deletion.length)
    const list = merged.get(name)
    if (Array.isArray(list))
      merged.set(
        name,
        list.filter((item) => !values.includes(item)),
      )
  }
  return Object.fromEntries(merged)
}

function mergeValue(here: unknown, value: unknown, path: readonly string[], replaces: Replaces): unknown {
  if (Array.isArray(value)) return mergeLists(Array.isArray(here) ? here : [], value, path, replaces)
  if (!isRecord(value)) return value
  return mergeObjects(isRecord(here) && !replaces(path) ? here : {}, value, path, replaces)
}

/** Items of the patch are merged into those with the same key. */
function mergeLists(
  original: readonly unknown[],
  patch: readonly unknown[],
  path: readonly string[],
  replaces: Replaces,
): readonly unknown[] {
  const field = path.at(-1) ?? ''
  const key = keyOfList(field, [...original, ...patch])
  if (key === undefined || replaces(path)) return patch
  const wanted = patch.filter((item) => !isWhole(item))
  const idOf = (item: unknown) => JSON.stringify(isRecord(item) ? item[key] : undefined)
  const isDeletion = (item: unknown) => isRecord(item) && item['$patch'] === 'delete'
  const removed = new Set(wanted.filter(isDeletion).map(idOf))
  const items = wanted.filter((item) => !isDeletion(item))
  if (wanted.length < patch.length) return items.map((item) => mergeValue({}, item, path, replaces))
  const merged = new Map(
    original.filter((item) => !removed.has(idOf(item))).map((item) => [idOf(item), item]),
  )
  for (const item of items)
    merged.set(idOf(item), mergeValue(merged.get(idOf(item)) ?? {}, item, path, replaces))
  return inOrder(merged, items.map(idOf), original.map(idOf))
}

/** As Kubernetes orders them: those of the patch as it has them, and before each of these what was before it already. */
function inOrder(
  merged: ReadonlyMap<string, unknown>,
  named: readonly string[],
  before: readonly string[],
): readonly unknown[] {
  const others = [...merged.keys()].filter((id) => !named.includes(id))
  const out: string[] = []
  for (const id of new Set(named)) {
    const place = before.indexOf(id)
    while (place >= 0 && others[0] !== undefined && before.indexOf(others[0]) < place)
      out.push(...others.splice(0, 1))
    out.push(id)
  }
  return [...out, ...others].map((id) => merged.get(id))
}
