import type { Collection, Fetch, Index } from '#kube'
import type { ReadableTarget } from '../collections/policy-targets.ts'
import type { Waypoint } from '../collections/waypoints.ts'
import type { RoutedService } from '../routes/index.ts'
import { type MeshTelemetry, meshTelemetryKey, usualMeshTelemetry } from './mesh-logging.ts'
import type { TelemetryObject } from './object.ts'

export type TelemetryTables = Readonly<{
  mesh: Collection<MeshTelemetry>
  /** Of each object the last state that could be read. */
  objects: Collection<TelemetryObject>
  /** By what an object is about; see `levelOf`. */
  byLevel: Index<TelemetryObject>
  waypoints: Collection<Waypoint>
  /** By `namespace/name` of the waypoint. */
  servicesByWaypoint: Index<RoutedService>
  rootNamespace: string
}>

export const meshOf = (fetch: Fetch, { mesh }: TelemetryTables): MeshTelemetry =>
  fetch.one(mesh, meshTelemetryKey) ?? usualMeshTelemetry

const targetLevel = ({ kind, namespace, name }: ReadableTarget): string => `${kind}|${namespace}|${name}`
const namespaceLevel = (namespace: string): string => `namespace|${namespace}`

/** What an object is about: its targets, or everything in its namespace; the root namespace is the whole mesh. */
export function levelsOf({ targets, hasSelector, namespace }: TelemetryObject): readonly string[] {
  if (targets.length > 0)
    return targets.flatMap((target) => (target.kind === 'unreadable' ? [] : [targetLevel(target)]))
  return hasSelector ? [] : [namespaceLevel(namespace)]
}

/** The one that counts of those about the same: the oldest (Istio). */
export function winner(
  level: string,
  fetch: Fetch,
  { byLevel }: TelemetryTables,
): TelemetryObject | undefined {
  return [...fetch.by(byLevel, level)].sort((a, b) =>
    `${a.created} ${a.key}` < `${b.created} ${b.key}` ? -1 : 1,
  )[0]
}

/** From the mesh's to the waypoint's own. */
export function waypointLevels(
  waypoint: Waypoint,
  fetch: Fetch,
  tables: TelemetryTables,
): readonly TelemetryObject[] {
  const { namespace, name, className } = waypoint
  return [
    namespaceLevel(tables.rootNamespace),
    targetLevel({ kind: 'GatewayClass', namespace: '', name: className }),
    ...(namespace === tables.rootNamespace ? [] : [namespaceLevel(namespace)]),
    targetLevel({ kind: 'Gateway', namespace, name }),
  ].flatMap((level) => winner(level, fetch, tables) ?? [])
}

/** Those that are about one service alone. */
export function serviceLevel(
  { kind, key }: RoutedService,
  fetch: Fetch,
  tables: TelemetryTables,
): TelemetryObject | undefined {
  const [namespace = '', name = ''] = key.split('/')
  return winner(targetLevel({ kind, namespace, name }), fetch, tables)
}
