import { isRecord } from '#base'
import type { Custom } from '#kube'
import type { Gateway, Listener, Words } from '../collections/index.ts'
import { selects } from '../collections/label-selector.ts'
import { gatewayGroup, kindsOf, type RouteKind } from './listeners.ts'

/** What a route says of the Gateways that it wants to be attached to. */
export type AttachingRoute = Readonly<{
  /** `kind/namespace/name` */
  key: string
  kind: RouteKind
  namespace: string
  /** None: any. */
  hostnames: readonly string[]
  parents: readonly Readonly<{ gateway: string; listener: string | undefined; port: number | undefined }>[]
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
        },
      ]
    }),
  }
}

/** Whether a listener takes a route in: both must want it. */
export function isAttached(
  route: AttachingRoute,
  gateway: Gateway,
  listener: Listener,
  labelsOf: (namespace: string) => Words | undefined,
): boolean {
  const asks = route.parents.some(
    (parent) =>
      parent.gateway === gateway.key &&
      (parent.listener ?? listener.name) === listener.name &&
      (parent.port ?? listener.port) === listener.port,
  )
  return (
    asks &&
    kindsOf(listener).supported.includes(route.kind) &&
    allows(listener, gateway.namespace, route.namespace, labelsOf) &&
    hostnamesMeet(listener.hostname, route)
  )
}

function allows(
  { allowed }: Listener,
  home: string,
  namespace: string,
  labelsOf: (namespace: string) => Words | undefined,
): boolean {
  switch (allowed.from) {
    case 'Same':
      return namespace === home
    case 'All':
      return true
    case 'Selector':
      return selects(allowed.selector, labelsOf(namespace))
    case 'None':
      return false
  }
}

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
