import type { Socket } from 'node:net'
import { formatAddress, type Ip, MeshError, type SocketAddress } from '#base'
import { type ByteStream, type HbonePool, type OutboundTunnel, socketBytes } from '#hbone'
import type { SpiffeId, Trust, WorkloadCertificate } from '#identity'
import { addressOf, expectedOf, type MeshState, requestHeaders, type Service, type Workload } from '#mesh'
import type { ConnectionLimits } from '#routes'
import { acrossTo, innerTunnel, unknownGateway, type WayIn, wayInto } from './across.ts'
import { dial, type NewSocket } from './dial.ts'
import { isAsked } from './named-host.ts'

/** Where a workload's mesh proxy takes tunnels. */
const hbonePort = 15008

/** What every way out needs. */
export type Leaving = Readonly<{
  identity: SpiffeId
  address: Ip
  network: string
  pool: HbonePool
  newSocket: NewSocket
  /** Our own ports, admin's among them: an endpoint at our own address is not led to them. */
  ownPorts: ReadonlySet<number>
  certificate: () => Promise<WorkloadCertificate>
  /** The mesh, for where other networks are entered. */
  state: MeshState
  trust?: Trust | undefined
  random: () => number
  /** Our own record, for what a tunnel says about its source. */
  local: () => Workload | undefined
}>

/** A workload and the port of it that is meant. */
export type Endpoint = Readonly<{ workload: Workload; port: number }>

/** An open way to an endpoint: through the mesh, or plain where the endpoint is not in it. */
export type Link =
  | Readonly<{ kind: 'tunnel'; tunnel: OutboundTunnel; to: SocketAddress }>
  | Readonly<{ kind: 'socket'; socket: Socket; to: SocketAddress }>

/** What comes and goes over it. */
export const bytesOf = (link: Link): ByteStream =>
  link.kind === 'socket' ? socketBytes(link.socket) : link.tunnel.byteStream()

/** What a way to an endpoint is for. */
export type ReachOptions = Readonly<{
  service: Service | undefined
  /** Of that service; undefined where a workload itself is meant. */
  servicePort?: number | undefined
  /** Whose connection it is; undefined where several share it. */
  client: SocketAddress | undefined
  connectTimeoutMs: number
  /** Of connections of our own to the endpoint; tunnels to its proxy are asked for anyway. */
  keepAlive?: ConnectionLimits['tcpKeepAlive'] | undefined
  signal: AbortSignal
}>

/** The address at which an endpoint is dialled; undefined where it has none that we can reach. */
export function endpointAddress({ workload, port }: Endpoint, service: Service | undefined, own: Ip) {
  const address = addressOf(workload, service, own)
  return address === undefined ? undefined : { address, port }
}

/** Opens a way to an endpoint. Nothing has been sent when it fails. */
export async function reach(endpoint: Endpoint, leaving: Leaving, o: ReachOptions): Promise<Link> {
  const { workload, port } = endpoint
  const { newSocket } = leaving
  const timeoutMs = o.connectTimeoutMs
  if (workload.network !== leaving.network) return await reachAcross(workload, leaving, o)
  const to = endpointAddress(endpoint, o.service, leaving.address)
  if (!to && workload.hostname === '') throw unreachable(`no address of ${workload.uid}`)
  // Its proxy would be asked by its address only, and nothing for it goes in the clear.
  if (!to && workload.protocol === 'HBONE')
    throw unreachable(`${workload.uid} is in the mesh, and known by its name only`)
  if (!to || workload.protocol !== 'HBONE') {
    const host = to?.address ?? workload.hostname
    const isOurs = (address: string, at: number) =>
      leaving.ownPorts.has(at) && (isLoopback(address) || address === leaving.address)
    const { keepAlive, signal } = o
    const farOnly = isAsked(workload)
    const socket = await dial({ host, port }, { newSocket, timeoutMs, keepAlive, farOnly, isOurs, signal })
    return { kind: 'socket', socket, to: to ?? remoteOf(socket, leaving.address, port) }
  }
  const way = { to: { address: to.address, port: hbonePort }, expected: expectedOf(workload, o.service) }
  return { kind: 'tunnel', tunnel: await openTunnel(way, formatAddress(to), leaving, o), to }
}

const openTunnel = (
  { to, expected }: WayIn,
  authority: string,
  leaving: Leaving,
  o: ReachOptions,
): Promise<OutboundTunnel> => {
  const { identity, address, certificate, newSocket, pool } = leaving
  const dialled = { host: to.address, port: to.port }
  return pool.connect({
    key: { source: identity, expected, to, sourceIp: address },
    certificate,
    dial: (signal) => dial(dialled, { newSocket, timeoutMs: o.connectTimeoutMs, signal }),
    authority,
    headers: tunnelHeaders(leaving, o),
    signal: o.signal,
  })
}

/** An endpoint of another network: its gateway passes a tunnel to it on. */
async function reachAcross(workload: Workload, leaving: Leaving, o: ReachOptions): Promise<Link> {
  const { gateway, authority, expected } = acrossTo(workload, o.service, o.servicePort)
  const way = wayInto(leaving.state, gateway, leaving.address, leaving.random)
  if (!way) throw unknownGateway(gateway)
  const certificate = await leaving.certificate() // before there is an outer tunnel to lose
  const outer = await openTunnel(way, authority, leaving, o)
  const headers = tunnelHeaders(leaving, o)
  const { signal } = o
  const trust = leaving.trust ? { trust: leaving.trust } : {}
  const inner = { certificate, expected, authority, headers, signal, ...trust }
  return { kind: 'tunnel', tunnel: await innerTunnel(outer, leaving.network, inner), to: way.to }
}

const isLoopback = (address: string): boolean => /^(::ffff:)?127\.|^::1$/.test(address)
const unreachable = (message: string) => new MeshError('no-upstream', { message })

/** `x-istio-source` marks the previous hop (facts: l7.md §2.9). */
function tunnelHeaders(
  { local, address }: Leaving,
  { client, service }: ReachOptions,
): Record<string, string> {
  const own = local()
  const source = client ?? { address, port: 0 }
  const said = own ? requestHeaders(own, source, service) : {}
  return { ...said, 'x-istio-source': 'waypoint' }
}

/** What a name turned out to be. */
const remoteOf = (socket: Socket, fallback: Ip, port: number): SocketAddress => ({
  address: (socket.remoteAddress as Ip | undefined) ?? fallback,
  port: socket.remotePort ?? port,
})
