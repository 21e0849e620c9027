import type { JsonObject } from './schema.ts'

export function mergePatch(live: JsonObject, patch: JsonObject): { object: JsonObject } | { reject: string } {
  return { object: { ...live, ...patch } }
}
