import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'
import { type KubeObject, kinds } from '#kube'
import type { Gateway } from '../collections/index.ts'
import type { BuiltInClass } from './classes.ts'
import { withGracePeriod } from './grace-period.ts'
import { names } from './names.ts'
import type { Overlay } from './parameters.ts'
import type { RenderOptions } from './pod-template.ts'
import { type Child, childrenOf, optionalChildrenOf } from './render.ts'
import { strategicMerge } from './strategic-merge.ts'

/** All children of a Gateway as they shall be, or why its parameters cannot be followed. */
type Rendered =
  | Readonly<{ kind: 'children'; children: readonly Child[] }>
  | Readonly<{ kind: 'invalid'; message: string }>

/** What is rendered, with every overlay merged in; an autoscaler and a budget only where an overlay has one. */
export function renderedWith(
  gateway: Gateway,
  known: BuiltInClass,
  options: RenderOptions,
  overlays: readonly Overlay[],
  live?: KubeObject,
): Rendered {
  const wanted = new Set(overlays.flatMap(({ patches }) => [...patches.keys()]))
  const optional = optionalChildrenOf(gateway, known, options).filter(({ kind }) => wanted.has(kind))
  const children: Child[] = []
  for (const child of [...childrenOf(gateway, known, options, live), ...optional]) {
    const merged = overlaid(child, overlays)
    if ('why' in merged) return { kind: 'invalid', message: merged.why }
    children.push(withGracePeriod(merged.child))
  }
  return { kind: 'children', children }
}

function overlaid(child: Child, overlays: readonly Overlay[]): Readonly<{ child: Child } | { why: string }> {
  const { apiVersion } = kinds[child.kind]
  let current: Readonly<Record<string, unknown>> = { apiVersion, ...child }
  for (const { source, patches } of overlays) {
    if (!patches.has(child.kind)) continue
    const merged = strategicMerge(child.kind, current, patches.get(child.kind))
    if (merged.kind === 'refused') return { why: `${source}: ${child.kind}: ${merged.why}` }
    const touched = touchedIdentity({ apiVersion, ...child }, merged.value)
    if (touched !== undefined) return { why: `${source}: ${child.kind}: ${touched} is not to be changed` }
    current = merged.value
  }
  const { apiVersion: _, metadata, ...rest } = current
  const words = isRecord(metadata) ? metadata : {}
  return {
    child: {
      ...rest,
      kind: child.kind,
      metadata: {
        ...child.metadata,
        labels: wordsIn(words['labels']),
        annotations: wordsIn(words['annotations']),
      },
    },
  }
}

/** Labels and annotations are the only metadata that an overlay may have. */
const free: readonly string[] = ['labels', 'annotations']
/** Whose child an object is, is read off these. */
const fixedLabels = [names.gatewayName, names.className, names.managed]

/** What of an object's identity a merge would change; it decides whose the object is, and where it goes. */
function touchedIdentity(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string | undefined {
  for (const key of ['apiVersion', 'kind', 'status'])
    if (!isDeepStrictEqual(before[key], after[key])) return key
  const [was, is] = [before['metadata'], after['metadata']]
  if (!isRecord(was) || !isRecord(is)) return 'metadata'
  for (const key of new Set([...Object.keys(was), ...Object.keys(is)]))
    if (!free.includes(key) && !isDeepStrictEqual(was[key], is[key])) return `metadata.${key}`
  const [own, other] = [wordsIn(was['labels']), wordsIn(is['labels'])]
  for (const label of fixedLabels) if (own[label] !== other[label]) return `label ${label}`
  return undefined
}

const wordsIn = (value: unknown): Readonly<Record<string, string>> =>
  isRecord(value) ? Object.fromEntries(Object.entries(value).map(([key, word]) => [key, String(word)])) : {}
