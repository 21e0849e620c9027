/** A duration as kubectl shows it: `5s`, `3m20s`, `2d4h`, `1y30d` (Kubernetes: duration.HumanDuration). */
export function humanDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  const years = Math.floor(days / 365)
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return withRest(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  if (hours < 8) return withRest(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  if (days < 8) return withRest(days, 'd', hours % 24, 'h')
  if (years < 2) return `${days}d`
  return years < 8 ? withRest(years, 'y', days % 365, 'd') : `${years}y`
}

const withRest = (whole: number, unit: string, rest: number, restUnit: string): string =>
  rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${restUnit}`

/** Time since an RFC 3339 timestamp, or `<unknown>`. */
export function ageOf(text: unknown, now: number): string {
  const then = typeof text === 'string' ? Date.parse(text) : Number.NaN
  return Number.isNaN(then) ? '<unknown>' : humanDuration(now - then)
}
