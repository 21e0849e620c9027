import { plainPlan, type PortPlan } from '../route/index.ts'
import type { Accepted } from '../target/index.ts'
import type { ProxyContext } from './context.ts'

/** The routes of now for what a tunnel is for; undefined: they cannot be read. What is not attached goes straight on. */
export function planOf(target: Accepted, { routes }: ProxyContext): PortPlan | undefined {
  if (target.kind === 'workload') return plainPlan(target.workload.uid, target.to.port)
  const { service, port } = target
  const known = target.reason === 'attached' ? routes.of(service.key, port) : undefined
  if (known?.kind === 'plan') return known.plan
  return known?.kind === 'unreadable' ? undefined : plainPlan(service.key, port)
}
