import { type Ip, isIpv6, parseIp } from '#base'
import type { EndpointSlice, Service } from '#kube'

/** An endpoint's address and what is known of it. */
export type Backend = Readonly<{
  ip: Ip
  ready: boolean
  /** Still answers although its pod is going away. */
  draining: boolean
  node: string | undefined
  hostname: string | undefined
}>
/** The backends of one port of a Service. */
type PortBackends = Readonly<{
  name: string
  port: number
  protocol: string
  backends: readonly Backend[]
}>

/** `namespace/name` of the Service that a slice belongs to. */
export const serviceOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`

/** The Service's addresses that are real ones: none for a headless Service or an ExternalName. */
export const clusterIps = ({ spec }: Service): readonly Ip[] =>
  (spec?.clusterIPs ?? (spec?.clusterIP === undefined ? [] : [spec.clusterIP]))
    .map(parseIp)
    .filter((ip) => ip !== undefined)

export const isHeadless = ({ spec }: Service): boolean => spec?.clusterIP === 'None'

/** All endpoints of a slice; entries that are no addresses are left out. */
export const backendsOf = ({ endpoints, addressType }: EndpointSlice): readonly Backend[] =>
  (endpoints ?? []).flatMap(({ addresses = [], conditions, nodeName, hostname }) =>
    addresses
      .map(parseIp)
      .filter((ip) => ip !== undefined && isIpv6(ip) === (addressType === 'IPv6'))
      .map((ip) => ({
        ip: ip as Ip,
        // An unknown state counts as ready (EndpointConditions: nil should be interpreted as "true").
        ready: conditions?.ready ?? true,
        draining: (conditions?.serving ?? false) && (conditions?.terminating ?? false),
        node: nodeName,
        hostname,
      })),
  )

/** The backends of a Service's slices, by the name of the port. */
export function backendsByPort(
  slices: readonly EndpointSlice[],
): ReadonlyMap<string, readonly PortBackends[]> {
  const rows = slices.flatMap((slice) => {
    const backends = backendsOf(slice)
    return (slice.ports ?? []).flatMap(({ name = '', port, protocol = 'TCP' }) =>
      port === undefined ? [] : [{ name, port, protocol, backends }],
    )
  })
  return Map.groupBy(rows, ({ name }) => name)
}
