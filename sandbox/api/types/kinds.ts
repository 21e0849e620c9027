import type { KindType } from './schema.ts'

export function builtinKinds(): readonly KindType[] {
  return []
}

export function subresourceKinds(): readonly KindType[] {
  return []
}
