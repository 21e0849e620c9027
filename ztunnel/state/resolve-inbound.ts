import { type Ip, parseAddress, type SocketAddress } from '#base'
import { targetPort } from './balance.ts'
import type { Gateway, Service, Workload } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'
import { ownPorts } from './ports.ts'

/** Where an inbound tunnel goes in the local pod, or the status it is refused with, and why. */
export type InboundTarget =
  | Readonly<{ kind: 'accept'; to: SocketAddress; service: Service | undefined }>
  | Readonly<{ kind: 'reject'; status: 400 | 503; message: string }>

export type InboundQuestion = Readonly<{
  /** The pod that was dialled. */
  local: Workload
  /** The address that was dialled. */
  podIp: Ip
  network: string
}>

const refuse = (status: 400 | 503, message: string): InboundTarget => ({ kind: 'reject', status, message })

/** What the authority of a CONNECT means here (ztunnel: inbound.rs build_inbound_request). */
export function resolveInbound(
  state: MeshState,
  question: InboundQuestion,
  authority: string,
): InboundTarget {
  const parsed = parseAuthority(authority)
  if (!parsed) return refuse(400, `invalid destination: ${authority.slice(0, 255)}`)
  const target =
    parsed.kind === 'address'
      ? byAddress(state, question, parsed.to)
      : byHostname(state, question, parsed.hostname, parsed.port)
  if (target.kind === 'reject') return target
  if (ownPorts.has(target.to.port)) return refuse(503, 'attempted self call')
  const tunnel = question.local.applicationTunnel
  if (tunnel?.protocol === 'PROXY') return refuse(503, 'the PROXY protocol is not supported')
  return tunnel?.port === undefined ? target : { ...target, to: { ...target.to, port: tunnel.port } }
}

type Authority = { kind: 'address'; to: SocketAddress } | { kind: 'hostname'; hostname: string; port: number }

/** `ip:port` or `hostname:port`; anything else is undefined. */
export function parseAuthority(text: string): Authority | undefined {
  const to = parseAddress(text)
  if (to) return { kind: 'address', to }
  const [, hostname = '', port = ''] = /^([A-Za-z0-9_-][A-Za-z0-9._-]{0,252}):(\d{1,5})$/.exec(text) ?? []
  if (Number(port) < 1 || Number(port) > 65_535 || /^[\d.]*$/.test(hostname)) return undefined
  return { kind: 'hostname', hostname: hostname.toLowerCase(), port: Number(port) }
}

function byAddress(state: MeshState, question: InboundQuestion, to: SocketAddress): InboundTarget {
  const { local, podIp } = question
  if (to.address === podIp) return { kind: 'accept', to, service: undefined }
  const service = state.serviceAt(question.network, to.address, local.namespace)
  const mine = local.applicationTunnel !== undefined || isWaypointOf(state, question, to.address)
  if (!mine) return refuse(400, `ip mismatch: ${to.address} is not ${podIp}`)
  return { kind: 'accept', to: { address: podIp, port: to.port }, service }
}

/** Is the local pod the waypoint of what was asked for? */
function isWaypointOf(state: MeshState, { local, podIp, network }: InboundQuestion, asked: Ip): boolean {
  const gateway =
    state.serviceAt(network, asked, local.namespace)?.waypoint ?? state.workloadAt(network, asked)?.waypoint
  if (!gateway) return false
  const service = serviceOf(state, gateway, local.namespace)
  if (service) return local.services.has(service.key)
  return gateway.to.kind === 'address' && gateway.to.address === podIp
}

const serviceOf = (state: MeshState, { to }: Gateway, namespace: string): Service | undefined =>
  to.kind === 'hostname' ? state.service(to.service) : state.serviceAt(to.network, to.address, namespace)

function byHostname(
  state: MeshState,
  { local, podIp }: InboundQuestion,
  hostname: string,
  port: number,
): InboundTarget {
  const service = state.serviceByHostname(hostname, local.namespace)
  if (!service) return refuse(503, `unknown hostname: ${hostname}`)
  const target = targetPort(service, local, port, 'standard')
  if (target === undefined) return refuse(503, `no target port for ${hostname}:${port}`)
  return { kind: 'accept', to: { address: podIp, port: target }, service }
}
