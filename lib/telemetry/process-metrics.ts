import { readdirSync } from 'node:fs'
import { Gauge, type Registry } from 'prom-client'

/** Build and descriptor gauges. */
export function processMetrics(
  registry: Registry,
  component: string,
  version: string,
  fileLimit: number,
): void {
  const registers = [registry]
  new Gauge({
    name: 'istio_build',
    help: 'Istio component build info',
    labelNames: ['component', 'tag'],
    registers,
  }).set({ component, tag: version }, 1)
  const limit = 'Maximum number of open file descriptors (unstable)'
  new Gauge({ name: 'process_max_fds', help: limit, registers }).set(fileLimit)
  const open: Gauge = new Gauge({
    name: 'process_open_fds',
    help: 'Number of open file descriptors (unstable)',
    registers,
    collect: () => open.set(openFiles()),
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
