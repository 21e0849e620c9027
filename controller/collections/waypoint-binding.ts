import type { Collection, Fetch, KubeObject, Namespace } from '#kube'
import { letsIn } from './gateway.ts'
import { namespaceOf } from './inputs.ts'
import { labels } from './settings.ts'
import type { Waypoint } from './waypoints.ts'

/** Why an object that asks for a waypoint has none. */
type UnboundReason =
  | 'WaypointIsNotReady'
  | 'AttachmentDenied'
  | 'UnsupportedTrafficType'
  | 'CrossNamespaceWaypointForbidden'
export type Unbound = Readonly<{ kind: 'unbound'; reference: string; reason: UnboundReason; why: string }>
/** Which waypoint an object has. */
export type Binding =
  | Readonly<{ kind: 'none' }>
  | Unbound
  | Readonly<{
      kind: 'bound'
      waypoint: Waypoint
      canary?: Readonly<{ waypoint: Waypoint; weight: number }>
      /** Why a canary that was asked for is not used. */
      problem?: string
    }>

/** What is bound: traffic to a service, or traffic to the address of a workload. */
export type Target = Readonly<{ kind: 'workload' } | { kind: 'service'; seenInNamespaceOnly?: boolean }>
/** Who does not want to be told of changes asks without being remembered. */
type FetchOne = Pick<Fetch, 'one'>
type Context = Readonly<{ waypoints: Collection<Waypoint>; namespaces: Collection<Namespace> }>

const none: Binding = { kind: 'none' }
/** Gateways of the mesh itself never have a waypoint: traffic would go in circles. */
const neverBound: readonly (string | undefined)[] = [
  'istio.io-mesh-controller',
  'istio.io-eastwest-controller',
]

/**
 * The waypoint of an object: its own label says, and only without one its namespace's. An own label that leads nowhere
 * never falls back to the namespace's: traffic stays at L4, and a condition says why.
 */
export function bindingOf(object: KubeObject, target: Target, fetch: FetchOne, context: Context): Binding {
  const own = object.metadata.labels ?? {}
  if (neverBound.includes(own['gateway.istio.io/managed'])) return none
  if (target.kind === 'workload' && waypointRunBy(object, fetch, context.waypoints) !== undefined) return none
  const isOwn = own[labels.useWaypoint] !== undefined
  const level = levelOf(object, fetch, context)
  const words = level?.metadata.labels ?? {}
  const reference = referenceIn(words, labels.useWaypoint, namespaceOf(object))
  if (reference === undefined) return none
  const found = reach(reference, object, target, fetch, context)
  if (found.kind === 'unbound')
    // A waypoint of the whole namespace need not be for workloads; that is nobody's mistake.
    return found.reason === 'UnsupportedTrafficType' && target.kind === 'workload' && !isOwn ? none : found
  if (target.kind === 'workload') return found
  const canary = referenceIn(words, canaryLabel, namespaceOf(object))
  if (!words[canaryLabel] || canary === undefined) return found
  const weight = level?.metadata.annotations?.['istio.io/use-waypoint-canary-weight']
  return withCanary(found, canary, weight, () => reach(canary, object, target, fetch, context))
}

/** Whose words say which waypoint an object has. */
export const levelOf = (
  object: KubeObject,
  fetch: FetchOne,
  { namespaces }: Pick<Context, 'namespaces'>,
): KubeObject | undefined =>
  object.metadata.labels?.[labels.useWaypoint] === undefined
    ? fetch.one(namespaces, namespaceOf(object))
    : object

const canaryLabel = 'istio.io/use-waypoint-canary'

/** `none` is the opt-out. */
function referenceIn(
  words: Readonly<Record<string, string>>,
  label: string,
  namespace: string,
): string | undefined {
  const name = words[label]
  return name === undefined || name === 'none'
    ? undefined
    : `${words[`${label}-namespace`] || namespace}/${name}`
}

/** The waypoint that a pod, or a machine, is an instance of. */
export function waypointRunBy(
  { metadata }: KubeObject,
  fetch: FetchOne,
  waypoints: Collection<Waypoint>,
): Waypoint | undefined {
  const gateway = metadata.labels?.[labels.gatewayName]
  return gateway ? fetch.one(waypoints, `${metadata.namespace ?? ''}/${gateway}`) : undefined
}

type Bound = Extract<Binding, { kind: 'bound' }>
type Reached = Bound | Unbound

/** The waypoint of this name, if it is there and lets the object in. */
function reach(
  reference: string,
  object: KubeObject,
  target: Target,
  fetch: FetchOne,
  { waypoints, namespaces }: Context,
): Reached {
  const unbound = (reason: UnboundReason, why: string): Reached => ({
    kind: 'unbound',
    reference,
    reason,
    why,
  })
  const waypoint = fetch.one(waypoints, reference)
  if (waypoint === undefined) return unbound('WaypointIsNotReady', 'no such Gateway has an address yet')
  const namespace = namespaceOf(object)
  if (target.kind === 'service' && target.seenInNamespaceOnly === true && waypoint.namespace !== namespace)
    return unbound('CrossNamespaceWaypointForbidden', 'it is in a namespace that does not see this host')
  const labelsOf = (of: string) => fetch.one(namespaces, of)?.metadata.labels
  if (!letsIn(waypoint.allowed, waypoint.namespace, namespace, labelsOf))
    return unbound('AttachmentDenied', `its listener does not allow namespace ${namespace}`)
  if (waypoint.trafficType !== 'all' && waypoint.trafficType !== target.kind)
    return unbound('UnsupportedTrafficType', `it is not for traffic of type ${target.kind}`)
  return { kind: 'bound', waypoint }
}

/** A canary that cannot be used leaves everything to the primary. */
function withCanary(
  primary: Bound,
  reference: string,
  weightText: string | undefined = '0',
  reached: () => Reached,
): Binding {
  const unused = (reason: string, why: string): Binding => ({
    ...primary,
    problem: `canary ${reference} gets no traffic: ${reason}, ${why}`,
  })
  if (reference === primary.waypoint.key) return unused('CanarySameAsPrimary', 'it is the waypoint itself')
  const weight = /^\d{1,3}$/.test(weightText) ? Number(weightText) : 101
  if (weight > 100)
    return unused('CanaryInvalidWeight', 'annotation istio.io/use-waypoint-canary-weight is 0 to 100')
  const canary = reached()
  if (canary.kind === 'unbound') return unused(canary.reason, canary.why)
  return { ...primary, canary: { waypoint: canary.waypoint, weight } }
}
