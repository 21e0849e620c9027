import { definition, resolve } from './definitions.ts'
import {
  type Builder,
  builder,
  childrenAt,
  EMPTY,
  type FieldSet,
  insert,
  isMember,
  type Path,
} from './field-set.ts'
import { canonical, isEqualJson, isObject, own } from './json.ts'
import { fieldSchema } from './prune.ts'
import type { JsonObject, Schema } from './schema.ts'

/** One part of a granular value: where it is, what it is, and what it should be. */
type Part = Readonly<{ step: string; value: unknown; schema: Schema; named: boolean }>

const UNTYPED: Schema = { 'x-kubernetes-preserve-unknown-fields': true }
/** Built-in free-form values are owned as a whole. */
const WHOLE: ReadonlySet<string> = new Set([
  'io.k8s.apimachinery.pkg.runtime.RawExtension',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON',
])

/** The parts of a value whose parts are owned one by one; undefined for a leaf: a scalar, or an atomic list or map. */
function partsOf(given: Schema, value: unknown): readonly Part[] | undefined {
  const schema = resolve(given, value)
  if (Array.isArray(value)) return isGranularList(schema) ? listParts(schema, value) : undefined
  if (!isObject(value) || !isGranularMap(given, schema)) return undefined
  return Object.keys(value).map((key) => ({
    step: `f:${key}`,
    value: value[key],
    schema: fieldSchema(schema, key) ?? UNTYPED,
    named: own(schema.properties, key) !== undefined,
  }))
}

const isGranularList = (schema: Schema): boolean =>
  schema['x-kubernetes-list-type'] === 'map' || schema['x-kubernetes-list-type'] === 'set'

const isGranularMap = (given: Schema, schema: Schema): boolean =>
  schema['x-kubernetes-map-type'] !== 'atomic' && !(given.$ref !== undefined && WHOLE.has(given.$ref))

function listParts(schema: Schema, items: readonly unknown[]): readonly Part[] {
  const itemSchema = schema.items ?? UNTYPED
  return items.map((value) => ({ step: stepOf(schema, value), value, schema: itemSchema, named: false }))
}

/** Missing keys count with their default, so that `{containerPort: 80}` is the TCP port. */
function stepOf(schema: Schema, item: unknown): string {
  if (schema['x-kubernetes-list-type'] !== 'map' || !isObject(item)) return `v:${canonical(item)}`
  const properties = resolve(schema.items ?? UNTYPED, item).properties
  const key: JsonObject = {}
  for (const name of schema['x-kubernetes-list-map-keys'] ?? []) {
    const value = Object.hasOwn(item, name) ? item[name] : own(properties, name)?.default
    if (value !== undefined) key[name] = value
  }
  return `k:${canonical(key)}`
}

const isEmptyValue = (value: unknown): boolean =>
  value === undefined || value === null || (typeof value === 'object' && Object.keys(value).length === 0)

const isEmptyMap = (value: unknown): boolean => isEmptyValue(value) && !Array.isArray(value)

/** All that an applied configuration names. */
export function toFieldSet(schema: Schema, value: unknown): FieldSet {
  const out = builder()
  collect(schema, value, [], out)
  return out
}

function collect(schema: Schema, value: unknown, path: Path, out: Builder): void {
  const parts = partsOf(schema, value)
  if (!parts) {
    if (path.length > 0) insert(out, path)
    return
  }
  for (const part of parts) {
    const here = [...path, part.step]
    collect(part.schema, part.value, here, out)
    // Items and entries are owned themselves; named fields only if they are a map with nothing in it.
    if (!part.named || isEmptyMap(part.value)) insert(out, here)
  }
}

/** What differs between two objects. */
export type Comparison = Readonly<{ removed: FieldSet; modified: FieldSet; added: FieldSet }>

export function compare(schema: Schema, before: unknown, after: unknown): Comparison {
  const out = { removed: builder(), modified: builder(), added: builder() }
  compareAt({ schema, before, after }, [], out)
  return out
}

type Pair = Readonly<{ schema: Schema; before: unknown; after: unknown }>
type Differences = Readonly<{ removed: Builder; modified: Builder; added: Builder }>

function compareAt({ schema, before, after }: Pair, path: Path, out: Differences): void {
  if (isEqualJson(before, after)) return
  const given = (value: unknown, other: unknown) =>
    value === undefined
      ? undefined
      : partsOf(schema, value === null && other !== undefined ? emptyLike(other) : value)
  const left = given(before, after)
  const right = given(after, before)
  const areEmpty = before !== undefined && after !== undefined && isEmptyValue(before) && isEmptyValue(after)
  const isLeaf = areEmpty || (before !== undefined && !left) || (after !== undefined && !right)
  if (before === undefined) insertAt(out.added, path)
  else if (after === undefined) insertAt(out.removed, path)
  else if (isLeaf) insertAt(out.modified, path)
  if (isLeaf) return
  const others = new Map((right ?? []).map((part) => [part.step, part]))
  for (const part of left ?? []) {
    const twin = others.get(part.step)
    others.delete(part.step)
    compareAt({ schema: part.schema, before: part.value, after: twin?.value }, [...path, part.step], out)
  }
  for (const part of others.values())
    compareAt({ schema: part.schema, before: undefined, after: part.value }, [...path, part.step], out)
}

/** Null stands for an empty container of the other side's kind: its parts go, it stays. */
function emptyLike(other: unknown): unknown {
  if (Array.isArray(other)) return []
  return isObject(other) ? {} : null
}

const insertAt = (set: Builder, path: Path): void => {
  if (path.length > 0) insert(set, path)
}

/** The live value with the applied one laid over it. */
export function mergeTyped(schema: Schema, live: unknown, applied: unknown): unknown {
  if (applied === undefined) return live
  const right = partsOf(schema, applied)
  const left = live === undefined ? undefined : partsOf(schema, live)
  if (!right || !left || Array.isArray(live) !== Array.isArray(applied)) return applied
  if (Array.isArray(applied)) return mergeOrder(left, right)
  const out: JsonObject = {}
  for (const part of left) out[part.step.slice(2)] = part.value
  for (const part of right) {
    const key = part.step.slice(2)
    out[key] = mergeTyped(part.schema, Object.hasOwn(out, key) ? out[key] : undefined, part.value)
  }
  return out
}

/** Live items keep their places, unless the applied order of shared items says otherwise; new ones come where applied. */
function mergeOrder(left: readonly Part[], right: readonly Part[]): unknown[] {
  const lefts = new Map(left.map((part) => [part.step, part]))
  const rights = new Set(right.map((part) => part.step))
  const merged = new Set<string>()
  const out: unknown[] = []
  let l = 0
  const takeRight = (part: Part) => {
    merged.add(part.step)
    out.push(mergeTyped(part.schema, lefts.get(part.step)?.value, part.value))
  }
  const takeLeftOnly = (until: string | undefined) => {
    for (; l < left.length; l++) {
      const part = left[l]
      if (!part || part.step === until) return
      if (!rights.has(part.step)) out.push(part.value)
    }
  }
  const shared = right.filter((part) => lefts.has(part.step))
  let s = 0
  for (const part of right) {
    while (s < shared.length && merged.has(shared[s]?.step ?? '')) s++
    takeLeftOnly(shared[s]?.step)
    takeRight(part)
  }
  takeLeftOnly(undefined)
  return out
}

/** The value without the parts in the set. A container that loses all its parts is null: still there for its owners. */
export function removeItems(schema: Schema, value: unknown, set: FieldSet): unknown {
  const parts = set.size === 0 ? undefined : partsOf(schema, value)
  if (!parts || parts.length === 0) return value
  const kept: Part[] = []
  for (const part of parts) {
    if (isMember(set, part.step)) continue
    kept.push({ ...part, value: removeItems(part.schema, part.value, childrenAt(set, part.step)) })
  }
  if (kept.length === 0) return null
  if (Array.isArray(value)) return kept.map((part) => part.value)
  return Object.fromEntries(kept.map((part) => [part.step.slice(2), part.value]))
}

/** Adds the named fields on the way to every path: they are not owned, but must go when all in them goes. */
export function withNamedFields(given: Schema, set: FieldSet): FieldSet {
  const out: Map<string, { member: boolean; children: FieldSet }> = new Map()
  const schema = schemaForSteps(given)
  for (const [step, node] of set) {
    const name = step.slice(2)
    const isField = step.startsWith('f:')
    const named = isField ? own(schema.properties, name) : undefined
    const child = isField ? (fieldSchema(schema, name) ?? UNTYPED) : (schema.items ?? UNTYPED)
    const children = node.children.size === 0 ? EMPTY : withNamedFields(child, node.children)
    out.set(step, { member: node.member || named !== undefined, children })
  }
  return out
}

/** Without a value at hand, alternatives are taken to be objects. */
const schemaForSteps = (given: Schema): Schema =>
  given.$ref !== undefined && definition(given.$ref).anyOf ? resolve(given, {}) : resolve(given)
