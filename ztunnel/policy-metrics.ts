import { Gauge, type Registry } from '#telemetry'
import type { MeshState } from './state/index.ts'

/** How many policies are held, and how many of them only in part, with that part closed. */
export function policyMetrics(registry: Registry, state: MeshState): void {
  const policies: Gauge = new Gauge({
    name: 'lateen_policies',
    help: 'Authorization policies held; those with unreadable parts are enforced closed (unstable)',
    labelNames: ['readable'],
    registers: [registry],
    collect: () => {
      const all = state.policies.byName
      let unreadable = 0
      for (const { problems } of all.values()) if (problems.length > 0) unreadable++
      policies.set({ readable: 'false' }, unreadable)
      policies.set({ readable: 'true' }, all.size - unreadable)
    },
  })
}
