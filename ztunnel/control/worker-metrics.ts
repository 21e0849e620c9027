import { Counter, Gauge, type Registry } from '#telemetry'

export type WorkerMetrics = Readonly<{ counts(good: number): void; died(): void }>

/** How the data workers are. */
export function workerMetrics(registry: Registry): WorkerMetrics {
  const registers = [registry]
  const good = new Gauge({
    name: 'lateen_data_workers',
    help: 'Data worker threads that serve every pod (unstable)',
    registers,
  })
  const died = new Counter({
    name: 'lateen_data_worker_deaths_total',
    help: 'Data worker threads that died and were replaced; must be 0 (unstable)',
    registers,
  })
  return { counts: (n) => good.set(n), died: () => died.inc() }
}
