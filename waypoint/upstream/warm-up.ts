import type { DestinationPolicy } from '#routes'
import { type Host, weightOf } from './host.ts'

/** The weight of a host that is new grows with time (facts: l7.md §3.5, slow start). */
export const warming =
  ({ durationMs, minimumPercent, aggression }: NonNullable<DestinationPolicy['warmup']>, now: number) =>
  (host: Host): number => {
    const age = now - host.since
    if (age >= durationMs) return weightOf(host)
    const grown = (age / durationMs) ** (1 / aggression)
    return weightOf(host) * Math.max(minimumPercent / 100, grown)
  }
