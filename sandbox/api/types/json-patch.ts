import jsonpatch, { type Operation } from 'fast-json-patch'
import { messageOf } from '#base'
import { clone, isObject, isWithinDepth } from './json.ts'
import type { JsonObject } from './schema.ts'

/** Kubernetes' own limit (maxJSONPatchOperations). */
const MAX_OPERATIONS = 10_000
/** All that `copy` may add, as characters of JSON: copies of copies double at every step. */
const MAX_COPIED = 3 * 1024 * 1024
const OPERATIONS: ReadonlySet<unknown> = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test'])

export type Patched = Readonly<{ object: JsonObject }> | Readonly<{ reject: string }>

/** Applies RFC 6902 operations to a copy. A failed `test` or an unusable path is a reject, as is a hostile one. */
export function jsonPatch(live: JsonObject, ops: unknown): Patched {
  if (!Array.isArray(ops)) return { reject: 'a JSON patch must be a list of operations' }
  if (ops.length > MAX_OPERATIONS)
    return {
      reject: `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${ops.length}`,
    }
  if (!isWithinDepth(ops)) return { reject: 'the patch is nested too deeply' }
  let document: unknown = clone(live)
  let copied = 0
  for (const op of ops as readonly unknown[]) {
    const wrong = refuse(document, op)
    if (wrong !== undefined) return { reject: wrong }
    copied += copiedBy(document, op)
    if (copied > MAX_COPIED) return { reject: 'the copy operations of the JSON patch add too much' }
    const step = apply(document, clone(op) as Operation)
    if ('reject' in step) return step
    document = step.document
  }
  if (!isObject(document)) return { reject: 'the patched document is no object' }
  return isWithinDepth(document)
    ? { object: clone(document) }
    : { reject: 'the patched document is nested too deeply' }
}

function apply(document: unknown, op: Operation): { document: unknown } | { reject: string } {
  try {
    if (op.op === 'test' && jsonpatch.getValueByPointer(document, op.path) === undefined && op.value === null)
      return { document } // a missing field passes a test for null, as it does in Kubernetes
    return { document: jsonpatch.applyOperation(document, op, false, true).newDocument as unknown }
  } catch (error) {
    return { reject: (messageOf(error).split('\n')[0] ?? '').slice(0, 256) }
  }
}

function refuse(document: unknown, op: unknown): string | undefined {
  if (!isObject(op) || !OPERATIONS.has(op['op'])) return 'Unexpected kind of JSON patch operation'
  const kind = String(op['op'])
  if (['add', 'replace', 'test'].includes(kind) && !Object.hasOwn(op, 'value'))
    return `a JSON patch operation ${kind} needs a value`
  const wrong = refusePointer(document, op['path'], kind !== 'remove' && kind !== 'replace')
  if (wrong) return wrong
  return kind === 'move' || kind === 'copy' ? refusePointer(document, op['from'], false) : undefined
}

/** Every step must be an own property: inherited ones lead to objects that the whole process shares. */
function refusePointer(document: unknown, pointer: unknown, mayBeNew: boolean): string | undefined {
  if (typeof pointer !== 'string' || (pointer !== '' && !pointer.startsWith('/')))
    return 'the path of a JSON patch operation must be a JSON pointer'
  const steps = pointer.split('/').slice(1).map(jsonpatch.unescapePathComponent)
  if (steps.includes('__proto__')) return 'the path of a JSON patch operation may not name __proto__'
  let here = document
  for (const [i, step] of steps.entries()) {
    const isLast = i === steps.length - 1
    if (typeof here !== 'object' || here === null) return missing(pointer)
    if (!Object.hasOwn(here, step)) return isLast && mayBeNew ? undefined : missing(pointer)
    here = (here as Readonly<Record<string, unknown>>)[step]
  }
  return undefined
}

const missing = (pointer: string) => `Unable to access nonexistent key: "${pointer}": missing value`

function copiedBy(document: unknown, op: unknown): number {
  if (!isObject(op) || op['op'] !== 'copy' || typeof op['from'] !== 'string') return 0
  return JSON.stringify(jsonpatch.getValueByPointer(document, op['from']))?.length ?? 0
}
