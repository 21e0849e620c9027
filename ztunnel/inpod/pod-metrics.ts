import { Counter, Gauge, type Registry } from '#telemetry'

/** Pods that are proxied, under the names of ztunnel's code. */
export type PodMetrics = Readonly<{
  counts(active: number, pending: number): void
  started(): void
  stopped(): void
}>

/** Counts in `registry`. */
export function podMetrics(registry: Registry): PodMetrics {
  const registers = [registry]
  const active = new Gauge({
    name: 'workload_manager_active_proxy_count',
    help: 'The total number current workloads with active proxies (unstable)',
    registers,
  })
  const pending = new Gauge({
    name: 'workload_manager_pending_proxy_count',
    help: 'The total number current workloads with pending proxies (unstable)',
    registers,
  })
  const started = new Counter({
    name: 'workload_manager_proxies_started_total',
    help: 'The total number of proxies that were started (unstable)',
    registers,
  })
  const stopped = new Counter({
    name: 'workload_manager_proxies_stopped_total',
    help: 'The total number of proxies that were stopped (unstable)',
    registers,
  })
  return {
    counts: (up, waiting) => {
      active.set(up)
      pending.set(waiting)
    },
    started: () => started.inc(),
    stopped: () => stopped.inc(),
  }
}
