import { type Ip, isIpv6 } from '#base'
import type { SpiffeId } from '#identity'
import type { Service, Workload } from './mesh.ts'

/**
 * What the endpoint is for. A waypoint's service need not list the port when the endpoint has an application tunnel;
 * a gateway of another network is dialled as it is, without a gateway to it.
 */
export type Mode = 'standard' | 'waypoint' | 'gateway'

/** The endpoint's own map, then the service's number, then an application tunnel's (ztunnel: state.rs). */
export function targetPort(
  service: Service,
  workload: Workload,
  port: number,
  mode: Mode,
): number | undefined {
  const listed = service.ports.get(port)
  const tunnelled = workload.applicationTunnel !== undefined && mode === 'waypoint'
  if (listed === undefined && !tunnelled) return undefined
  const own = workload.services.get(service.key)?.get(port)
  if (own) return own
  if (listed) return listed
  return workload.applicationTunnel?.port === undefined ? undefined : port
}

/** May an endpoint of the service be dialled at this address? */
export const isAllowed = ({ ipFamilies }: Service, address: Ip): boolean =>
  ipFamilies === 'IPv4' ? !isIpv6(address) : ipFamilies !== 'IPv6' || isIpv6(address)

/** The address of an endpoint for a caller who dialled `wanted`: that one, else one of its family, else any. */
export function addressOf(workload: Workload, service: Service | undefined, wanted: Ip): Ip | undefined {
  const { addresses } = workload
  if (addresses.includes(wanted)) return wanted
  let other: Ip | undefined
  for (const address of addresses) {
    if (service && !isAllowed(service, address)) continue
    if (isIpv6(address) === isIpv6(wanted)) return address
    other ??= address
  }
  return other
}

/** The ids under which the endpoint of a service may answer. */
export const expectedOf = (workload: Workload, service: Service | undefined): readonly SpiffeId[] =>
  service === undefined || service.subjectAltNames.length === 0
    ? [workload.identity]
    : [...new Set([...service.subjectAltNames, workload.identity])]
