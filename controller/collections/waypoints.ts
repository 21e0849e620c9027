import { ipToBytes, parseIp } from '#base'
import { type Collection, derive, type Fetch } from '#kube'
import type { workload } from '#wire'
import { type AllowedNamespaces, type Gateway, readGateway } from './gateway.ts'
import type { Inputs } from './inputs.ts'
import { networkOf } from './services.ts'
import type { Settings } from './settings.ts'

/** What a waypoint may be used for. */
export type TrafficType = 'service' | 'workload' | 'all' | 'none'
/** A Gateway with an address: only then does it count as a waypoint. Its class does not matter. */
export type Waypoint = Readonly<{
  key: string
  namespace: string
  trafficType: TrafficType
  /** Of the listener for HBONE; undefined when there is none. */
  allowed: AllowedNamespaces | undefined
  destination: workload.GatewayAddress
}>

const hbonePort = 15_008
const waypointFor = 'istio.io/waypoint-for'

/** All waypoints, by `namespace/name`. */
export const waypointsFrom = (inputs: Inputs, settings: Settings): Collection<Waypoint> =>
  derive('Waypoints', inputs.gateways, (object, fetch) => {
    const gateway = readGateway(object)
    const destination = gateway && destinationOf(gateway, () => networkOf(fetch, inputs, settings))
    if (!gateway || !destination) return undefined
    const { key, namespace, listeners } = gateway
    const listener = listeners.find(({ port, protocol }) => port === hbonePort && protocol === 'HBONE')
    return {
      key,
      namespace,
      trafficType: trafficTypeOf(gateway, fetch, inputs),
      allowed: listener?.allowed,
      destination,
    }
  })

/** The Gateway says, else its class, else it is for services; a word that nobody knows is no permission. */
function trafficTypeOf(
  { labels, className }: Gateway,
  fetch: Fetch,
  { gatewayClasses }: Inputs,
): TrafficType {
  const word = labels[waypointFor] || fetch.one(gatewayClasses, className)?.metadata.labels?.[waypointFor]
  if (!word) return 'service'
  return word === 'service' || word === 'workload' || word === 'all' ? word : 'none'
}

/** By its name, so that whoever calls it chooses among its endpoints; by an address where only that is published. */
function destinationOf(
  { namespace, published }: Gateway,
  network: () => string,
): workload.GatewayAddress | undefined {
  const hostname = published.find(({ type }) => type === 'Hostname')?.value
  if (hostname !== undefined)
    return { destination: { $case: 'hostname', value: { namespace, hostname } }, hboneMtlsPort: hbonePort }
  const ip = published.map(({ value }) => parseIp(value)).find((address) => address !== undefined)
  if (ip === undefined) return undefined
  const value = { network: network(), address: Buffer.from(ipToBytes(ip)) }
  return { destination: { $case: 'address', value }, hboneMtlsPort: hbonePort }
}
