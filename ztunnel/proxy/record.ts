import type { Socket } from 'node:net'
import { facts, formatAddress, MeshError, type SocketAddress } from '#base'
import type { Transferred } from '#hbone'
import type { SpiffeId } from '#identity'
import type { Party } from '#mesh'
import { describeError, type Logger } from '#telemetry'
import type { Service, Workload } from '../state/index.ts'
import type { ProxyMetrics } from './metrics.ts'

/** What is known of a connection when it opens. */
export type ConnectionFacts = Readonly<{
  direction: 'inbound' | 'outbound'
  src: SocketAddress
  dst: SocketAddress
  /** The authority of the tunnel, for HBONE. */
  hboneAddress?: string | undefined
  source: Workload | Party | undefined
  destination: Workload | Party | undefined
  /** Authenticated by mTLS. */
  sourceId?: SpiffeId | undefined
  destinationId?: SpiffeId | undefined
  service?: Service | undefined
  /** What the peer's proxy calls the connection; logged while debugging, as ztunnel does. */
  traceId?: string | undefined
  /** `performance.now()` when it was accepted, where that is not now. */
  started?: number
  /** Endpoints that could not be reached before this one. */
  attempts?: readonly string[]
  /** Why it went where it went. */
  reason?: string
}>

/** How a connection ended. `policies` are the ones to look at when it was refused, `reason` says more than the error's code. */
export type Ending = Readonly<{
  moved?: Transferred
  failure?: unknown
  policies?: readonly string[]
  reason?: string
}>

/** Counts and logs the end of a connection, once. */
type Recorded = ((ending: Ending) => void) &
  Readonly<{
    /** Bytes that this socket moves are counted while they move; `already` were written to it before. */
    watch(app: Socket, already?: number): void
  }>

/** Counts a connection as open until the returned function says how it ended. */
export function recordConnection(
  { metrics, access }: Readonly<{ metrics: ProxyMetrics; access: Logger }>,
  connection: ConnectionFacts,
): Recorded {
  const { direction, source, sourceId, destination, destinationId, service } = connection
  const counted = metrics.open({
    source,
    sourceId,
    destination,
    destinationId,
    service,
    reporter: direction === 'outbound' ? 'source' : 'destination',
    mutualTls: sourceId !== undefined,
  })
  const { started = performance.now(), attempts = [] } = connection
  const traced = access.enabled('debug') ? { id: connection.traceId } : {}
  if (access.enabled('debug')) access.debug('connection opened', { ...fieldsOf(connection), ...traced })
  let open = true
  const finish = (ending: Ending) => {
    if (!open) return
    open = false
    const { moved = { toApp: 0, fromApp: 0 } } = ending
    const error = ending.failure ?? moved.error
    const [received, sent] =
      direction === 'outbound' ? [moved.fromApp, moved.toApp] : [moved.toApp, moved.fromApp]
    counted.closed({ flag: flagOf(error), sent, received })
    const level = error === undefined ? 'info' : 'error'
    if (!access.enabled(level)) return
    access[level]('connection complete', {
      ...fieldsOf(connection),
      bytes_sent: moved.fromApp,
      bytes_recv: moved.toApp,
      duration: `${Math.round(performance.now() - started)}ms`,
      error: error === undefined ? undefined : describeError(error),
      ...(error === undefined ? unusual(connection) : whyFields(error, ending, connection)),
      attempts: attempts.length === 0 ? undefined : attempts.join('; '),
      ...traced,
    })
  }
  return Object.assign(finish, { watch: (app: Socket, already?: number) => counted.watch(app, already) })
}

/** What ztunnel does not say: which rule of ours ended it, on which way. */
const whyFields = (error: unknown, { policies, reason }: Ending, connection: ConnectionFacts) => ({
  reason: reason ?? reasonOf(error),
  route: connection.reason,
  policies: policies?.join(','),
})

/** A way that nobody would expect of a connection that went well. */
const unusual = ({ reason }: ConnectionFacts) => (reason === 'past-waypoint' ? { route: reason } : {})

/** One line for a connection that ended before anything was known about it. */
export function logEarlyFailure(
  access: Logger,
  direction: 'inbound' | 'outbound',
  ends: Readonly<{ src: SocketAddress; dst: SocketAddress }>,
  error: unknown,
  reason = reasonOf(error),
): void {
  if (!access.enabled('warn')) return
  access.warn('connection failed', {
    'src.addr': formatAddress(ends.src),
    'dst.addr': formatAddress(ends.dst),
    direction,
    error: describeError(error),
    reason,
  })
}

const reasonOf = (error: unknown): string => (error instanceof MeshError ? error.code : 'io')

const flagOf = (error: unknown): string => {
  if (error === undefined) return '-'
  return error instanceof MeshError ? facts[error.code].flag : 'CONNECT'
}

const nameOf = (party: Workload | Party | undefined) => party && (party.name || party.canonicalName)
const unlessEmpty = (text: string | undefined) => (text === '' ? undefined : text)

/** ztunnel's access log keys in its order (metrics.rs). */
const fieldsOf = (c: ConnectionFacts) => ({
  'src.addr': formatAddress(c.src),
  'src.workload': unlessEmpty(nameOf(c.source)),
  'src.namespace': unlessEmpty(c.source?.namespace),
  'src.identity': c.sourceId,
  'src.cluster': unlessEmpty(c.source?.clusterId),
  'dst.addr': formatAddress(c.dst),
  'dst.hbone_addr': c.hboneAddress,
  'dst.service': c.service?.hostname,
  'dst.workload': unlessEmpty(nameOf(c.destination)),
  'dst.namespace': unlessEmpty(c.destination?.namespace),
  'dst.identity': c.destinationId,
  'dst.cluster': unlessEmpty(c.destination?.clusterId),
  direction: c.direction,
})
