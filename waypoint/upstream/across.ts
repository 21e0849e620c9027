import { type Ip, MeshError, type SocketAddress } from '#base'
import { connectThrough, type OutboundTunnel } from '#hbone'
import type { SpiffeId } from '#identity'
import {
  addressOf,
  expectedOf,
  type Gateway,
  gatewayName,
  type MeshState,
  targetPort,
  type Workload,
} from '#mesh'
import type { Service } from '#mesh'

/** Where a network is entered, and who answers there. */
export type WayIn = Readonly<{ to: SocketAddress; expected: readonly SpiffeId[] }>

/** The gateway's own address, or one of the endpoints of its service. */
export function wayInto(
  state: MeshState,
  { to, port }: Gateway,
  own: Ip,
  random: () => number,
): WayIn | undefined {
  if (to.kind === 'address') {
    const workload = state.workloadAt(to.network, to.address)
    return workload && { to: { address: to.address, port }, expected: expectedOf(workload, undefined) }
  }
  const service = state.service(to.service)
  if (!service) return undefined
  const ways = [...state.membersOf(service.key).values()].flatMap((workload) => {
    const address = addressOf(workload, service, own)
    const at = targetPort(service, workload, port, 'gateway')
    if (workload.status !== 'Healthy' || address === undefined || at === undefined) return []
    return [{ to: { address, port: at }, expected: expectedOf(workload, service) }]
  })
  return ways[Math.floor(random() * ways.length)]
}

const cannot = (message: string) => new MeshError('no-upstream', { message })

/** Whether and how an endpoint of another network is reached: by the service's name, at an id that the service has. */
export function acrossTo(
  workload: Workload,
  service: Service | undefined,
  servicePort: number | undefined,
): Readonly<{ gateway: Gateway; authority: string; expected: readonly SpiffeId[] }> {
  const { networkGateway: gateway, uid, network } = workload
  if (!service || servicePort === undefined) throw cannot(`${uid} is on another network (${network})`)
  if (!gateway) throw cannot(`no gateway to the network of ${uid} (${network})`)
  const expected = service.subjectAltNames
  if (expected.length === 0) throw cannot(`nothing says who answers for ${uid} on its network`)
  return { gateway, authority: `${service.hostname}:${servicePort}`, expected }
}

export const unknownGateway = (gateway: Gateway) => cannot(`unknown network gateway: ${gatewayName(gateway)}`)

/** The tunnel in the tunnel, which the gateway passes on unread; says from which network it comes (ztunnel: outbound.rs). */
export const innerTunnel = (
  outer: OutboundTunnel,
  network: string,
  { headers, ...o }: Parameters<typeof connectThrough>[1],
): Promise<OutboundTunnel> =>
  connectThrough(outer, { ...o, headers: { ...headers, 'x-forwarded-network': network } })
