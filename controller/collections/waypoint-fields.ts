import type { Collection, Fetch, KubeObject, Namespace } from '#kube'
import { failOpenExtension, workload } from '#wire'
import { type Inputs, namespaceOf } from './inputs.ts'
import { labels } from './settings.ts'
import { type Binding, bindingOf, levelOf, waypointRunBy } from './waypoint-binding.ts'
import { type BoundKind, type FailureContext, mayPassBy, refusedFor } from './waypoint-failure.ts'
import type { Waypoint } from './waypoints.ts'

export type WithWaypoints = Readonly<{ inputs: Inputs; waypoints: Collection<Waypoint> }>
export type WithFailure = WithWaypoints & Readonly<{ failure: FailureContext }>

/** A workload's row with its waypoint, or how it wants the tunnel if it is one; `object` is what it was made from. */
export function boundWorkload(
  row: workload.Workload,
  object: KubeObject,
  fetch: Fetch,
  { inputs: { namespaces }, waypoints, failure }: WithFailure,
): workload.Workload {
  const runs = waypointRunBy(object, fetch, waypoints)
  if (runs !== undefined) return runs.tunnel === undefined ? row : { ...row, applicationTunnel: runs.tunnel }
  const binding = bindingOf(object, { kind: 'workload' }, fetch, { waypoints, namespaces })
  if (binding.kind === 'none') return row
  const asked = { kind: 'workload', object, level: levelOf(object, fetch, { namespaces }) } as const
  if (binding.kind === 'unbound') {
    const refused = refusedFor(binding, asked, fetch, failure)
    return refused ? { ...row, waypoint: refused.destination } : row
  }
  const { waypoint } = binding
  const open = mayPassBy([waypoint], asked, fetch, failure) ? [failOpenExtension] : []
  return { ...row, waypoint: waypoint.destination, extensions: [...row.extensions, ...open] }
}

/** A service's row with its waypoint, and with what part of the traffic is for a canary. */
export function boundService(
  row: workload.Service,
  { kind, object }: Readonly<{ kind: Exclude<BoundKind, 'workload'>; object: KubeObject }>,
  fetch: Fetch,
  { inputs: { namespaces }, waypoints, failure }: WithFailure,
): workload.Service {
  const seenInNamespaceOnly = row.visibility === workload.Visibility.NAMESPACE
  const target = { kind: 'service', seenInNamespaceOnly } as const
  const binding = bindingOf(object, target, fetch, { waypoints, namespaces })
  const ingressUseWaypoint = ingressGoesThrough(object, fetch, namespaces)
  const made = { ...row, ingressUseWaypoint, ...fieldsOf(binding) }
  if (binding.kind === 'none') return made
  const asked = { kind, object, level: levelOf(object, fetch, { namespaces }) }
  if (binding.kind === 'unbound')
    return { ...made, waypoint: refusedFor(binding, asked, fetch, failure)?.destination }
  const { waypoint, canary } = binding
  const all = canary === undefined ? [waypoint] : [waypoint, canary.waypoint]
  if (!mayPassBy(all, asked, fetch, failure)) return made
  return { ...made, extensions: [...made.extensions, failOpenExtension] }
}

function fieldsOf(binding: Binding): Pick<workload.Service, 'waypoint' | 'weightedWaypoints'> {
  if (binding.kind !== 'bound') return { waypoint: undefined, weightedWaypoints: [] }
  const { waypoint, canary } = binding
  const parts =
    canary === undefined
      ? []
      : [
          { destination: waypoint.destination, weight: 100 - canary.weight },
          { destination: canary.waypoint.destination, weight: canary.weight },
        ]
  return { waypoint: waypoint.destination, weightedWaypoints: parts }
}

/** Whether gateways send to the waypoint, as the object says or else its namespace. */
export function ingressGoesThrough(
  object: KubeObject,
  fetch: Fetch,
  namespaces: Collection<Namespace>,
): boolean {
  const own = object.metadata.labels?.[labels.ingressUseWaypoint]
  const said = own ?? fetch.one(namespaces, namespaceOf(object))?.metadata.labels?.[labels.ingressUseWaypoint]
  return said === 'true'
}
