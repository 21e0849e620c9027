import { isRecord } from '#base'

export type Fields = Readonly<Record<string, unknown>>

/** `value` with what it lacks taken from `defaults`; null counts as lacking (Kubernetes: nil). */
export function fill(value: unknown, defaults: Fields): Fields {
  const given = isRecord(value) ? Object.entries(value).filter(([, field]) => field !== null) : []
  return { ...defaults, ...Object.fromEntries(given) }
}

/** Replaces one field by a function of it, if it is there. */
export function change(value: Fields, field: string, map: (content: unknown) => unknown): Fields {
  const content = value[field]
  return content === undefined || content === null ? value : { ...value, [field]: map(content) }
}

/** Replaces each record in the list at `field`, if it is there. */
export const changeEach = (value: Fields, field: string, map: (item: Fields) => unknown): Fields =>
  change(value, field, (list) =>
    Array.isArray(list) ? list.map((item: unknown) => (isRecord(item) ? map(item) : item)) : list,
  )
