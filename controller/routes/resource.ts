import { createHash } from 'node:crypto'
import { type Collection, derive } from '#kube'
import { type ServiceRoutes, serviceRoutesTypeUrl, waypointKey } from '#routes'
import type { MeshResource } from '../collections/index.ts'
import type { RoutedService } from './routed-service.ts'

/** The routes as they go over the wire: a waypoint asks for those of all services that are bound to it, or for one by name. */
export const routeResources = (
  routes: Collection<ServiceRoutes>,
  services: Collection<RoutedService>,
): Collection<MeshResource> =>
  derive(
    'RouteResources',
    routes,
    (row, fetch, name): MeshResource => {
      const value = Buffer.from(JSON.stringify(row))
      const waypoints = fetch.one(services, name)?.waypoints ?? []
      const keys = [name, ...waypoints.map(keyOfWaypoint)]
      // Also of who is to have it: a service that moves to another waypoint is news to both.
      const version = createHash('sha256').update(keys.join(' ')).update(value).digest('hex').slice(0, 16)
      return { name, version, aliases: [], keys, any: { typeUrl: serviceRoutesTypeUrl, value } }
    },
    { equal: (a, b) => a.version === b.version && a.name === b.name },
  )

const keyOfWaypoint = (key: string): string => {
  const slash = key.indexOf('/')
  return waypointKey(key.slice(0, slash), key.slice(slash + 1))
}
