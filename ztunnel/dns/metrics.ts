import { Counter, Histogram, type Registry } from '#telemetry'
import type { Workload } from '../state/index.ts'
import type { Transport } from './reply.ts'

/** Names of record types in labels. Any other number is `unknown`, for a client must not be able to make series. */
const typeNames: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  35: 'NAPTR',
  43: 'DS',
  46: 'RRSIG',
  47: 'NSEC',
  48: 'DNSKEY',
  52: 'TLSA',
  64: 'SVCB',
  65: 'HTTPS',
  255: 'ANY',
  257: 'CAA',
}

/** How a type of record is called in labels and logs. */
export const typeName = (type: number): string => typeNames[type] ?? 'unknown'

type DnsLabels = Readonly<{ type: number; transport: Transport; source: Workload | undefined }>

/** The DNS proxy's metrics, under ztunnel's names. */
export type DnsMetrics = Readonly<{
  request(labels: DnsLabels): void
  upstream(labels: DnsLabels, seconds: number, failed: boolean): void
  refused(reason: 'rate' | 'in-flight' | 'malformed'): void
}>

const known = (value: string | undefined) => (value === undefined || value === '' ? 'unknown' : value)
const valuesOf = ({ type, transport, source }: DnsLabels) => ({
  request_query_type: typeName(type),
  request_protocol: transport,
  source_canonical_service: known(source?.canonicalName),
  source_canonical_revision: known(source?.canonicalRevision),
})

/** Counts in `registry`. */
export function dnsMetrics(registry: Registry): DnsMetrics {
  const labelNames = [
    'request_query_type',
    'request_protocol',
    'source_canonical_service',
    'source_canonical_revision',
  ]
  const registers = [registry]
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers })
  const requests = counter('istio_dns_requests_total', 'Total number of DNS requests (unstable)')
  const upstream = counter(
    'istio_dns_upstream_requests_total',
    'Total number of DNS requests forwarded to upstream (unstable)',
  )
  const failures = counter(
    'istio_dns_upstream_failures_total',
    'Total number of DNS requests forwarded to upstream that failed (unstable)',
  )
  const duration = new Histogram({
    name: 'istio_dns_upstream_request_duration_seconds',
    help: 'Total time in seconds that upstream takes to answer a DNS request (unstable)',
    labelNames,
    buckets: [0.0005, 0.001, 0.01, 0.1, 1, 5],
    registers,
  })
  const refused = new Counter({
    name: 'lateen_dns_refused_total',
    help: 'DNS requests that were not looked at, or not forwarded, to bound what they cost (unstable)',
    labelNames: ['reason'],
    registers,
  })
  return {
    request: (labels) => requests.inc(valuesOf(labels)),
    upstream: (labels, seconds, failed) => {
      const values = valuesOf(labels)
      upstream.inc(values)
      if (failed) failures.inc(values)
      duration.observe(values, seconds)
    },
    refused: (reason) => refused.inc({ reason }),
  }
}
