import { cidrContains, formatAddress, type Ip, isIpv6, type SocketAddress } from '#base'
import type { Gateway, Service, Workload } from '#mesh'
import type { Route } from '../../ztunnel/state/index.ts'

/** The rows of a mesh, in any order. */
type Rows = Readonly<{ workloads: readonly Workload[]; services: readonly Service[] }>
type Asked = Readonly<{
  source: Workload
  sourceIp: Ip
  network: string
  registryOnly?: boolean
}>

/** A route as one line; all refusals are alike. */
export function routeText(route: Route): string {
  switch (route.kind) {
    case 'reject':
      return 'reject'
    case 'passthrough':
    case 'direct':
      return `${route.kind} ${formatAddress(route.to)} ${route.reason}`
    case 'resolve':
      return `resolve ${route.hostname} ${route.prefer} ${route.only ?? 'any'} ${route.way.tunnel} ${route.way.port} ${route.reason}`
    default: {
      const inner = route.kind === 'double-hbone' ? ` inner ${ids(route.inner.expect)}` : ''
      return `${route.kind} ${formatAddress(route.via)} ${route.authority} ${ids(route.expect)}${inner} ${route.reason}`
    }
  }
}
const ids = (list: readonly string[]) => [...new Set(list)].toSorted().join(',')

/**
 * What facts/ztunnel.md §3.1 and §3.2 allow, read sentence by sentence, with lists and loops only: every route that the
 * dice may give. Where we do more than ztunnel (a way that does not exist is passed over) it is said.
 */
export function possibleRoutes(rows: Rows, asked: Asked, dst: SocketAddress): ReadonlySet<string> {
  const { source, sourceIp, network } = asked
  const loopback = dst.address.startsWith('127.') || dst.address === '::1' || dst.address === sourceIp
  if (loopback && [15001, 15006, 15008].includes(dst.port)) return new Set(['reject'])
  const service = serviceAt(rows, network, dst.address, source.namespace)
  const workload = workloadAt(rows, network, dst.address)
  if (service) return toService(rows, asked, dst, service, workload !== undefined)
  if (workload) {
    if (workload.waypoint && !isOwn(rows, asked, workload.waypoint))
      return viaWaypoint(rows, asked, dst, workload.waypoint, undefined, 'workload-waypoint')
    return new Set([straight(workload, undefined, dst.address, dst.port, 'workload-address')])
  }
  const to = formatAddress(dst)
  if (loopback) return new Set([`passthrough ${to} own-address`])
  return new Set([asked.registryOnly === true ? 'reject' : `passthrough ${to} not-in-mesh`])
}

function toService(
  rows: Rows,
  asked: Asked,
  dst: SocketAddress,
  s: Service,
  alsoWorkload: boolean,
): Set<string> {
  const named = [...(s.waypoint ? [s.waypoint] : []), ...s.weightedWaypoints.map(({ gateway }) => gateway)]
  const mine = named.some((gateway) => isOwn(rows, asked, gateway))
  const weighted = s.weightedWaypoints.filter(({ weight }) => weight > 0).map(({ gateway }) => gateway)
  const waypoints = weighted.length > 0 ? weighted : s.waypoint ? [s.waypoint] : []
  if (!mine && waypoints.length > 0) {
    // More than ztunnel: of several, one that has nobody to dial is passed over.
    const ways = waypoints.map((gateway) => viaWaypoint(rows, asked, dst, gateway, s, 'service-waypoint'))
    return good(ways)
  }
  if (s.loadBalancer.mode === 'Passthrough')
    return new Set([`passthrough ${formatAddress(dst)} service-passthrough`])
  const tiers = endpoints(rows, asked, s, dst.port, 'standard')
  for (const tier of tiers) {
    const ways = tier.map(({ workload, port }) => {
      if (workload.network !== asked.network)
        return across(rows, asked, dst, s, workload, s.subjectAltNames, 'remote-endpoint')
      if (alsoWorkload && workload.waypoint && !isOwn(rows, asked, workload.waypoint))
        return viaWaypoint(rows, asked, dst, workload.waypoint, s, 'workload-waypoint')
      return new Set([straight(workload, s, dst.address, port, 'service-endpoint')])
    })
    // More than ztunnel: an endpoint to which there is no way is passed over, not an error.
    const there = good(ways)
    if (!there.has('reject')) return there
  }
  return new Set(['reject'])
}

function viaWaypoint(
  rows: Rows,
  asked: Asked,
  dst: SocketAddress,
  gateway: Gateway,
  service: Service | undefined,
  reason: string,
): Set<string> {
  for (const tier of hops(rows, asked, gateway, dst.address, 'waypoint')) {
    const ways = tier.map(({ workload, named, wanted, port }) => {
      if (workload.network !== asked.network) {
        if (!service) return new Set(['reject'])
        return across(rows, asked, dst, service, workload, named?.subjectAltNames ?? [], 'remote-waypoint')
      }
      const expect = ids([...(named?.subjectAltNames ?? []), workload.identity])
      return new Set([
        dialled(workload, named, wanted, dst.address, port, 'waypoint', reason, (address) => {
          return `waypoint ${formatAddress({ address, port })} ${formatAddress(dst)} ${expect} ${reason}`
        }),
      ])
    })
    const there = good(ways)
    if (!there.has('reject')) return there
  }
  return new Set(['reject'])
}

function across(
  rows: Rows,
  asked: Asked,
  dst: SocketAddress,
  service: Service,
  endpoint: Workload,
  inner: readonly string[],
  reason: string,
): Set<string> {
  if (!endpoint.networkGateway || inner.length === 0) return new Set(['reject'])
  const [found] = hops(rows, asked, endpoint.networkGateway, dst.address, 'gateway')
  if (!found) return new Set(['reject'])
  return new Set(
    found.map(({ workload, named, wanted, port }) => {
      const expect = ids([...(named?.subjectAltNames ?? []), workload.identity])
      const tail = `${service.hostname}:${dst.port} ${expect} inner ${ids(inner)} ${reason}`
      return dialled(workload, named, wanted, dst.address, port, 'double-hbone', reason, (address) => {
        return `double-hbone ${formatAddress({ address, port })} ${tail}`
      })
    }),
  )
}

const straight = (w: Workload, s: Service | undefined, wanted: Ip, port: number, reason: string): string =>
  w.protocol === 'TCP'
    ? dialled(
        w,
        s,
        wanted,
        wanted,
        port,
        'none',
        reason,
        (address) => `direct ${formatAddress({ address, port })} ${reason}`,
      )
    : dialled(w, s, wanted, wanted, port, 'hbone', reason, (address) => {
        const via = formatAddress({ address, port: 15008 })
        const expect = ids([...(s?.subjectAltNames ?? []), w.identity])
        return `hbone ${via} ${formatAddress({ address, port })} ${expect} ${reason}`
      })

/** The address that was dialled, else one that the service allows, rather of the caller's family, else by name. */
function dialled(
  w: Workload,
  s: Service | undefined,
  wanted: Ip,
  caller: Ip,
  port: number,
  tunnel: string,
  reason: string,
  text: (address: Ip) => string,
): string {
  const allowed = w.addresses.filter((address) => allows(s, address))
  const address = w.addresses.includes(wanted)
    ? wanted
    : (allowed.find((one) => isIpv6(one) === isIpv6(wanted)) ?? allowed[0])
  if (address !== undefined) return text(address)
  if (w.hostname === '') return 'reject'
  const only = s?.ipFamilies === 'IPv4' ? 'ipv4' : s?.ipFamilies === 'IPv6' ? 'ipv6' : undefined
  const prefer = only ?? (isIpv6(caller) ? 'ipv6' : 'ipv4')
  return `resolve ${w.hostname} ${prefer} ${only ?? 'any'} ${tunnel} ${port} ${reason}`
}

const allows = (s: Service | undefined, address: Ip) =>
  s?.ipFamilies === 'IPv4' ? !isIpv6(address) : s?.ipFamilies === 'IPv6' ? isIpv6(address) : true

type Hop = { workload: Workload; named: Service | undefined; wanted: Ip; port: number }

/** Where a gateway may be dialled, by rank. */
function hops(
  rows: Rows,
  asked: Asked,
  { to, port }: Gateway,
  caller: Ip,
  mode: 'waypoint' | 'gateway',
): Hop[][] {
  const named = gatewayService(rows, asked.source.namespace, { to, port })
  const wanted = to.kind === 'address' ? to.address : caller
  if (named)
    return endpoints(rows, asked, named, port, mode).map((tier) =>
      tier.map((endpoint) => ({ workload: endpoint.workload, named, wanted, port: endpoint.port })),
    )
  const workload = to.kind === 'address' ? workloadAt(rows, to.network, to.address) : undefined
  return workload ? [[{ workload, named: undefined, wanted, port }]] : []
}

function gatewayService(rows: Rows, namespace: string, { to }: Gateway): Service | undefined {
  if (to.kind === 'hostname') return rows.services.find(({ key }) => key === to.service)
  return serviceAt(rows, to.network, to.address, namespace)
}

function isOwn(rows: Rows, { source, sourceIp }: Asked, gateway: Gateway): boolean {
  if (!source.addresses.includes(sourceIp)) return false
  const named = gatewayService(rows, source.namespace, gateway)
  if (named) return source.services.has(named.key)
  return gateway.to.kind === 'address' && gateway.to.address === sourceIp
}

/** Candidates by rank, the best first. Those of capacity 0 are none of them. */
function endpoints(
  rows: Rows,
  asked: Asked,
  s: Service,
  port: number,
  mode: 'standard' | 'waypoint' | 'gateway',
) {
  const { mode: balance, preferences, healthPolicy } = s.loadBalancer
  const found: { rank: number; workload: Workload; port: number }[] = []
  for (const workload of rows.workloads) {
    const map = workload.services.get(s.key)
    if (!map || workload.capacity === 0) continue
    if (workload.status !== 'Healthy' && healthPolicy !== 'AllowAll') continue
    const near = workload.network === asked.network || mode === 'gateway'
    const hasAddress = workload.addresses.some((address) => allows(s, address)) || workload.hostname !== ''
    if (near ? !hasAddress : !workload.networkGateway) continue
    const listed = s.ports.has(port)
    if (!listed && !(mode === 'waypoint' && workload.applicationTunnel)) continue
    const tunnelPort = workload.applicationTunnel?.port === undefined ? 0 : port
    const target = map.get(port) || s.ports.get(port) || tunnelPort
    if (target === 0) continue
    const matches = preferences.map((scope) => same(scope, asked.source, workload))
    if (balance === 'Strict' && matches.includes(false)) continue
    found.push({ rank: balance === 'Failover' ? rank(preferences, matches) : 0, workload, port: target })
  }
  const ranks = [...new Set(found.map((one) => one.rank))].toSorted((a, b) => b - a)
  return ranks.map((wanted) => found.filter((one) => one.rank === wanted))
}

function rank(preferences: readonly string[], matches: readonly boolean[]): number {
  if (preferences[0] !== 'Network') return leading(matches)
  const rest = leading(matches.slice(1))
  return matches[0] === true ? preferences.length + rest : rest
}
const leading = (matches: readonly boolean[]) => {
  const miss = matches.indexOf(false)
  return miss === -1 ? matches.length : miss
}

function same(scope: string, a: Workload, b: Workload): boolean {
  if (scope === 'Region') return a.locality.region === b.locality.region
  if (scope === 'Zone') return a.locality.zone === b.locality.zone
  if (scope === 'Subzone') return a.locality.subzone === b.locality.subzone
  if (scope === 'Node') return a.node === b.node
  if (scope === 'Cluster') return a.clusterId === b.clusterId
  return a.network === b.network
}

export function serviceAt(rows: Rows, network: string, address: Ip, namespace: string): Service | undefined {
  const visible = rows.services.filter((s) => s.visibility === 'Public' || s.namespace === namespace)
  const exact = visible.filter((s) =>
    s.vips.some((vip) => vip.network === network && vip.address === address),
  )
  if (exact.length > 0) return preferred(exact, namespace)
  const lengthOf = (s: Service) =>
    Math.max(
      -1,
      ...s.cidrVips
        .filter(({ network: at, cidr }) => at === network && cidrContains(cidr, address))
        .map(({ cidr }) => cidr.length),
    )
  const covering = visible.filter((s) => lengthOf(s) >= 0)
  const own = covering.filter((s) => s.namespace === namespace)
  const from = own.length > 0 ? own : covering
  const longest = Math.max(...from.map(lengthOf))
  return preferred(
    from.filter((s) => lengthOf(s) === longest),
    namespace,
  )
}

function preferred(services: readonly Service[], namespace: string): Service | undefined {
  const sorted = services.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const own = sorted.filter((s) => s.namespace === namespace)
  const from = own.length > 0 ? own : sorted
  return from.find(({ canonical }) => canonical) ?? from[0]
}

export function workloadAt(rows: Rows, network: string, address: Ip): Workload | undefined {
  const here = rows.workloads.filter(
    (w) => w.networkMode === 'Standard' && w.network === network && w.addresses.includes(address),
  )
  const isPod = ({ uid }: Workload) => uid.includes('//Pod/')
  const classes = [
    here.filter((w) => isPod(w) && w.protocol === 'HBONE'),
    here.filter(isPod),
    here.filter((w) => w.protocol === 'HBONE'),
    here,
  ]
  return classes.find((list) => list.length > 0)?.toSorted((a, b) => (a.uid < b.uid ? -1 : 1))[0]
}

/** Every way that exists; a refusal if there is none. */
function good(ways: readonly ReadonlySet<string>[]): Set<string> {
  const there = ways.flatMap((way) => [...way]).filter((route) => route !== 'reject')
  return new Set(there.length > 0 ? there : ['reject'])
}
