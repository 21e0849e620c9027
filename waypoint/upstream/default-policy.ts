import type { DestinationPolicy } from '#routes'

/** What is not limited (Istio: 2^32 - 1). */
const unlimited = 2 ** 32 - 1
const hourMs = 3_600_000

/** They are cheap to make; that they are the same from request to request is what clusters and pools know them by. */
const maxKept = 1_000
const kept = new Map<string, DestinationPolicy>()

/** Of a destination that no routes say anything about: Istio's defaults (facts: l7.md §3.2, §3.5, §3.6). */
export function defaultPolicy(service: string, port: number): DestinationPolicy {
  const key = `${service}|${port}`
  const known = kept.get(key)
  if (known) return known
  if (kept.size >= maxKept) kept.clear()
  const made = newPolicy(service, port)
  kept.set(key, made)
  return made
}

const newPolicy = (service: string, port: number): DestinationPolicy => ({
  destination: { kind: 'service', service, port },
  http: 'client',
  loadBalancer: { kind: 'least-request' },
  locality: { kind: 'service' },
  connections: {
    connectTimeoutMs: 10_000,
    maxConnections: unlimited,
    maxPending: unlimited,
    maxRequests: unlimited,
    maxRetries: unlimited,
    maxRequestsPerConnection: 0,
    maxConcurrentStreams: unlimited,
    tcpIdleTimeoutMs: hourMs,
    httpIdleTimeoutMs: hourMs,
    maxConnectionDurationMs: 0,
  },
  panicPercent: 0,
})
