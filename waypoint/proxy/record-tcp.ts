import { facts, formatAddress, MeshError } from '#base'
import type { InboundTunnel } from '#hbone'
import { describeError } from '#telemetry'
import type { Accepted } from '../target/index.ts'
import {
  connectionCelFacts,
  connectionLine,
  type CountedConnection,
  type LabelFacts,
  type Moved,
} from '../telemetry/index.ts'
import type { ProxyContext } from './context.ts'
import type { Relayed } from './relay.ts'
import type { Reached } from './reach-target.ts'

/** Counts a connection from when its endpoint is reached, or is known not to be, and logs it when it has ended. */
export type TcpRecord = Readonly<{
  /** `moved` tells of what it carries until it has ended. */
  opened(reached: Reached | undefined, moved?: () => Moved): void
  ended(moved: Relayed): void
}>

export function recordTcp(
  { state, network, tcp, access, identity, http }: ProxyContext,
  tunnel: InboundTunnel,
  target: Accepted,
  started: number,
): TcpRecord {
  const source = state.workloadAt(network, tunnel.remote.address)
  const service = target.kind === 'service' ? target.service : undefined
  let reached: Reached | undefined
  let counted: CountedConnection | undefined
  const destination = () => reached?.workload ?? (target.kind === 'workload' ? target.workload : undefined)
  const labels = (): LabelFacts => ({
    source,
    sourceId: tunnel.peer,
    destination: destination(),
    destinationId: reached?.link.kind === 'tunnel' ? reached.link.tunnel.peer : undefined,
    // The one that it was routed to.
    service: reached?.among?.cluster.service ?? service,
    protocol: 'tcp',
  })
  const ends = (by: Reached | undefined) => ({
    downstreamRemoteAddress: formatAddress(tunnel.remote),
    downstreamLocalAddress: formatAddress(target.judged),
    downstreamPeer: tunnel.peer,
    downstreamSelf: identity,
    upstreamHost: by && formatAddress(by.link.to),
  })
  const opened = (by: Reached | undefined, moved: () => Moved = nothing) => {
    reached = by
    const facts = () => connectionCelFacts(ends(by))
    counted = tcp.open(labels(), moved, http.variants(facts, service?.key))
  }
  const startTime = new Date()
  const ended = ({ sent, received, error }: Relayed) => {
    counted?.closed(flagOf(error), { sent: received, received: sent })
    const isLogged = http.accessLog(
      {
        ...ends(reached),
        ...lineOf(target, reached, { sent, received, error }),
        startTime,
        durationMs: Math.round(performance.now() - started),
      },
      service?.key,
    )
    // Who has a log of requests and connections wants each once; why one failed is told in more words.
    const level = error !== undefined ? 'error' : isLogged ? 'debug' : 'info'
    if (!access.enabled(level)) return
    access[level]('connection complete', {
      'src.addr': formatAddress(tunnel.remote),
      'src.workload': source?.name,
      'src.namespace': source?.namespace,
      'src.identity': tunnel.peer,
      'dst.addr': reached && formatAddress(reached.link.to),
      'dst.hbone_addr': tunnel.authority,
      'dst.service': service?.hostname,
      'dst.workload': destination()?.name,
      'dst.namespace': destination()?.namespace,
      direction: 'waypoint',
      bytes_sent: received,
      bytes_recv: sent,
      duration: `${Math.round(performance.now() - started)}ms`,
      error: error === undefined ? undefined : describeError(error),
    })
  }
  return { opened, ended }
}

/** What Envoy's access log says of a connection, but for its ends and its time. */
function lineOf(target: Accepted, reached: Reached | undefined, { sent, received, error }: Relayed) {
  const flag = flagOf(error)
  const chosen = reached?.among?.cluster
  const asked = target.kind === 'service' ? target.service : undefined
  const name = (chosen?.service ?? asked)?.hostname
  const { port, subset } = chosen?.policy.destination ?? { port: target.judged.port }
  return {
    ...connectionLine,
    responseFlags: flag === '-' ? '' : flag,
    upstreamTransportFailureReason:
      reached === undefined && error !== undefined ? describeError(error) : undefined,
    bytesReceived: sent,
    bytesSent: received,
    upstreamCluster: name && `inbound-vip|${port}|tcp${subset === undefined ? '' : `/${subset}`}|${name}`,
    upstreamPeer: reached?.link.kind === 'tunnel' ? reached.link.tunnel.peer : undefined,
  }
}

const nothing = (): Moved => ({ sent: 0, received: 0 })

/** Envoy's words for why a connection failed (facts: l7.md §3.3). */
const flagOf = (error: unknown): string => {
  if (error === undefined) return '-'
  if (!(error instanceof MeshError)) return 'UC'
  if (error.code === 'no-upstream') return 'UH'
  if (error.code === 'over-limit') return 'UO'
  return facts[error.code].side === 'upstream' ? 'UF' : '-'
}
