import { type DestinationPolicy, usualPolicy } from '#routes'

/** They are cheap to make; that they are the same from request to request is what clusters and pools know them by. */
const maxKept = 1_000
const kept = new Map<string, DestinationPolicy>()

/** Of a destination that no routes say anything about. */
export function defaultPolicy(service: string, port: number): DestinationPolicy {
  const key = `${service}|${port}`
  const known = kept.get(key)
  if (known) return known
  if (kept.size >= maxKept) kept.clear()
  const made = usualPolicy({ kind: 'service', service, port })
  kept.set(key, made)
  return made
}
