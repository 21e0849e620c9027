import { facts, formatAddress, MeshError, type SocketAddress } from '#base'
import type { Transferred } from '#hbone'
import type { SpiffeId } from '#identity'
import { describeError, type Logger } from '#telemetry'
import type { Service, Workload } from '../state/index.ts'
import { labelsOf, type ProxyMetrics } from './metrics.ts'

/** What is known of a connection when it opens. */
export type ConnectionFacts = Readonly<{
  direction: 'inbound' | 'outbound'
  src: SocketAddress
  dst: SocketAddress
  /** The authority of the tunnel, for HBONE. */
  hboneAddress?: string | undefined
  source: Workload | undefined
  destination: Workload | undefined
  /** Authenticated by mTLS. */
  sourceId?: SpiffeId | undefined
  destinationId?: SpiffeId | undefined
  service?: Service | undefined
  /** `performance.now()` when it was accepted, where that is not now. */
  started?: number
  /** Endpoints that could not be reached before this one. */
  attempts?: readonly string[]
  /** Why it went where it went. */
  reason?: string
}>

/** How a connection ended. `policies` are the ones to look at when it was refused. */
export type Ending = Readonly<{ moved?: Transferred; failure?: unknown; policies?: readonly string[] }>

/** Counts a connection as open; the returned function counts and logs its end, once. */
export function recordConnection(
  { metrics, access }: Readonly<{ metrics: ProxyMetrics; access: Logger }>,
  connection: ConnectionFacts,
): (ending: Ending) => void {
  const { direction, sourceId, destinationId } = connection
  const labels = labelsOf({
    ...connection,
    sourceId,
    destinationId,
    service: connection.service,
    reporter: direction === 'outbound' ? 'source' : 'destination',
    mutualTls: sourceId !== undefined,
  })
  const { started = performance.now(), attempts = [], reason } = connection
  metrics.opened(labels)
  if (access.enabled('debug')) access.debug('connection opened', fieldsOf(connection))
  let open = true
  return ({ moved = { toApp: 0, fromApp: 0 }, failure, policies }) => {
    if (!open) return
    open = false
    const error = failure ?? moved.error
    const [request, response] =
      direction === 'outbound' ? [moved.fromApp, moved.toApp] : [moved.toApp, moved.fromApp]
    metrics.closed(labels, { flag: flagOf(error), sent: response, received: request })
    access[error === undefined ? 'info' : 'error']('connection complete', {
      ...fieldsOf(connection),
      bytes_sent: moved.fromApp,
      bytes_recv: moved.toApp,
      duration: `${Math.round(performance.now() - started)}ms`,
      error: error === undefined ? undefined : describeError(error),
      policies: policies?.join(','),
      attempts: attempts.length === 0 ? undefined : attempts.join('; '),
      reason: error === undefined ? undefined : reason,
    })
  }
}

/** One line for a connection that ended before anything was known about it. */
export function logEarlyFailure(
  access: Logger,
  direction: 'inbound' | 'outbound',
  ends: Readonly<{ src: SocketAddress; dst: SocketAddress }>,
  error: unknown,
  reason?: string,
): void {
  access.warn('connection failed', {
    'src.addr': formatAddress(ends.src),
    'dst.addr': formatAddress(ends.dst),
    direction,
    error: describeError(error),
    reason,
  })
}

const flagOf = (error: unknown): string => {
  if (error === undefined) return '-'
  return error instanceof MeshError ? facts[error.code].flag : 'CONNECT'
}

const nameOf = (w: Workload | undefined) => w && (w.name || w.canonicalName)

/** ztunnel's access log keys in its order (metrics.rs). */
const fieldsOf = (c: ConnectionFacts) => ({
  'src.addr': formatAddress(c.src),
  'src.workload': nameOf(c.source),
  'src.namespace': c.source?.namespace,
  'src.identity': c.sourceId,
  'src.cluster': c.source?.clusterId,
  'dst.addr': formatAddress(c.dst),
  'dst.hbone_addr': c.hboneAddress,
  'dst.service': c.service?.hostname,
  'dst.workload': nameOf(c.destination),
  'dst.namespace': c.destination?.namespace,
  'dst.identity': c.destinationId,
  'dst.cluster': c.destination?.clusterId,
  direction: c.direction,
})
