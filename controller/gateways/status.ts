import { isDeepStrictEqual } from 'node:util'
import { isRecord, parseIp } from '#base'
import type { Condition, Service } from '#kube'
import type { Gateway, GatewayAddress, Listener } from '../collections/index.ts'
import { conditionsOf, mergedConditions } from '../reconcile/index.ts'
import type { ClassKind } from './classes.ts'
import type { Host } from './host.ts'

/** What there is for a Gateway. */
export type Seen = Readonly<{
  host: Host | undefined
  service: Service | undefined
  /** Ports of the Service behind which somebody is ready. */
  readyPorts: ReadonlySet<number>
  /** Why nothing is deployed, when it is the parameters' fault. */
  invalidParameters?: string | undefined
}>
export type GatewayStatus = Readonly<{
  conditions: readonly Condition[]
  addresses: readonly Readonly<{ type: string; value: string }>[]
  listeners: readonly Readonly<{ listener: Listener; conditions: readonly Condition[] }>[]
}>

type Verdict = Readonly<{ ok: boolean; reason: string; message: string }>
const yes = (reason: string, message: string): Verdict => ({ ok: true, reason, message })
const no = (reason: string, message: string): Verdict => ({ ok: false, reason, message })
const condition = (type: string, { ok, reason, message }: Verdict): Condition => ({
  type,
  status: ok ? 'True' : 'False',
  reason,
  message,
})

/** What the status of a Gateway shall say: `Programmed` only when somebody answers behind every listener. */
export function gatewayStatus(gateway: Gateway, kind: ClassKind, seen: Seen): GatewayStatus {
  if (kind === 'remote') return remoteStatus(gateway)
  const accepted = acceptance(gateway, seen)
  const programmed = accepted.ok ? programming(gateway, seen) : no('Invalid', accepted.message)
  return {
    conditions: [condition('Accepted', accepted), condition('Programmed', programmed)],
    // What was published stays when its endpoints go: whoever is bound stays bound and fails closed.
    addresses: programmed.ok ? addressesFor(seen) : gateway.published,
    listeners: gateway.listeners.map((listener) => ({
      listener,
      conditions: listenerConditions(listener, programmed),
    })),
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

function acceptance(gateway: Gateway, { host, invalidParameters }: Seen): Verdict {
  if (invalidParameters !== undefined) return no('InvalidParameters', invalidParameters)
  if (host === undefined)
    return no(
      'UnsupportedAddress',
      'spec.addresses: one IPAddress, or the Hostname of a Service of this cluster',
    )
  const bad = gateway.listeners.filter((listener) => listenerProblem(listener) !== undefined)
  if (gateway.listeners.length === 0)
    return no('ListenersNotValid', 'spec.listeners: there is none that can be read')
  if (bad.length > 0)
    return no(
      'ListenersNotValid',
      `listeners that cannot be served: ${bad.map(({ name }) => name).join(', ')}`,
    )
  return yes('Accepted', 'the Gateway can be deployed')
}

function programming(gateway: Gateway, { host, service, readyPorts }: Seen): Verdict {
  const name = host?.hostname ?? ''
  if (service === undefined) return no('AddressNotAssigned', `Service ${name} does not exist yet`)
  const ports = [...new Set(gateway.listeners.map(({ port }) => port))]
  const missing = ports.filter((port) => !readyPorts.has(port))
  if (missing.length > 0)
    return no(
      'AddressNotAssigned',
      `no ready endpoint behind ${missing.map((port) => `${name}:${port}`).join(', ')}; this release brings no waypoint program, so the pods that are deployed do not become ready and traffic stays at L4`,
    )
  if (service.spec?.type === 'LoadBalancer' && externalOf(service).length === 0)
    return no('AddressNotAssigned', `the load balancer of ${name} has no address yet`)
  return yes('Programmed', `assigned to ${ports.map((port) => `${name}:${port}`).join(', ')}`)
}

/** A waypoint listens for HBONE at 15008 and for nothing else. */
export function listenerProblem({ port, protocol }: Listener): string | undefined {
  if (protocol === 'HBONE' && port === 15_008) return undefined
  const hint = protocol !== 'HBONE' && protocol.toUpperCase() === 'HBONE' ? ' (in capitals)' : ''
  return `a waypoint has protocol HBONE${hint} at port 15008 only, not ${protocol.slice(0, 80)} at ${port}`
}

function listenerConditions(listener: Listener, programmed: Verdict): readonly Condition[] {
  const problem = listenerProblem(listener)
  const own = programmed.ok ? yes('Programmed', 'served') : no('Pending', programmed.message)
  return [
    condition(
      'Accepted',
      problem === undefined ? yes('Accepted', 'can be served') : no('UnsupportedProtocol', problem),
    ),
    condition('Programmed', problem === undefined ? own : no('Invalid', problem)),
    condition('Conflicted', no('NoConflicts', 'no other listener has its port')),
    condition('ResolvedRefs', yes('ResolvedRefs', 'it refers to nothing')),
  ]
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

const gatewayTypes = ['Accepted', 'Programmed']
const listenerTypes = ['Accepted', 'Programmed', 'Conflicted', 'ResolvedRefs']

/** The status to write, or undefined when it says so already; times of conditions that stay are kept. */
export function statusPatch(
  existing: unknown,
  { conditions, addresses, listeners }: GatewayStatus,
  generation: number | undefined,
  now: string,
): Readonly<Record<string, unknown>> | undefined {
  const held = isRecord(existing) ? existing : {}
  const merged = (of: unknown, types: readonly string[], wanted: readonly Condition[]) =>
    mergedConditions(conditionsOf(of), { types, conditions: wanted }, generation, now) ?? conditionsOf(of)
  const before: readonly unknown[] = Array.isArray(held['listeners']) ? held['listeners'] : []
  const wanted = {
    conditions: merged(held, gatewayTypes, conditions),
    addresses,
    listeners: listeners.map(({ listener: { name }, conditions: own }) => ({
      name,
      // HBONE carries what routes of Services decide; no kind of route is attached to it.
      supportedKinds: [],
      attachedRoutes: 0,
      conditions: merged(
        before.find((other) => isRecord(other) && other['name'] === name),
        listenerTypes,
        own,
      ),
    })),
  }
  const same = isDeepStrictEqual(wanted, {
    conditions: conditionsOf(held),
    addresses: held['addresses'] ?? [],
    listeners: before,
  })
  return same ? undefined : wanted
}
