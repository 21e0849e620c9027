import { isRecord } from '#base'
import type { Custom } from '#kube'
import { type Gateway, letsIn, type Listener, type Words } from '../collections/index.ts'
import { gatewayGroup, kindsOf, type RouteKind } from './listeners.ts'

/** What a route says of the Gateways that it wants to be attached to. */
export type AttachingRoute = Readonly<{
  /** `kind/namespace/name` */
  key: string
  kind: RouteKind
  namespace: string
  /** None: any. */
  hostnames: readonly string[]
  parents: readonly AttachingParent[]
}>
type AttachingParent = Readonly<{
  gateway: string
  listener: string | undefined
  port: number | undefined
  /** As it is written: the status repeats it. */
  written: Readonly<Record<string, unknown>>
}>

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/** Reads a route; parents of other kinds than Gateway, and those that cannot be read, are none of ours. */
export function readRoute(kind: RouteKind, { metadata, spec }: Custom): AttachingRoute {
  const namespace = metadata.namespace ?? ''
  const { parentRefs, hostnames } = isRecord(spec) ? spec : {}
  return {
    key: `${kind}/${namespace}/${metadata.name ?? ''}`,
    kind,
    namespace,
    hostnames: list(hostnames).flatMap((name) => (typeof name === 'string' ? [name.toLowerCase()] : [])),
    parents: list(parentRefs).flatMap((value) => {
      const ref = isRecord(value) ? value : {}
      const { group = gatewayGroup, kind: parent = 'Gateway', name, sectionName, port } = ref
      if (group !== gatewayGroup || parent !== 'Gateway' || typeof name !== 'string') return []
      const own = ref['namespace'] ?? namespace
      if (typeof own !== 'string') return []
      return [
        {
          gateway: `${own}/${name}`,
          listener: typeof sectionName === 'string' ? sectionName : undefined,
          port: typeof port === 'number' ? port : undefined,
          written: ref,
        },
      ]
    }),
  }
}

/** What becomes of a route at a Gateway that it names; the reasons are the Gateway API's. */
type Attachment =
  | Readonly<{ kind: 'attached'; listeners: readonly Listener[] }>
  | Readonly<{
      kind: 'refused'
      reason: 'NoMatchingParent' | 'NotAllowedByListeners' | 'NoMatchingListenerHostname'
      message: string
    }>

/** The listeners that take a route in because of one of its parents: both must want it. */
export function attachment(
  route: AttachingRoute,
  parent: AttachingParent,
  gateway: Gateway,
  labelsOf: (namespace: string) => Words | undefined,
): Attachment {
  const named = gateway.listeners.filter(
    ({ name, port }) => (parent.listener ?? name) === name && (parent.port ?? port) === port,
  )
  if (named.length === 0)
    return refused('NoMatchingParent', `Gateway ${gateway.key} has no listener of that name and port`)
  const open = named.filter(
    (listener) =>
      kindsOf(listener).supported.includes(route.kind) &&
      letsIn(listener.allowed, gateway.namespace, route.namespace, labelsOf),
  )
  if (open.length === 0)
    return refused(
      'NotAllowedByListeners',
      named.every(({ protocol }) => protocol === 'HBONE')
        ? 'a waypoint is given the routes of Services: name the Service as the parent'
        : `no listener of Gateway ${gateway.key} allows ${route.kind}s of namespace ${route.namespace}`,
    )
  const listeners = open.filter(({ hostname }) => hostnamesMeet(hostname, route))
  return listeners.length > 0
    ? { kind: 'attached', listeners }
    : refused('NoMatchingListenerHostname', 'no listener has a host name in common with the route')
}

const refused = (
  reason: Extract<Attachment, { kind: 'refused' }>['reason'],
  message: string,
): Attachment => ({ kind: 'refused', reason, message })

/** Whether a listener has a route, by any of the route's parents. */
export const isAttached = (
  route: AttachingRoute,
  gateway: Gateway,
  listener: Listener,
  labelsOf: (namespace: string) => Words | undefined,
): boolean =>
  route.parents.some((parent) => {
    if (parent.gateway !== gateway.key) return false
    const found = attachment(route, parent, gateway, labelsOf)
    return found.kind === 'attached' && found.listeners.includes(listener)
  })

/** A route for TCP has no host names to speak of. */
function hostnamesMeet(hostname: string, { kind, hostnames }: AttachingRoute): boolean {
  if (hostname === '' || hostnames.length === 0 || kind === 'TCPRoute') return true
  return hostnames.some((own) => meets(hostname, own))
}

/** `*.a` stands for any name under `a`, at any depth, and never for `a`. */
function meets(a: string, b: string): boolean {
  const [wideA, wideB] = [a.startsWith('*.'), b.startsWith('*.')]
  const under = (name: string, wide: string) => name.endsWith(wide.slice(1)) && name.length > wide.length - 1
  if (wideA && wideB) return a === b || a.endsWith(b.slice(1)) || b.endsWith(a.slice(1))
  if (wideA) return under(b, a)
  return wideB ? under(a, b) : a === b
}
