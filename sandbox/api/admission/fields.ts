import { isRecord } from '#base'

export type Fields = Readonly<Record<string, unknown>>

/** `value` with what it lacks taken from `defaults`; null counts as lacking (Kubernetes: nil). */
export function fill(value: unknown, defaults: Fields): Fields {
  const given = isRecord(value) ? Object.entries(value).filter(([, field]) => field !== null) : []
  return { ...defaults, ...Object.fromEntries(given) }
}

/** Replaces each record in the list at `field`, if it is there. */
export function changeEach(value: Fields, field: string, map: (item: Fields) => unknown): Fields {
  const list = value[field]
  if (!Array.isArray(list)) return value
  return { ...value, [field]: list.map((item: unknown) => (isRecord(item) ? map(item) : item)) }
}
