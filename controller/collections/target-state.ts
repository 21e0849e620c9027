import { isRecord } from '#base'
import type { Fetch, KubeObject } from '#kube'
import type { Entries } from './entries.ts'
import type { OurObjects } from './our-objects.ts'
import type { ReadableTarget, TargetState } from './policy-targets.ts'
import { bindingOf, type Target } from './waypoint-binding.ts'
import type { WithWaypoints } from './waypoint-fields.ts'

export type TargetContext = WithWaypoints & Readonly<{ ours: OurObjects; entries: Entries }>

/** Who enforces what is attached to this target (Istio: WaypointPolicyStatusCollection). */
export function targetState(target: ReadableTarget, fetch: Fetch, context: TargetContext): TargetState {
  const { ours, entries, waypoints } = context
  const key = `${target.namespace}/${target.name}`
  switch (target.kind) {
    case 'GatewayClass':
      return classState(target.name, fetch, context)
    case 'Gateway':
      if (fetch.one(waypoints, key) !== undefined) return { kind: 'bound', waypoint: key }
      return fetch.one(ours.gateways, key) === undefined
        ? missing
        : { kind: 'unbound', why: 'it has no address yet, so it is no waypoint' }
    case 'Service': {
      const service = fetch.one(ours.services, key)
      return service === undefined ? missing : boundState(service, { kind: 'service' }, fetch, context)
    }
    case 'ServiceEntry': {
      const object = fetch.one(ours.serviceEntries, key)
      const entry = fetch.one(entries.entries, key)
      if (object === undefined || entry === undefined) return missing
      const seenInNamespaceOnly = entries.visibilityOf(entry, fetch) === 'namespace'
      return boundState(object, { kind: 'service', seenInNamespaceOnly }, fetch, context)
    }
  }
}

const missing: TargetState = { kind: 'missing' }

function boundState(
  object: KubeObject,
  target: Target,
  fetch: Fetch,
  { waypoints, inputs: { namespaces } }: TargetContext,
): TargetState {
  const binding = bindingOf(object, target, fetch, { waypoints, namespaces })
  switch (binding.kind) {
    case 'bound':
      return { kind: 'bound', waypoint: binding.waypoint.key }
    case 'unbound':
      return { kind: 'unbound', why: `waypoint ${binding.reference}: ${binding.why}` }
    case 'none':
      return { kind: 'unbound', why: 'it is not bound to a waypoint (label istio.io/use-waypoint)' }
  }
}

const waypointController = 'istio.io/mesh-controller'

/** All waypoints of a class, those to come too. */
function classState(name: string, fetch: Fetch, { inputs }: TargetContext): TargetState {
  const object = fetch.one(inputs.gatewayClasses, name)
  if (object === undefined) return missing
  const controller = isRecord(object.spec) ? object.spec['controllerName'] : undefined
  return controller === waypointController
    ? { kind: 'bound', waypoint: name }
    : {
        kind: 'invalid',
        why: `its spec.controllerName is not ${waypointController}, so it is no class of waypoints`,
      }
}
