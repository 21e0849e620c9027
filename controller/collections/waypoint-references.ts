import { type Collection, type Condition, derive, type Fetch, type KubeObject } from '#kube'
import { nameOf, namespaceOf } from './inputs.ts'
import type { OurObjects } from './our-objects.ts'
import { type Binding, bindingOf, levelOf, type Target, type Unbound } from './waypoint-binding.ts'
import { type BoundKind, refusedFor, wordProblem } from './waypoint-failure.ts'
import { ingressGoesThrough, type WithFailure, type WithWaypoints } from './waypoint-fields.ts'

/** An object that asks for a waypoint, and the condition that tells its owner what came of it. */
export type WaypointReference = Readonly<{
  namespace: string
  name: string
  waypoint: string
  condition: Condition
}>

/** Services whose own label, or else their namespace's, names a waypoint; `none` is the opt-out. */
export const waypointReferences = (
  { services }: OurObjects,
  context: WithFailure,
): Collection<WaypointReference> =>
  derive('WaypointReferences', services, (service, fetch) =>
    referenceOf('Service', service, { kind: 'service' }, fetch, context),
  )

/**
 * Namespaces whose label names a waypoint that they cannot have, by their name: a mistake there would show only on each
 * Service, and nowhere where there is none.
 */
export const looseNamespaces = (
  { inputs: { namespaces }, waypoints }: WithWaypoints,
  hidden: Collection<true>,
): Collection<Unbound> =>
  derive('LooseNamespaces', namespaces, ({ metadata: { name = '', labels } }, fetch) => {
    if (fetch.one(hidden, name) !== undefined) return undefined
    const object = { metadata: { namespace: name, ...(labels ? { labels } : {}) } }
    const binding = bindingOf(object, { kind: 'service' }, fetch, { waypoints, namespaces })
    return binding.kind === 'unbound' && binding.reason !== 'UnsupportedTrafficType' ? binding : undefined
  })

/** Undefined: it asks for none. */
export function referenceOf(
  kind: BoundKind,
  object: KubeObject,
  target: Target,
  fetch: Fetch,
  { waypoints, inputs: { namespaces }, failure }: WithFailure,
): WaypointReference | undefined {
  const binding = bindingOf(object, target, fetch, { waypoints, namespaces })
  if (binding.kind === 'none') return undefined
  const asked = { kind, object, level: levelOf(object, fetch, { namespaces }) }
  const refused = binding.kind === 'unbound' ? refusedFor(binding, asked, fetch, failure) : undefined
  const odd = wordProblem(asked.level, binding.kind === 'bound' ? binding.waypoint : undefined)
  const ingress = target.kind === 'service' && ingressGoesThrough(object, fetch, namespaces)
  return {
    namespace: namespaceOf(object),
    name: nameOf(object),
    waypoint: binding.kind === 'bound' ? binding.waypoint.key : binding.reference,
    condition: withNote(boundCondition(binding, ingress, refused?.policy), odd),
  }
}

const withNote = (condition: Condition, note: string | undefined): Condition =>
  note === undefined ? condition : { ...condition, message: `${condition.message}; ${note}` }

/** What the owner of an object that asks for a waypoint is told. */
function boundCondition(
  binding: Exclude<Binding, { kind: 'none' }>,
  ingress: boolean,
  policy: string | undefined,
): Condition {
  const type = 'istio.io/WaypointBound'
  if (binding.kind === 'unbound') {
    const outcome =
      policy === undefined
        ? 'traffic stays at L4'
        : `connections are refused, for AuthorizationPolicy ${policy} would not be enforced`
    const message = `waypoint ${binding.reference}: ${binding.why}; ${outcome}`
    return { type, status: 'False', reason: binding.reason, message }
  }
  const problem = binding.problem === undefined ? '' : `; ${binding.problem}`
  const gateways = ingress ? ', also for traffic from gateways' : ''
  const message = `Successfully attached to waypoint ${binding.waypoint.key}${gateways}${problem}`
  return { type, status: 'True', reason: 'WaypointAccepted', message }
}
