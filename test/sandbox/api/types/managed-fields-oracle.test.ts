import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type JsonObject,
  type KindType,
  recordUpdate,
  serverSideApply,
} from '../../../../sandbox/api/types/index.ts'
import { kindNamed } from './samples.ts'

/**
 * Random sequences of writes, and what Kubernetes' own structured-merge-diff (6.3.0, with the schemas of client-go
 * 0.36.4) made of them: the object, the fields of each manager (A: apply, U: update) and the conflicts after each step.
 */
type Step = Readonly<{
  op: 'apply' | 'update'
  manager: string
  force: boolean
  object: JsonObject
  want: Readonly<{ object: JsonObject; managers: JsonObject; conflicts: readonly string[] }>
}>
const sequences = readFileSync(join(import.meta.dirname, 'testdata/apply-sequences.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { kind: string; steps: Step[] })

/** One write; the conflicts, or the new live object. */
function write(
  kind: KindType,
  live: JsonObject | undefined,
  step: Step,
): { live: JsonObject | undefined; conflicts: string[] } {
  const { manager, force, object } = step
  const common = { kind, manager, subresource: '', now: '2026-01-01T00:00:00Z' }
  if (step.op === 'update')
    return { live: recordUpdate({ ...common, before: live, after: object }), conflicts: [] }
  const result = serverSideApply({ ...common, live, applied: object, force })
  if ('reject' in result) throw new Error(result.reject)
  if ('object' in result) return { live: result.object, conflicts: [] }
  const conflicts = result.conflicts.map(
    (each) => `${each.message.includes(' using ') ? 'U:' : 'A:'}${each.manager} ${each.field}`,
  )
  return { live, conflicts: conflicts.toSorted((a, b) => (a < b ? -1 : 1)) }
}

for (const [i, sequence] of sequences.entries())
  t.test(
    `sequence ${i} of writes to a ${sequence.kind} gives the objects and owners that Kubernetes gives`,
    async (t) => {
      const kind = { ...kindNamed(sequence.kind), status: false } // the oracle knows no subresources
      let live: JsonObject | undefined
      for (const [j, step] of sequence.steps.entries()) {
        const done = write(kind, live, step)
        live = done.live
        const { managedFields, ...metadata } = Object(live?.['metadata'])
        const managers = Object.fromEntries(
          (managedFields ?? []).map((entry: JsonObject) => [
            `${entry['operation'] === 'Apply' ? 'A' : 'U'}:${String(entry['manager'])}`,
            entry['fieldsV1'],
          ]),
        )
        t.strictSame(
          { object: { ...live, metadata }, managers, conflicts: done.conflicts },
          step.want,
          `step ${j}`,
        )
      }
    },
  )
