import { createHash } from 'node:crypto'
import { type Collection, derive, deriveMany } from '#kube'
import { waypointKey } from '#routes'
import {
  type ScopeTelemetry,
  type WaypointTelemetry,
  waypointTelemetryTypeUrl,
  waypointTelemetryVersion,
} from '#telemetry'
import type { MeshResource } from '../collections/index.ts'
import { scopeTelemetry } from './merge.ts'
import { meshOf, serviceLevel, type TelemetryTables, waypointLevels } from './tables.ts'

/** What each waypoint logs and counts, by `namespace/name`. */
export const waypointTelemetries = (tables: TelemetryTables): Collection<WaypointTelemetry> =>
  derive('WaypointTelemetries', tables.waypoints, (waypoint, fetch): WaypointTelemetry => {
    const mesh = meshOf(fetch, tables)
    const levels = waypointLevels(waypoint, fetch, tables)
    const services: Record<string, ScopeTelemetry> = {}
    for (const service of fetch.by(tables.servicesByWaypoint, waypoint.key)) {
      const own = serviceLevel(service, fetch, tables)
      if (own) services[service.name] = scopeTelemetry(mesh, [...levels, own])
    }
    return { version: waypointTelemetryVersion, ...scopeTelemetry(mesh, levels), services }
  })

/** As they go over the wire: a waypoint asks for its own. */
export const telemetryResources = (rows: Collection<WaypointTelemetry>): Collection<MeshResource> =>
  deriveMany(
    'TelemetryResources',
    rows,
    (row, _, key): readonly MeshResource[] => {
      const slash = key.indexOf('/')
      const name = waypointKey(key.slice(0, slash), key.slice(slash + 1))
      const value = Buffer.from(JSON.stringify(row))
      const version = createHash('sha256').update(value).digest('hex').slice(0, 16)
      return [{ name, version, aliases: [], keys: [name], any: { typeUrl: waypointTelemetryTypeUrl, value } }]
    },
    { keyOf: ({ name }) => name, equal: (a, b) => a.version === b.version && a.name === b.name },
  )
