import { Counter, type Registry } from '#telemetry'

/** Why a stream ended (ztunnel: xds/metrics.rs). */
export type Termination = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete'
export type XdsMetrics = Readonly<{
  terminated(reason: Termination): void
  message(url: string, bytes: number): void
}>

/** The counters of an xDS client, under ztunnel's names. */
export function xdsMetrics(registry: Registry): XdsMetrics {
  const registers = [registry]
  const terminations = new Counter({
    name: 'istio_xds_connection_terminations_total',
    help: 'The total number of completed connections to xds server (unstable)',
    labelNames: ['reason'],
    registers,
  })
  const labelNames = ['url']
  const messages = new Counter({
    name: 'istio_xds_message_total',
    help: 'Total number of messages received (unstable)',
    labelNames,
    registers,
  })
  const bytesTotal = new Counter({
    name: 'istio_xds_message_bytes_total',
    help: 'Total number of bytes received (unstable)',
    labelNames,
    registers,
  })
  return {
    terminated: (reason) => terminations.inc({ reason }),
    message: (url, bytes) => {
      messages.inc({ url })
      bytesTotal.inc({ url }, bytes)
    },
  }
}
