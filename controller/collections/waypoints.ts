import { parseIp } from '#base'
import { type Collection, type Custom, derive } from '#kube'
import { workload } from '#wire'
import { type AllowedNamespaces, type Gateway, readGateway } from './gateway.ts'
import { bytesOfIp, type Inputs } from './inputs.ts'
import { networkOf } from './services.ts'
import { annotations, type Settings } from './settings.ts'

/** What a waypoint may be used for. */
type TrafficType = 'service' | 'workload' | 'all' | 'none'
/** A Gateway with an address: only then does it count as a waypoint. Its class does not matter. */
export type Waypoint = Readonly<{
  key: string
  name: string
  namespace: string
  className: string
  trafficType: TrafficType
  /** Who may be bound to it. */
  allowed: AllowedNamespaces
  destination: workload.GatewayAddress
  /** How its pods want what a tunnel carries; undefined: they end the tunnel themselves. */
  tunnel: workload.ApplicationTunnel | undefined
  /** What its owner says of traffic without it. */
  failOpenWord: string | undefined
}>

/** Where waypoints take tunnels. */
export const hbonePort = 15_008
const waypointFor = 'istio.io/waypoint-for'

/** All waypoints, by `namespace/name`. */
export const waypointsFrom = (inputs: Inputs, settings: Settings): Collection<Waypoint> =>
  derive('Waypoints', inputs.gateways, (object, fetch) => {
    const gateway = readGateway(object)
    const destination = gateway && destinationOf(gateway, () => networkOf(fetch, inputs, settings))
    if (!gateway || !destination) return undefined
    const { key, name, namespace, className } = gateway
    const ofClass = fetch.one(inputs.gatewayClasses, gateway.className)
    const tunnel = tunnelIn(
      gateway.annotations[annotations.inboundBinding] ??
        ofClass?.metadata.annotations?.[annotations.inboundBinding],
    )
    const trafficType = trafficTypeOf(gateway, ofClass)
    const failOpenWord = gateway.annotations[annotations.failOpen]
    const allowed = allowedBy(gateway, tunnel)
    return { key, name, namespace, className, trafficType, allowed, destination, tunnel, failOpenWord }
  })

/** The Gateway says, else its class, else it is for services; a word that nobody knows is no permission. */
function trafficTypeOf({ labels }: Gateway, ofClass: Custom | undefined): TrafficType {
  const word = labels[waypointFor] || ofClass?.metadata.labels?.[waypointFor]
  if (!word) return 'service'
  return word === 'service' || word === 'workload' || word === 'all' ? word : 'none'
}

const { ApplicationTunnel_Protocol: Protocol } = workload
const binding = /^(NONE|PROXY)(?:\/(\d{1,5}))?$/

/** `protocol` or `protocol/port`; what is neither is no binding. */
function tunnelIn(text = ''): workload.ApplicationTunnel | undefined {
  const [, protocol, port = '0'] = binding.exec(text) ?? []
  if (protocol === undefined || Number(port) > 65_535) return undefined
  return { protocol: protocol === 'PROXY' ? Protocol.PROXY : Protocol.NONE, port: Number(port) }
}

/** The listener that the tunnel leads to says, else the one for HBONE; without either the Gateway API's default holds. */
function allowedBy(
  { listeners }: Gateway,
  tunnel: workload.ApplicationTunnel | undefined,
): AllowedNamespaces {
  const bound = listeners.find(({ port, protocol }) =>
    tunnel?.port
      ? port === tunnel.port
      : tunnel?.protocol === Protocol.PROXY && protocol === 'istio.io/PROXY',
  )
  const hbone = listeners.find(({ port, protocol }) => port === hbonePort && protocol === 'HBONE')
  return (bound ?? hbone)?.allowed ?? { from: 'Same' }
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
  const value = { network: network(), address: bytesOfIp(ip) }
  return { destination: { $case: 'address', value }, hboneMtlsPort: hbonePort }
}
