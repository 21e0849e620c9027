import { type HttpRule, routeTable } from '#routes'
import type { PortPlan } from './routes.ts'

/** Plans without routes that are kept; they are cheap to make. */
const maxKept = 1_000

const noOps = { set: [], add: [], remove: [] } as const

/** Istio's own retries (facts: l7.md §2.1, §3.1). */
const istioRetries = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
  statuses: [],
  perTryTimeoutMs: 0,
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  avoidPreviousHosts: true,
  otherLocalities: false,
} as const

const kept = new Map<string, PortPlan>()

/** What holds for a port about which no routes say anything: everything goes to the service itself. */
export function plainPlan(service: string, port: number): PortPlan {
  const key = `${service}|${port}`
  const known = kept.get(key)
  if (known) return known
  if (kept.size >= maxKept) kept.clear()
  const to = { kind: 'service', service, port } as const
  const origin = { kind: 'Service', name: service } as const
  const rule: HttpRule = {
    name: 'default',
    origin,
    match: {},
    action: {
      kind: 'forward',
      destinations: [{ weight: 1, to, requestHeaders: noOps, responseHeaders: noOps }],
      mirrors: [],
      timeoutMs: 0,
      retry: istioRetries,
    },
    requestHeaders: noOps,
    responseHeaders: noOps,
  }
  const l4 = [{ name: 'default', origin, match: {}, destinations: [{ weight: 1, to }] }]
  const routes = { port, protocol: 'auto', http: [rule], l4 } as const
  const plan = { routes, table: routeTable(routes), policyOf: () => undefined }
  kept.set(key, plan)
  return plan
}
