import type { FieldError, KindType } from './schema.ts'

export type CrdKinds = Readonly<{ kinds: readonly KindType[] }> | Readonly<{ reject: readonly FieldError[] }>

export function kindsOfCrd(_crd: object): CrdKinds {
  return { kinds: [] }
}
