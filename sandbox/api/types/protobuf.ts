import type { JsonObject } from './schema.ts'

export function decodeProtobuf(
  _bytes: Uint8Array,
): { apiVersion: string; kind: string; object: JsonObject } | { reject: string } {
  return { reject: 'not a Kubernetes protobuf message' }
}
