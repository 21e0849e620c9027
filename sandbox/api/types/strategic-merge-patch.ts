import type { JsonObject, KindType } from './schema.ts'

export function strategicMergePatch(
  _kind: KindType,
  live: JsonObject,
  patch: JsonObject,
): { object: JsonObject } | { reject: string } {
  return { object: { ...live, ...patch } }
}
