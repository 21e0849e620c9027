import { type Collection, type Condition, derive, type Service } from '#kube'
import type { Inputs } from './inputs.ts'
import { nameOf, namespaceOf } from './inputs.ts'
import { type Binding, bindingOf } from './waypoint-binding.ts'
import type { Waypoint } from './waypoints.ts'

/** A Service that asks for a waypoint, and the condition that tells its owner what came of it. */
export type WaypointReference = Readonly<{
  namespace: string
  name: string
  waypoint: string
  condition: Condition
}>

/** Services whose own label, or else their namespace's, names a waypoint; `none` is the opt-out. */
export const waypointReferences = (
  { services, namespaces }: Inputs,
  waypoints: Collection<Waypoint>,
): Collection<WaypointReference> =>
  derive('WaypointReferences', services, (service: Service, fetch) => {
    const binding = bindingOf(service, { kind: 'service' }, fetch, { waypoints, namespaces })
    if (binding.kind === 'none') return undefined
    return {
      namespace: namespaceOf(service),
      name: nameOf(service),
      waypoint: binding.kind === 'bound' ? binding.waypoint.key : binding.reference,
      condition: boundCondition(binding),
    }
  })

/** What the owner of an object that asks for a waypoint is told. */
export function boundCondition(binding: Exclude<Binding, { kind: 'none' }>): Condition {
  const type = 'istio.io/WaypointBound'
  if (binding.kind === 'unbound')
    return { type, status: 'False', reason: binding.reason, message: binding.message }
  const problem = binding.problem === undefined ? '' : `; ${binding.problem}`
  const message = `Successfully attached to waypoint ${binding.waypoint.key}${problem}`
  return { type, status: 'True', reason: 'WaypointAccepted', message }
}
