import { type Collection, type Condition, derive, type Service } from '#kube'
import type { Inputs } from './inputs.ts'
import { nameOf, namespaceOf } from './inputs.ts'
import { labels } from './settings.ts'

/** A Service that asks for a waypoint, and the condition that tells its owner that there is none. */
export type WaypointReference = Readonly<{
  namespace: string
  name: string
  waypoint: string
  condition: Condition
}>

/** Services whose own label, or else their namespace's, names a waypoint; `none` is the opt-out. */
export const waypointReferences = ({ services, namespaces }: Inputs): Collection<WaypointReference> =>
  derive('WaypointReferences', services, (service, fetch) => {
    const own = service.metadata.labels?.[labels.useWaypoint]
    const inherited = () => fetch.one(namespaces, namespaceOf(service))?.metadata.labels?.[labels.useWaypoint]
    const waypoint = own ?? inherited()
    if (waypoint === undefined || waypoint === '' || waypoint === 'none') return undefined
    return {
      namespace: namespaceOf(service),
      name: nameOf(service),
      waypoint,
      condition: notReady(service, waypoint),
    }
  })

const notReady = (service: Service, waypoint: string): Condition => ({
  type: 'istio.io/WaypointBound',
  status: 'False',
  reason: 'WaypointIsNotReady',
  message: `waypoint ${namespaceOf(service)}/${waypoint}: this release has no waypoints yet; traffic stays at L4`,
})
