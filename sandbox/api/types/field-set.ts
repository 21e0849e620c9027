import { isObject, isSafeKey, MAX_DEPTH } from './json.ts'
import type { JsonObject } from './schema.ts'

/**
 * A set of paths into an object, as a trie. A step is written as FieldsV1 writes it: `f:name` for a field,
 * `k:{"name":"a"}` for an item of a keyed list, `v:"a"` for one of a set, `i:0` for a place.
 */
export type FieldSet = ReadonlyMap<string, FieldNode>
type FieldNode = Readonly<{ member: boolean; children: FieldSet }>
export type Path = readonly string[]

export const EMPTY: FieldSet = new Map()

export const childrenAt = (set: FieldSet, step: string): FieldSet => set.get(step)?.children ?? EMPTY

export const isMember = (set: FieldSet, step: string): boolean => set.get(step)?.member === true

/** A set that is being built. */
export type Builder = Map<string, { member: boolean; children: Builder }>

export const builder = (): Builder => new Map()

export function insert(set: Builder, path: Path): void {
  let here = set
  path.forEach((step, i) => {
    const node = here.get(step) ?? { member: false, children: builder() }
    here.set(step, node)
    if (i === path.length - 1) node.member = true
    here = node.children
  })
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (b.size === 0) return a
  if (a.size === 0) return b
  const out = new Map<string, FieldNode>(a)
  for (const [step, node] of b) {
    const known = a.get(step)
    out.set(
      step,
      known ? { member: known.member || node.member, children: union(known.children, node.children) } : node,
    )
  }
  return out
}

/** Of many sets at once, in one walk over each. */
export function unionAll(sets: Iterable<FieldSet>): FieldSet {
  const out = builder()
  for (const set of sets) addAll(out, set)
  return out
}

function addAll(into: Builder, set: FieldSet): void {
  for (const [step, node] of set) {
    const known = into.get(step) ?? { member: false, children: builder() }
    known.member ||= node.member
    into.set(step, known)
    addAll(known.children, node.children)
  }
}

export const intersection = (a: FieldSet, b: FieldSet): FieldSet =>
  a.size <= b.size ? within(a, b, (inOther) => inOther) : within(b, a, (inOther) => inOther)

/** Paths of `a` that are not themselves in `b`; what lies below them stays. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return b.size === 0 ? a : within(a, b, (inOther) => !inOther)
}

/** The members of `a` that pass, with what the other set says of them. Costs what `a` holds, however large the other. */
function within(a: FieldSet, other: FieldSet, keep: (inOther: boolean) => boolean): FieldSet {
  const out = new Map<string, FieldNode>()
  for (const [step, node] of a) {
    const member = node.member && keep(isMember(other, step))
    const children = within(node.children, childrenAt(other, step), keep)
    if (member || children.size > 0) out.set(step, { member, children })
  }
  return out
}

/** Without the top-level fields named, and all below them. */
export function withoutFields(set: FieldSet, isExcluded: (field: string) => boolean): FieldSet {
  return new Map([...set].filter(([step]) => !step.startsWith('f:') || !isExcluded(step.slice(2))))
}

/** All paths, in the order of the trie. */
export function* pathsOf(set: FieldSet, prefix: Path = []): Generator<Path> {
  for (const [step, node] of set) {
    const path = [...prefix, step]
    if (node.member) yield path
    yield* pathsOf(node.children, path)
  }
}

/** Equal sets have equal text. */
export const isSameSet = (a: FieldSet, b: FieldSet): boolean =>
  difference(a, b).size + difference(b, a).size === 0

/** FieldsV1: a leaf is `{}`; a path that is in the set and has paths below it has a `.` inside. */
export function toFieldsV1(set: FieldSet): JsonObject {
  const out: JsonObject = {}
  for (const step of [...set.keys()].sort()) {
    const node = set.get(step)
    if (!node) continue
    const inner = toFieldsV1(node.children)
    out[step] = node.member && node.children.size > 0 ? { '.': {}, ...inner } : inner
  }
  return out
}

/** Reads FieldsV1; steps that are none are passed over, as clients may write anything there. */
export function fromFieldsV1(fields: unknown, depth = 0): FieldSet {
  const out = new Map<string, FieldNode>()
  if (!isObject(fields) || depth > MAX_DEPTH) return out
  for (const step of Object.keys(fields)) {
    if (!/^[fkvi]:/.test(step) || !isSafeKey(step)) continue
    const inner = fields[step]
    const children = fromFieldsV1(inner, depth + 1)
    const isLeaf = children.size === 0
    out.set(step, { member: isLeaf || (isObject(inner) && Object.hasOwn(inner, '.')), children })
  }
  return out
}

/** A path as conflicts name it: `.spec.containers[name="a"].image`. */
export function formatPath(path: Path): string {
  return path.map(formatStep).join('')
}

function formatStep(step: string): string {
  const rest = step.slice(2)
  if (step.startsWith('f:')) return `.${rest}`
  if (step.startsWith('v:')) return `[=${rest}]`
  if (step.startsWith('i:')) return `[${rest}]`
  const keys = parseKey(rest)
  const text = Object.keys(keys)
    .sort()
    .map((key) => `${key}=${JSON.stringify(keys[key])}`)
  return `[${text.join(',')}]`
}

function parseKey(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}
