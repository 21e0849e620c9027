import type { Listener } from '../collections/index.ts'
import type { ClassKind } from './classes.ts'

/** What is wrong with a listener, with a reason of the Gateway API. */
export type ListenerProblem = Readonly<{
  reason: 'UnsupportedProtocol' | 'UnsupportedValue' | 'HostnameConflict' | 'ProtocolConflict'
  message: string
}>
/** Kinds of routes that a listener can have. */
export type RouteKind = 'HTTPRoute' | 'GRPCRoute' | 'TLSRoute' | 'TCPRoute'

const hbonePort = 15_008
const shown = (text: string) => text.slice(0, 80)

/** Why a listener cannot be served by Gateways of a class, apart from what it shares its port with. */
export function listenerProblem(kind: ClassKind, listener: Listener): ListenerProblem | undefined {
  switch (kind) {
    case 'waypoint':
      return waypointProblem(listener)
    case 'east-west':
      return eastWestProblem(listener)
    case 'ingress':
      return ingressProblem(listener)
    case 'remote':
      return undefined
  }
}

const unsupported = (message: string): ListenerProblem => ({ reason: 'UnsupportedProtocol', message })
const badMode = (message: string): ListenerProblem => ({ reason: 'UnsupportedValue', message })

/** A waypoint listens for HBONE at 15008 and for nothing else. */
function waypointProblem({ port, protocol }: Listener): ListenerProblem | undefined {
  if (protocol === 'HBONE' && port === hbonePort) return undefined
  const hint = protocol !== 'HBONE' && protocol.toUpperCase() === 'HBONE' ? ' (in capitals)' : ''
  return unsupported(
    `a waypoint has protocol HBONE${hint} at port ${hbonePort} only, not ${shown(protocol)} at ${port}`,
  )
}

function eastWestProblem({ port, protocol, tls }: Listener): ListenerProblem | undefined {
  const [wanted, mode] = port === hbonePort ? ['HBONE', 'Terminate'] : ['TLS', 'Passthrough']
  if (protocol !== wanted)
    return unsupported(
      `a gateway between networks has protocol ${wanted} at port ${port}${inCapitals(protocol, wanted)}`,
    )
  if (tls?.mode === mode) return undefined
  return badMode(`a gateway between networks has tls.mode ${mode} at port ${port}`)
}

const inCapitals = (protocol: string, wanted: string) =>
  protocol.toUpperCase() === wanted ? ' (in capitals)' : `, not ${shown(protocol)}`

const ingressProtocols: readonly string[] = ['HTTP', 'HTTPS', 'TLS', 'TCP']

function ingressProblem({ protocol, tls }: Listener): ListenerProblem | undefined {
  if (!ingressProtocols.includes(protocol)) {
    const hint = ingressProtocols.includes(protocol.toUpperCase()) ? ' (in capitals)' : ''
    return unsupported(`protocol ${shown(protocol)}: one of ${ingressProtocols.join(', ')}${hint}`)
  }
  if (protocol === 'HTTPS' && tls !== undefined && tls.mode !== 'Terminate')
    return badMode(`tls.mode ${shown(tls.mode)}: HTTPS is terminated`)
  if (protocol === 'TLS' && tls !== undefined && tls.mode !== 'Terminate' && tls.mode !== 'Passthrough')
    return badMode(`tls.mode ${shown(tls.mode)}: Terminate or Passthrough`)
  return undefined
}

/** Protocols that share a port by host names; others have theirs alone. */
const families: Readonly<Record<string, string>> = { HTTP: 'plain', HTTPS: 'tls', TLS: 'tls' }

/**
 * What other listener of its Gateway one cannot be told from. Between these there is no winner: each of them has this
 * conflict (the order of a list is nobody's intention).
 */
export function conflictOf(listener: Listener, all: readonly Listener[]): ListenerProblem | undefined {
  const family = families[listener.protocol]
  for (const other of all) {
    if (other === listener || other.port !== listener.port) continue
    const named = `listener ${shown(other.name)} has port ${other.port} with protocol ${shown(other.protocol)}`
    if (family === undefined || families[other.protocol] !== family)
      return { reason: 'ProtocolConflict', message: named }
    if (other.hostname === listener.hostname)
      return {
        reason: 'HostnameConflict',
        message: `${named} and ${other.hostname === '' ? 'no host name either' : `host name ${shown(other.hostname)}`}`,
      }
  }
  return undefined
}

/** Which kinds of routes a listener's protocol carries. HBONE carries what routes of Services decide. */
function carriedKinds({ protocol, tls }: Listener): readonly RouteKind[] {
  switch (protocol) {
    case 'HTTP':
    case 'HTTPS':
      return ['HTTPRoute', 'GRPCRoute']
    case 'TLS':
      return tls?.mode === 'Passthrough' ? ['TLSRoute'] : ['TLSRoute', 'TCPRoute']
    case 'TCP':
      return ['TCPRoute']
    default:
      return []
  }
}

/** Kinds that may be attached, and those that its author names and that may not. */
export function kindsOf(
  listener: Listener,
): Readonly<{ supported: readonly RouteKind[]; invalid: readonly string[] }> {
  const carried = carriedKinds(listener)
  const { kinds } = listener
  if (kinds === undefined) return { supported: carried, invalid: [] }
  const isOf = (kind: RouteKind) => (one: Readonly<{ group: string; kind: string }>) =>
    one.kind === kind && one.group === gatewayGroup
  return {
    supported: carried.filter((kind) => kinds.some(isOf(kind))),
    invalid: kinds
      .filter((one) => !carried.some((kind) => isOf(kind)(one)))
      .map(({ group, kind }) => shown(`${group}/${kind}`)),
  }
}

export const gatewayGroup = 'gateway.networking.k8s.io'
