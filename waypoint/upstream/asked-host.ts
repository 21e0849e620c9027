import { cidrContains, isIpv6, type SocketAddress } from '#base'
import { type MeshState, parseWorkload, type Service } from '#mesh'
import { workload as wire } from '#wire'
import { isNear } from './dial.ts'
import { type Host, newHost } from './host.ts'

/** A service without endpoints of its own (resolution NONE): whoever calls it says at which of its addresses. */
export const isAnyAddress = ({ loadBalancer }: Pick<Service, 'loadBalancer'>): boolean =>
  loadBalancer.mode === 'Passthrough'

/** Whose address a client has used, at one of the service's ports; undefined where nobody may be sent there. */
export function askedHost(
  service: Service,
  port: number,
  { address }: SocketAddress,
  { state, network }: Readonly<{ state: MeshState; network: string }>,
): Host | undefined {
  const target = service.ports.get(port)
  const isNamed = service.vips.some((vip) => vip.network === network && vip.address === address)
  const isWithin = () =>
    service.cidrVips.some((block) => block.network === network && cidrContains(block.cidr, address)) &&
    !isNear(address, isIpv6(address) ? 6 : 4)
  if (target === undefined || !(isNamed || isWithin())) return undefined
  const known = state.workloadAt(network, address)
  // Its own waypoint is not passed by.
  if (known?.waypoint) return undefined
  const row = { ...wire.Workload.decode(new Uint8Array()), uid: `address:${address}`, network }
  const workload = known ?? {
    ...parseWorkload({ ...row, namespace: service.namespace }),
    addresses: [address],
  }
  return newHost(workload, target === 0 ? port : target, 0)
}
