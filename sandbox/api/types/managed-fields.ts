import type { JsonObject, KindType } from './schema.ts'

/** One field that somebody else owns with another value; `message` is Kubernetes' wording of the cause. */
export type ApplyConflict = Readonly<{ manager: string; field: string; message: string }>

export type ApplyRequest = Readonly<{
  kind: KindType
  live: JsonObject | undefined
  applied: JsonObject
  manager: string
  force: boolean
  /** '' for the main resource, 'status', 'scale' … */
  subresource: string
  now: string
}>

export function serverSideApply(
  request: ApplyRequest,
): { object: JsonObject } | { conflicts: readonly ApplyConflict[] } | { reject: string } {
  return { object: request.applied }
}

export type UpdateRecord = Readonly<{
  kind: KindType
  before: JsonObject | undefined
  after: JsonObject
  manager: string
  subresource: string
  now: string
}>

export function recordUpdate(record: UpdateRecord): JsonObject {
  return record.after
}
