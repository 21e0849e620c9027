/** The data workers, as the control thread sees them. */
export { Workers, type WorkersOptions } from './workers.ts'
/** How a worker comes to life: in a thread of its own, or for tests in this one. */
export { type Spawn, type Spawned, spawnInline, spawnThread } from './spawn.ts'
export { workerMetrics } from './worker-metrics.ts'
