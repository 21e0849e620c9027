import { randomBytes } from 'node:crypto'
import { formatAddress, type SocketAddress } from '#base'
import type { Service, Workload } from '../state/index.ts'

/** Who a workload is, as it travels beside a tunnel (ztunnel: proxy.rs baggage_header_val). */
export function baggageOf(w: Workload): string {
  const pairs: [string, string][] = [
    ['k8s.cluster.name', w.clusterId],
    ['k8s.namespace.name', w.namespace],
    [`k8s.${w.workloadType}.name`, w.workloadName],
    ['service.name', w.canonicalName],
    ['service.version', w.canonicalRevision],
    ['cloud.region', w.locality.region],
    ['cloud.availability_zone', w.locality.zone],
  ]
  const safe = (value: string) => value !== '' && /^[\x21-\x2b\x2d-\x7e]+$/.test(value) // no comma, no blank
  return pairs
    .filter(([, value]) => safe(value))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

/** The headers of an outgoing CONNECT. */
export function requestHeaders(
  source: Workload,
  src: SocketAddress,
  service: Service | undefined,
): Readonly<Record<string, string>> {
  const host = service ? `;host=${service.hostname}` : ''
  return {
    baggage: baggageOf(source),
    forwarded: `for="${formatAddress(src)}"${host}`,
    traceparent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`,
  }
}

/** The service that a peer says it dialled; only for telemetry, never for a decision. */
export function forwardedHost(headers: ReadonlyMap<string, string>): string | undefined {
  const parts = (headers.get('forwarded') ?? '').split(';').map((part) => part.trim())
  const host = parts.find((part) => part.startsWith('host='))?.slice('host='.length)
  return host?.replace(/^"(.*)"$/, '$1').toLowerCase()
}
