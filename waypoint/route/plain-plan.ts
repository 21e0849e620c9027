import { routeTable, usualHttpRule, usualL4Rule } from '#routes'
import type { PortPlan } from './routes.ts'

/** Plans without routes that are kept; they are cheap to make. */
const maxKept = 1_000
const kept = new Map<string, PortPlan>()

/** What holds for a port about which no routes say anything: everything goes to the service itself. */
export function plainPlan(service: string, port: number): PortPlan {
  const key = `${service}|${port}`
  const known = kept.get(key)
  if (known) return known
  if (kept.size >= maxKept) kept.clear()
  const to = { kind: 'service', service, port } as const
  const origin = { kind: 'Service', name: service } as const
  const routes = {
    port,
    protocol: 'auto',
    http: [usualHttpRule(to, origin)],
    l4: [usualL4Rule(to, origin)],
  } as const
  const plan = { routes, table: routeTable(routes), policyOf: () => undefined }
  kept.set(key, plan)
  return plan
}
