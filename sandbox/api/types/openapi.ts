import type { JsonObject, KindType } from './schema.ts'

export function openApiV3Index(_kinds: readonly KindType[]): JsonObject {
  return { paths: {} }
}

export function openApiV3(_group: string, _version: string, _kinds: readonly KindType[]): JsonObject {
  return { openapi: '3.0.0' }
}
