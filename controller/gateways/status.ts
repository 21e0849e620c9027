import { isRecord, parseIp } from '#base'
import type { Condition, Service } from '#kube'
import type { Gateway, GatewayAddress, Listener } from '../collections/index.ts'
import { type BuiltInClass, missingDataPlane } from './classes.ts'
import type { Host } from './host.ts'
import { conflictOf, kindsOf, listenerProblem, type ListenerProblem, type RouteKind } from './listeners.ts'

/** What there is for a Gateway. */
export type Seen = Readonly<{
  host: Host | undefined
  service: Service | undefined
  /** Ports of the Service behind which somebody is ready. */
  readyPorts: ReadonlySet<number>
  /** Routes that a listener takes in. */
  attached?: (listener: Listener) => number
  /** Why what is deployed is not as its author wants it, when it is the parameters' fault. */
  invalidParameters?: string | undefined
}>
type ListenerStatus = Readonly<{
  listener: Listener
  supportedKinds: readonly RouteKind[]
  attachedRoutes: number
  conditions: readonly Condition[]
}>
export type GatewayStatus = Readonly<{
  conditions: readonly Condition[]
  addresses: readonly Readonly<{ type: string; value: string }>[]
  listeners: readonly ListenerStatus[]
}>

type Verdict = Readonly<{ ok: boolean; reason: string; message: string }>
const yes = (reason: string, message: string): Verdict => ({ ok: true, reason, message })
const no = (reason: string, message: string): Verdict => ({ ok: false, reason, message })
const condition = (type: string, { ok, reason, message }: Verdict): Condition => ({
  type,
  status: ok ? 'True' : 'False',
  reason,
  message: message.slice(0, maxMessage),
})
/** The CRD allows 32 KiB; a reader wants far less. */
const maxMessage = 1024

type Judged = Readonly<{
  listener: Listener
  conflict: ListenerProblem | undefined
  problem: ListenerProblem | undefined
}>

/** What the status of a Gateway shall say: `Programmed` only when somebody answers behind every listener. */
export function gatewayStatus(gateway: Gateway, known: BuiltInClass, seen: Seen): GatewayStatus {
  if (known.kind === 'remote') return remoteStatus(gateway)
  const judged = gateway.listeners.map((listener): Judged => {
    const conflict = conflictOf(listener, gateway.listeners)
    return { listener, conflict, problem: listenerProblem(known.kind, listener) ?? conflict }
  })
  const accepted = withUnheeded(acceptance(judged, seen), gateway, known)
  const programmed = accepted.ok ? programming(gateway, known, judged, seen) : no('Invalid', accepted.message)
  return {
    conditions: [condition('Accepted', accepted), condition('Programmed', programmed)],
    // What was published stays when its endpoints go: whoever is bound stays bound and fails closed.
    addresses: programmed.ok ? addressesFor(seen) : gateway.published,
    listeners: judged.map((one) => listenerStatus(one, programmed, seen)),
  }
}

/** Somebody else runs it; where, the user says. */
const remoteStatus = ({ addresses }: Gateway): GatewayStatus => ({
  conditions: [
    condition('Accepted', yes('Accepted', 'this gateway is somewhere else; nothing is deployed')),
    condition('Programmed', yes('Programmed', 'its addresses are those of its spec')),
  ],
  addresses,
  listeners: [],
})

function acceptance(judged: readonly Judged[], { host, invalidParameters }: Seen): Verdict {
  if (invalidParameters !== undefined) return no('InvalidParameters', invalidParameters)
  if (host === undefined)
    return no(
      'UnsupportedAddress',
      'spec.addresses: one IPAddress, or the Hostname of a Service of this cluster',
    )
  const bad = judged.filter(({ problem }) => problem !== undefined)
  if (judged.length === 0) return no('ListenersNotValid', 'spec.listeners: there is none that can be read')
  if (bad.length === 0) return yes('Accepted', 'the Gateway can be deployed')
  const named = `listeners that cannot be served: ${bad.map(({ listener }) => listener.name).join(', ')}`
  // What is left of it may work.
  return bad.length === judged.length ? no('ListenersNotValid', named) : yes('ListenersNotValid', named)
}

/** A waypoint is asked for services, over HBONE, whatever names and certificates its listeners have. */
function withUnheeded(verdict: Verdict, { unheeded, listeners }: Gateway, { kind }: BuiltInClass): Verdict {
  const ofListeners = listeners.flatMap(({ name, hostname, tls }) => [
    ...(hostname === '' ? [] : [`hostname of listener ${name}`]),
    ...(tls === undefined ? [] : [`tls of listener ${name}`]),
  ])
  const all = kind === 'waypoint' ? [...unheeded, ...ofListeners] : unheeded
  return all.length === 0
    ? verdict
    : { ...verdict, message: `${verdict.message}; not heeded: ${all.join(', ')}` }
}

function programming(
  { listeners }: Gateway,
  known: BuiltInClass,
  judged: readonly Judged[],
  { host, service, readyPorts }: Seen,
): Verdict {
  const absent = missingDataPlane(known)
  if (absent !== undefined) return no('NoResources', absent)
  const name = host?.hostname ?? ''
  if (service === undefined) return no('AddressNotAssigned', `Service ${name} does not exist yet`)
  const good = judged.filter(({ problem }) => problem === undefined).map(({ listener }) => listener)
  const ports = [...new Set((good.length > 0 ? good : listeners).map(({ port }) => port))]
  const missing = ports.filter((port) => !readyPorts.has(port))
  if (missing.length > 0)
    return no(
      'AddressNotAssigned',
      `no ready endpoint behind ${missing.map((port) => `${name}:${port}`).join(', ')}`,
    )
  if (service.spec?.type === 'LoadBalancer' && externalOf(service).length === 0)
    return no('AddressNotAssigned', `the load balancer of ${name} has no address yet`)
  return yes('Programmed', `assigned to ${ports.map((port) => `${name}:${port}`).join(', ')}`)
}

function listenerStatus(
  { listener, conflict, problem }: Judged,
  programmed: Verdict,
  { attached = () => 0 }: Seen,
): ListenerStatus {
  const { supported, invalid } = kindsOf(listener)
  const own = programmed.ok ? yes('Programmed', 'served') : no('Pending', programmed.message)
  return {
    listener,
    supportedKinds: supported,
    attachedRoutes: attached(listener),
    conditions: [
      condition('Accepted', problem ? no(problem.reason, problem.message) : yes('Accepted', 'can be served')),
      condition('Programmed', problem === undefined ? own : no('Invalid', problem.message)),
      condition(
        'Conflicted',
        conflict ? yes(conflict.reason, conflict.message) : no('NoConflicts', 'no other listener is like it'),
      ),
      references(listener, invalid),
    ],
  }
}

/** Secrets are not read as long as nothing would serve them: what cannot be known is not claimed. */
function references({ protocol, tls }: Listener, invalidKinds: readonly string[]): Condition {
  const type = 'ResolvedRefs'
  if (invalidKinds.length > 0)
    return condition(type, no('InvalidRouteKinds', `allowedRoutes.kinds: ${invalidKinds.join(', ')}`))
  const terminates = protocol === 'HTTPS' || (protocol === 'TLS' && tls?.mode !== 'Passthrough')
  if (!terminates) return condition(type, yes('ResolvedRefs', 'it refers to nothing'))
  if (tls === undefined || tls.certificates.length === 0)
    return condition(type, no('InvalidCertificateRef', 'tls.certificateRefs: at least one is needed'))
  const bad = tls.certificates.findIndex((ref) => !isSecret(ref))
  if (bad >= 0)
    return condition(type, no('InvalidCertificateRef', `tls.certificateRefs[${bad}]: not a Secret`))
  const message = 'certificates are not read as long as no program would serve them'
  return { type, status: 'Unknown', reason: 'Pending', message }
}

function isSecret(ref: unknown): boolean {
  const { group = '', kind = 'Secret', name } = isRecord(ref) ? ref : {}
  return group === '' && kind === 'Secret' && typeof name === 'string' && name !== ''
}

/** Of a load balancer the external addresses, else the Service's own; and its name, which waypoints always have. */
function addressesFor({ host, service }: Seen): readonly GatewayAddress[] {
  const { clusterIPs, clusterIP } = service?.spec ?? {}
  const external = service ? externalOf(service) : []
  const internal = (clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]))
    .filter((value) => parseIp(value) !== undefined)
    .map((value) => ({ type: 'IPAddress' as const, value }))
  const name = host === undefined ? [] : [{ type: 'Hostname' as const, value: host.hostname }]
  return [...(external.length > 0 ? external : internal), ...name]
}

function externalOf(service: Service): readonly GatewayAddress[] {
  const status: unknown = service.status
  const balancer: unknown = isRecord(status) ? status['loadBalancer'] : undefined
  const ingress: unknown = isRecord(balancer) ? balancer['ingress'] : undefined
  return (Array.isArray(ingress) ? ingress : []).flatMap((item: unknown): GatewayAddress[] => {
    const { ip, hostname } = isRecord(item) ? item : {}
    return [
      ...(typeof ip === 'string' && ip !== '' ? [{ type: 'IPAddress' as const, value: ip }] : []),
      ...(typeof hostname === 'string' && hostname !== ''
        ? [{ type: 'Hostname' as const, value: hostname }]
        : []),
    ]
  })
}
