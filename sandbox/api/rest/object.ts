import { isRecord } from '#base'

/** The API machinery's own part of an object. Everything else is the kind's business. */
export type OwnerReference = Readonly<{
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}>

type Metadata = Readonly<{
  name?: string
  generateName?: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Readonly<Record<string, string>>
  annotations?: Readonly<Record<string, string>>
  finalizers?: readonly string[]
  ownerReferences?: readonly OwnerReference[]
  managedFields?: readonly unknown[]
  [field: string]: unknown
}>

/** Any object of the API, as JSON. Stored ones are frozen: replaced, never edited. */
export type KubeObject = Readonly<{
  apiVersion: string
  kind: string
  metadata: Metadata
  [field: string]: unknown
}>

type Shape = Readonly<{ ok: true; object: KubeObject }> | Readonly<{ ok: false; reason: string }>

const isText = (value: unknown): boolean => typeof value === 'string'
const isTextMap = (value: unknown): boolean => isRecord(value) && Object.values(value).every(isText)
const isOwner = (value: unknown): boolean =>
  isRecord(value) && ['apiVersion', 'kind', 'name', 'uid'].every((field) => isText(value[field]))

const metadataShapes: Readonly<Record<string, (value: unknown) => boolean>> = {
  name: isText,
  generateName: isText,
  namespace: isText,
  uid: isText,
  resourceVersion: isText,
  generation: (value) => typeof value === 'number',
  creationTimestamp: isText,
  deletionTimestamp: isText,
  deletionGracePeriodSeconds: (value) => typeof value === 'number',
  labels: isTextMap,
  annotations: isTextMap,
  finalizers: (value) => Array.isArray(value) && value.every(isText),
  ownerReferences: (value) => Array.isArray(value) && value.every(isOwner),
  managedFields: (value) => Array.isArray(value) && value.every(isRecord),
}

/** Checks the part of an object on which the server itself relies. Nulls in metadata count as absent. */
export function parseObject(value: unknown): Shape {
  if (!isRecord(value)) return { ok: false, reason: 'the body must be an object' }
  const { apiVersion, kind, metadata = {} } = value
  if (typeof apiVersion !== 'string' || typeof kind !== 'string')
    return { ok: false, reason: "Object 'Kind' or 'apiVersion' is missing" }
  if (metadata !== null && !isRecord(metadata)) return { ok: false, reason: 'metadata must be an object' }
  const present = Object.entries(metadata ?? {}).filter(([, field]) => field !== null)
  for (const [field, content] of present) {
    // A client may name a field `constructor`: only our own names count.
    const fits = Object.hasOwn(metadataShapes, field) ? metadataShapes[field] : undefined
    if (fits !== undefined && !fits(content))
      return { ok: false, reason: `metadata.${field} has the wrong type` }
  }
  return { ok: true, object: { ...value, apiVersion, kind, metadata: Object.fromEntries(present) } }
}

/** `parseObject` for what the server itself stored or made; throws a TypeError otherwise. */
export function asObject(value: unknown): KubeObject {
  const parsed = parseObject(value)
  if (!parsed.ok) throw new TypeError(parsed.reason)
  return parsed.object
}

/** The value at a path of field names; undefined where the path leaves the object. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value
  for (const field of path) {
    if (!isRecord(here) || !Object.hasOwn(here, field)) return undefined
    here = here[field]
  }
  return here
}

/** The text at a path; undefined when there is none. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : undefined
}

/** The scalar at a path as text, however it is typed; '' when there is none. */
export function scalarAt(value: unknown, ...path: readonly string[]): string {
  const found = at(value, ...path)
  if (typeof found === 'string') return found
  return typeof found === 'number' || typeof found === 'boolean' ? String(found) : ''
}

/** The number at a path; undefined when there is none. */
export function numberAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : undefined
}

/** The record at a path; an empty one when there is none. */
export function recordAt(value: unknown, ...path: readonly string[]): Readonly<Record<string, unknown>> {
  const found = at(value, ...path)
  return isRecord(found) ? found : {}
}

/** The list at a path; an empty one when there is none. */
export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** A copy of `object` with some metadata replaced; a field given as undefined is dropped. */
export function withMetadata(object: KubeObject, change: Readonly<Record<string, unknown>>): KubeObject {
  const merged = Object.entries({ ...object.metadata, ...change }).filter(([, value]) => value !== undefined)
  return { ...object, metadata: Object.fromEntries(merged) }
}

/** `[group, version]` of an apiVersion; the core group is ''. */
export function groupVersionOf(apiVersion: string): readonly [group: string, version: string] {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? ['', apiVersion] : [apiVersion.slice(0, slash), apiVersion.slice(slash + 1)]
}

/** The inverse of `groupVersionOf`. */
export const apiVersionOf = (group: string, version: string): string =>
  group === '' ? version : `${group}/${version}`

/** Time in the API's form: whole seconds, UTC. */
export const timestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

/** Structural equality of JSON values; the order of fields does not matter, undefined counts as absent. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, i) => sameJson(item, b[i]))
  if (!isRecord(a) || !isRecord(b)) return false
  const fields = (value: Record<string, unknown>) =>
    Object.keys(value).filter((field) => value[field] !== undefined)
  const mine = fields(a)
  return mine.length === fields(b).length && mine.every((field) => field in b && sameJson(a[field], b[field]))
}
