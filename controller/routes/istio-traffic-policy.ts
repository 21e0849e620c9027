import type { ConnectionLimits, DestinationPolicy, OutlierPolicy } from '#routes'
import { usualOutliers } from './defaults.ts'
import {
  booleanOf,
  type Field,
  itemsOf,
  numberOf,
  partsOf,
  portOf,
  problem,
  textOf,
  wordOf,
} from './gateway-api-fields.ts'
import { fractionOf, type Given, given, isThere, msOf, type Notes } from './istio-fields.ts'
import { readLoadBalancer, type ReadLoadBalancer } from './istio-load-balancer.ts'
import { readTls, type ReadTls } from './istio-tls.ts'

type ReadPool = Readonly<{
  limits: Partial<ConnectionLimits>
  /** In place of what the port's declaration says; `declared` in place of what the mesh's settings say. */
  http?: 'client' | 'http2' | 'declared'
}>
type ReadOutliers = Readonly<{ policy: OutlierPolicy; panicPercent: number }>

/** The parts of a policy, each of which is taken or left as a whole. */
export type Groups = Given<{
  loadBalancer: ReadLoadBalancer | undefined
  connectionPool: ReadPool | undefined
  outliers: ReadOutliers | undefined
  tls: ReadTls | undefined
  tunnel: DestinationPolicy['tunnel'] | undefined
  proxyProtocol: 'v1' | 'v2' | undefined
  retryBudget: DestinationPolicy['retryBudget'] | undefined
}>
export type ReadPolicy = Readonly<{ groups: Groups; ports: ReadonlyMap<number, Groups> }>

const fourGroups = ['loadBalancer', 'connectionPool', 'outlierDetection', 'tls'] as const

export function readTrafficPolicy(field: Field, notes: Notes): ReadPolicy {
  const parts = partsOf(field, [...fourGroups, 'portLevelSettings', 'tunnel', 'proxyProtocol', 'retryBudget'])
  const ports = new Map<number, Groups>()
  for (const item of parts ? itemsOf(parts.portLevelSettings) : []) {
    const own = partsOf(item, [...fourGroups, 'port'])
    const number = own && isThere(own.port) ? portOf(partsOf(own.port, ['number'])?.number) : undefined
    if (number === undefined || own === undefined) problem(item, 'has no port')
    else if (ports.has(number)) problem(item, `port ${number} is there twice`)
    else ports.set(number, readGroups(own, notes))
  }
  const tunnel = isThere(parts?.tunnel) ? readTunnel(parts.tunnel) : undefined
  const version = isThere(parts?.proxyProtocol)
    ? (wordOf(partsOf(parts.proxyProtocol, ['version'])?.version, ['V1', 'V2']) ?? 'V1')
    : undefined
  if (isThere(parts?.tunnel))
    notes.remarks.push(
      `${parts.tunnel.path}: waypoints ask the proxy by CONNECT, for connections; they refuse requests, and POST`,
    )
  return {
    groups: {
      ...(parts ? readGroups(parts, notes) : {}),
      ...given({
        tunnel,
        proxyProtocol:
          version === undefined ? undefined : version === 'V1' ? ('v1' as const) : ('v2' as const),
        retryBudget: isThere(parts?.retryBudget) ? readBudget(parts.retryBudget) : undefined,
      }),
    },
    ports,
  }
}

function readGroups(parts: Readonly<Record<(typeof fourGroups)[number], Field>>, notes: Notes): Groups {
  const groups: Groups = given({
    loadBalancer: isThere(parts.loadBalancer) ? readLoadBalancer(parts.loadBalancer, notes) : undefined,
    connectionPool: isThere(parts.connectionPool) ? readPool(parts.connectionPool) : undefined,
    outliers: isThere(parts.outlierDetection) ? readOutliers(parts.outlierDetection) : undefined,
    tls: isThere(parts.tls) ? readTls(parts.tls, notes) : undefined,
  })
  const { locality } = groups.loadBalancer ?? {}
  if (locality !== undefined && locality.kind !== 'distribute' && groups.outliers === undefined) {
    const which = locality.kind === 'failover' ? 'failover' : 'failoverPriority'
    const path = `${parts.loadBalancer.path}.localityLbSetting.${which}`
    notes.remarks.push(`${path}: without outlierDetection nothing fails over`)
  }
  return groups
}

const maxCount = 2 ** 31 - 1
/** 0 says as little as nothing. */
const limit = (field: Field | undefined): number | undefined => numberOf(field, 0, maxCount) || undefined

function readPool(field: Field): ReadPool {
  const parts = partsOf(field, ['tcp', 'http'])
  const tcp = isThere(parts?.tcp)
    ? partsOf(parts.tcp, [
        'maxConnections',
        'connectTimeout',
        'tcpKeepalive',
        'maxConnectionDuration',
        'idleTimeout',
      ])
    : undefined
  const http = isThere(parts?.http)
    ? partsOf(parts.http, [
        'http1MaxPendingRequests',
        'http2MaxRequests',
        'maxRequestsPerConnection',
        'maxRetries',
        'idleTimeout',
        'h2UpgradePolicy',
        'useClientProtocol',
        'maxConcurrentStreams',
        'http2KeepAlive',
      ])
    : undefined
  const upgrade = wordOf(http?.h2UpgradePolicy, ['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'])
  const followsClient = booleanOf(http?.useClientProtocol)
  return {
    limits: given({
      connectTimeoutMs: positiveMs(tcp?.connectTimeout),
      maxConnections: limit(tcp?.maxConnections),
      maxPending: limit(http?.http1MaxPendingRequests),
      maxRequests: limit(http?.http2MaxRequests),
      maxRetries: limit(http?.maxRetries),
      maxRequestsPerConnection: limit(http?.maxRequestsPerConnection),
      maxConcurrentStreams: limit(http?.maxConcurrentStreams),
      tcpIdleTimeoutMs: msOf(tcp?.idleTimeout),
      // Istio: what is said of connections counts for those of HTTP, too.
      httpIdleTimeoutMs: msOf(isThere(http?.idleTimeout) ? http.idleTimeout : tcp?.idleTimeout),
      maxConnectionDurationMs: msOf(tcp?.maxConnectionDuration),
      tcpKeepAlive: isThere(tcp?.tcpKeepalive) ? readKeepAlive(tcp.tcpKeepalive) : undefined,
      http2KeepAlive: isThere(http?.http2KeepAlive) ? readPings(http.http2KeepAlive) : undefined,
    }),
    ...(followsClient === true
      ? { http: 'client' }
      : upgrade === 'UPGRADE'
        ? { http: 'http2' }
        : upgrade === 'DO_NOT_UPGRADE'
          ? { http: 'declared' }
          : {}),
  }
}

/** Nobody waits for no time at all. */
function positiveMs(field: Field | undefined): number | undefined {
  const ms = msOf(field)
  return field !== undefined && ms === 0 ? problem(field, 'is no time') : ms
}

/** What is not said is the operating system's. */
function readKeepAlive(field: Field): ConnectionLimits['tcpKeepAlive'] {
  const parts = partsOf(field, ['probes', 'time', 'interval'])
  return {
    probes: limit(parts?.probes) ?? 9,
    timeMs: msOf(parts?.time) ?? 7_200_000,
    intervalMs: msOf(parts?.interval) ?? 75_000,
  }
}

function readPings(field: Field): ConnectionLimits['http2KeepAlive'] {
  const parts = partsOf(field, ['interval', 'timeout'])
  const [intervalMs, timeoutMs] = [msOf(parts?.interval), msOf(parts?.timeout)]
  if (!intervalMs || !timeoutMs) return problem(field, 'needs interval and timeout')
  return { intervalMs, timeoutMs }
}

function readOutliers(field: Field): ReadOutliers {
  const parts = partsOf(field, [
    'consecutiveErrors',
    'splitExternalLocalOriginErrors',
    'consecutiveLocalOriginFailures',
    'consecutiveGatewayErrors',
    'consecutive5xxErrors',
    'interval',
    'baseEjectionTime',
    'maxEjectionPercent',
    'minHealthPercent',
    'outlierDetectionHttpErrorCodes',
  ])
  const usual = usualOutliers
  const count = (one: Field | undefined) => numberOf(one, 0, maxCount)
  if (isThere(parts?.consecutiveErrors))
    problem(parts.consecutiveErrors, 'is not honoured; say consecutive5xxErrors')
  const codes = parts ? itemsOf(parts.outlierDetectionHttpErrorCodes) : []
  const statuses = codes.flatMap((item) => numberOf(item, 100, 599) ?? [])
  const base = msOf(parts?.baseEjectionTime) ?? usual.baseEjectionMs
  return {
    policy: {
      consecutive5xx: count(parts?.consecutive5xxErrors) ?? usual.consecutive5xx,
      consecutiveGatewayErrors: count(parts?.consecutiveGatewayErrors) ?? usual.consecutiveGatewayErrors,
      splitLocalOrigin: booleanOf(parts?.splitExternalLocalOriginErrors) ?? false,
      consecutiveLocalOriginFailures:
        limit(parts?.consecutiveLocalOriginFailures) ?? usual.consecutiveLocalOriginFailures,
      intervalMs: msOf(parts?.interval) ?? usual.intervalMs,
      baseEjectionMs: base,
      maxEjectionMs: Math.max(base, usual.maxEjectionMs),
      maxEjectionPercent: numberOf(parts?.maxEjectionPercent, 0, 100) || usual.maxEjectionPercent,
      ...given({ statuses: statuses.length === 0 ? undefined : statuses }),
    },
    panicPercent: numberOf(parts?.minHealthPercent, 0, 100) ?? 0,
  }
}

function readTunnel(field: Field): DestinationPolicy['tunnel'] {
  const parts = partsOf(field, ['protocol', 'targetHost', 'targetPort'])
  const [host, port] = [textOf(parts?.targetHost) ?? '', portOf(parts?.targetPort)]
  if (host === '' || port === undefined) return problem(field, 'needs targetHost and targetPort')
  return { method: wordOf(parts?.protocol, ['CONNECT', 'POST']) ?? 'CONNECT', host, port }
}

function readBudget(field: Field): DestinationPolicy['retryBudget'] {
  const parts = partsOf(field, ['percent', 'minRetryConcurrency', 'budgetInterval'])
  return {
    percent: fractionOf(parts?.percent, 0, 100) ?? 20,
    minConcurrency: numberOf(parts?.minRetryConcurrency, 0, maxCount) ?? 3,
    intervalMs: msOf(parts?.budgetInterval) ?? 0,
  }
}

/** The parts that count for a port: what is said of a port stands in place of all four groups. */
export function groupsAt(top: ReadPolicy | undefined, own: ReadPolicy | undefined, port: number): Groups {
  const [outer, inner] = [top && at(top, port), own && at(own, port)]
  return { ...(own?.ports.has(port) ? beside(outer ?? {}) : outer), ...inner }
}

/** What a port has no settings of its own for. */
const beside = ({ tunnel, proxyProtocol, retryBudget }: Groups): Groups =>
  given({ tunnel, proxyProtocol, retryBudget })

function at({ groups, ports }: ReadPolicy, port: number): Groups {
  const own = ports.get(port)
  if (own === undefined) return groups
  return { ...own, ...beside(groups) }
}
