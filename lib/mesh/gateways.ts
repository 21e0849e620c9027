import type { Gateway, Service } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'

/** The service that a gateway is named by, or whose address it is. */
export const gatewayService = (state: MeshState, { to }: Gateway, namespace: string): Service | undefined =>
  to.kind === 'hostname' ? state.service(to.service) : state.serviceAt(to.network, to.address, namespace)

/** Every waypoint that a service names, also those that get no connections now. */
export const allWaypoints = ({ waypoint, weightedWaypoints }: Service): readonly Gateway[] => [
  ...(waypoint ? [waypoint] : []),
  ...weightedWaypoints.map(({ gateway }) => gateway),
]
