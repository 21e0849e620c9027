import type { JsonObject } from './schema.ts'

export function jsonPatch(live: JsonObject, _ops: unknown): { object: JsonObject } | { reject: string } {
  return { object: live }
}
