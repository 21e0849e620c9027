import { Gauge, type Registry } from '#telemetry'
import { version } from './version.ts'

/** Which controller this is, since when, and how much it knows. Names as Istio's. */
export function fleetMetrics(registry: Registry, services: () => number): void {
  const registers = [registry]
  const labelled = { help: 'Version of the controller', registers }
  new Gauge({ ...labelled, name: 'pilot_info', labelNames: ['version'] }).set({ version }, 1)
  new Gauge({ ...labelled, name: 'istio_build', labelNames: ['component', 'tag'] }).set(
    { component: 'pilot', tag: version },
    1,
  )
  const startedMs = performance.now()
  new Gauge({
    name: 'istiod_uptime_seconds',
    help: 'Seconds since the controller was started',
    registers,
    collect() {
      this.set((performance.now() - startedMs) / 1000)
    },
  })
  new Gauge({
    name: 'pilot_services',
    help: 'Services in the mesh',
    registers,
    collect() {
      this.set(services())
    },
  })
}
