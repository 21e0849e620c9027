import { readdirSync } from 'node:fs'
import { Gauge, type Registry } from '#telemetry'

/** Build and descriptor gauges. */
export function processMetrics(registry: Registry, version: string, fileLimit: number): void {
  const registers = [registry]
  new Gauge({
    name: 'istio_build',
    help: 'Istio component build info',
    labelNames: ['component', 'tag'],
    registers,
  }).set({ component: 'ztunnel', tag: version }, 1)
  new Gauge({ name: 'process_max_fds', help: 'Maximum number of open file descriptors', registers }).set(
    fileLimit,
  )
  const open: Gauge = new Gauge({
    name: 'process_open_fds',
    help: 'Number of open file descriptors',
    registers,
    collect: () => open.set(openFiles()),
  })
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}
