import { Counter, Gauge, type Registry } from '#telemetry'
import type { Service, Workload } from '../state/index.ts'
import type { ShedReason } from './admission.ts'

const ends = ['source', 'destination'] as const
const perEnd = [
  'workload',
  'canonical_service',
  'canonical_revision',
  'workload_namespace',
  'principal',
  'app',
  'version',
  'cluster',
  'region',
  'zone',
]
const labelNames = [
  'reporter',
  ...ends.flatMap((end) => perEnd.map((name) => `${end}_${name}`)),
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
]

/** Values of every label of ztunnel's traffic metrics. */
export type Labels = Readonly<Record<string, string>>
export type LabelFacts = Readonly<{
  reporter: 'source' | 'destination'
  source: Workload | undefined
  sourceId: string | undefined
  destination: Workload | undefined
  destinationId: string | undefined
  service: Service | undefined
  mutualTls: boolean
}>

const known = (value: string | undefined) => (value === undefined || value === '' ? 'unknown' : value)

function endLabels(end: 'source' | 'destination', w: Workload | undefined, principal: string | undefined) {
  const values: Record<string, string | undefined> = {
    workload: w?.workloadName,
    canonical_service: w?.canonicalName,
    canonical_revision: w?.canonicalRevision,
    workload_namespace: w?.namespace,
    principal,
    app: w?.canonicalName,
    version: w?.canonicalRevision,
    cluster: w?.clusterId,
    region: w?.locality.region,
    zone: w?.locality.zone,
  }
  return Object.entries(values).map(([name, value]) => [`${end}_${name}`, known(value)] as const)
}

/** The labels of one connection, but for how it ended. */
export const labelsOf = (facts: LabelFacts): Labels => ({
  reporter: facts.reporter,
  ...Object.fromEntries(endLabels('source', facts.source, facts.sourceId)),
  ...Object.fromEntries(endLabels('destination', facts.destination, facts.destinationId)),
  destination_service: known(facts.service?.hostname),
  destination_service_namespace: known(facts.service?.namespace),
  destination_service_name: known(facts.service?.name),
  request_protocol: 'tcp',
  connection_security_policy: facts.mutualTls ? 'mutual_tls' : 'unknown',
})

/** The proxy's metrics, under ztunnel's names. */
export type ProxyMetrics = Readonly<{
  opened(labels: Labels): void
  closed(labels: Labels, end: { flag: string; sent: number; received: number }): void
  sockets: Readonly<{
    inc(reporter: 'source' | 'destination'): void
    dec(reporter: 'source' | 'destination'): void
  }>
  shed(reason: ShedReason): void
}>

export function proxyMetrics(registry: Registry): ProxyMetrics {
  const counter = (name: string, help: string, names: readonly string[] = labelNames) =>
    new Counter({ name, help, labelNames: [...names], registers: [registry] })
  const opened = counter('istio_tcp_connections_opened_total', 'The total number of TCP connections opened')
  const closed = counter('istio_tcp_connections_closed_total', 'The total number of TCP connections closed')
  const failed = counter(
    'istio_tcp_connections_failed_total',
    'The total number of TCP connections that failed to establish (unstable)',
  )
  const sent = counter(
    'istio_tcp_sent_bytes_total',
    'The size of total bytes sent during response in case of a TCP connection',
  )
  const received = counter(
    'istio_tcp_received_bytes_total',
    'The size of total bytes received during request in case of a TCP connection',
  )
  const shed = counter(
    'lateen_connections_shed_total',
    'Connections refused to keep descriptors free (unstable)',
    ['reason'],
  )
  const open = new Gauge({
    name: 'istio_tcp_sockets_open',
    help: 'The current number of accepted sockets (unstable)',
    labelNames: ['reporter'],
    registers: [registry],
  })
  return {
    opened: (labels) => opened.inc({ ...labels, response_flags: '-' }),
    closed: (labels, end) => {
      const all = { ...labels, response_flags: end.flag }
      closed.inc(all)
      if (end.flag !== '-') failed.inc(all)
      sent.inc(all, end.sent)
      received.inc(all, end.received)
    },
    sockets: { inc: (reporter) => open.inc({ reporter }), dec: (reporter) => open.dec({ reporter }) },
    shed: (reason) => shed.inc({ reason }),
  }
}
