import type { Collection, Fetch, KubeObject } from '#kube'
import { workload } from '#wire'
import { type Inputs, namespaceOf } from './inputs.ts'
import { labels } from './settings.ts'
import { bindingOf } from './waypoint-binding.ts'
import type { Waypoint } from './waypoints.ts'

export type WithWaypoints = Readonly<{ inputs: Inputs; waypoints: Collection<Waypoint> }>

/** A workload's row with its waypoint; `object` is what it was made from. No row stays none. */
export function boundWorkload(
  row: workload.Workload | undefined,
  object: KubeObject,
  fetch: Fetch,
  { inputs: { namespaces }, waypoints }: WithWaypoints,
): readonly workload.Workload[] {
  if (row === undefined) return []
  const binding = bindingOf(object, { kind: 'workload' }, fetch, { waypoints, namespaces })
  return [binding.kind === 'bound' ? { ...row, waypoint: binding.waypoint.destination } : row]
}

/** A service's row with its waypoint, and with what part of the traffic is for a canary. */
export function boundService(
  row: workload.Service | undefined,
  object: KubeObject | undefined,
  fetch: Fetch,
  { inputs: { namespaces }, waypoints }: WithWaypoints,
): readonly workload.Service[] {
  if (row === undefined) return []
  if (object === undefined) return [row]
  const own = object.metadata.labels?.[labels.ingressUseWaypoint]
  const ingress =
    own ?? fetch.one(namespaces, namespaceOf(object))?.metadata.labels?.[labels.ingressUseWaypoint]
  const ingressUseWaypoint = ingress === 'true'
  const seenInNamespaceOnly = row.visibility === workload.Visibility.NAMESPACE
  const target = { kind: 'service', seenInNamespaceOnly } as const
  const binding = bindingOf(object, target, fetch, { waypoints, namespaces })
  if (binding.kind !== 'bound') return [ingressUseWaypoint ? { ...row, ingressUseWaypoint } : row]
  const { waypoint, canary } = binding
  const weightedWaypoints =
    canary === undefined
      ? []
      : [
          { destination: waypoint.destination, weight: 100 - canary.weight },
          { destination: canary.waypoint.destination, weight: canary.weight },
        ]
  return [{ ...row, ingressUseWaypoint, waypoint: waypoint.destination, weightedWaypoints }]
}
