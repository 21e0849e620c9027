import { readdirSync } from 'node:fs'
import { Gauge, type Registry } from '#telemetry'
import type { MeshState } from './state/index.ts'

/** Build and descriptor gauges. */
export function processMetrics(registry: Registry, version: string, fileLimit: number): void {
  const registers = [registry]
  new Gauge({
    name: 'istio_build',
    help: 'Istio component build info',
    labelNames: ['component', 'tag'],
    registers,
  }).set({ component: 'ztunnel', tag: version }, 1)
  const limit = 'Maximum number of open file descriptors (unstable)'
  new Gauge({ name: 'process_max_fds', help: limit, registers }).set(fileLimit)
  const open: Gauge = new Gauge({
    name: 'process_open_fds',
    help: 'Number of open file descriptors (unstable)',
    registers,
    collect: () => open.set(openFiles()),
  })
}

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

/** Without the descriptor of the listing itself. */
function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length - 1
  } catch {
    return 0
  }
}
