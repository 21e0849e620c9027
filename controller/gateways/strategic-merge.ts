import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'

type Fields = Readonly<Record<string, unknown>>
/** What became of a patch. */
export type Merged = Readonly<{ kind: 'merged'; value: Fields } | { kind: 'refused'; why: string }>

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
/** Objects that are replaced whole, by kind and path. */
const replacedWhole: readonly string[] = ['PodDisruptionBudget spec.selector']

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
const prefixed = (key: string) =>
  ['$setElementOrder/', '$deleteFromPrimitiveList/'].some((prefix) => key.startsWith(prefix))

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
    if (unsafe.includes(key)) return `${path}.${key}: not a field`
    if (key === '$patch' && own !== 'replace' && own !== 'merge' && own !== 'delete')
      return `${path}.$patch: one of merge, replace, delete`
    const isList = key === '$retainKeys' || prefixed(key)
    if (isList && !Array.isArray(own)) return `${path}.${key}: must be a list`
    if (key.startsWith('$') && key !== '$patch' && !isList) return `${path}.${key}: unknown directive`
  }
  return firstProblem(
    Object.entries(value).map(([key, own]) => [path === '' ? key : `${path}.${key}`, own] as const),
    depth,
  )
}

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
    const name = key.startsWith('$deleteFromPrimitiveList/') ? key.slice(key.indexOf('/') + 1) : undefined
    const list = name === undefined ? undefined : merged.get(name)
    if (name !== undefined && Array.isArray(list) && Array.isArray(values))
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

/** Items of the patch are merged into those with the same key, in their places; new ones follow. */
function mergeLists(
  original: readonly unknown[],
  patch: readonly unknown[],
  path: readonly string[],
  replaces: Replaces,
): unknown {
  const field = path.at(-1) ?? ''
  const key = field === 'ports' ? keyOfPorts([...original, ...patch]) : mergeKeys[field]
  const isWhole = (item: unknown) =>
    isRecord(item) && item['$patch'] === 'replace' && Object.keys(item).length === 1
  const items = patch.filter((item) => !isWhole(item))
  if (key === undefined || items.length < patch.length)
    return items.map((item) => mergeValue({}, item, path, replaces))
  const merged = [...original]
  for (const item of items) {
    const wanted = isRecord(item) ? item[key] : undefined
    const at = merged.findIndex((one) => isRecord(one) && isDeepStrictEqual(one[key], wanted))
    if (isRecord(item) && item['$patch'] === 'delete') {
      if (at >= 0) merged.splice(at, 1)
    } else if (at >= 0) merged[at] = mergeValue(merged[at], item, path, replaces)
    else merged.push(mergeValue({}, item, path, replaces))
  }
  return merged
}
