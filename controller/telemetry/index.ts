import {
  type Collection,
  type Condition,
  type ConfigMap,
  type Custom,
  derive,
  deriveMany,
  type Traceable,
} from '#kube'
import type { Logger } from '#telemetry'
import { namespaceOf } from '../collections/inputs.ts'
import type { Mesh, MeshResource, Settings } from '../collections/index.ts'
import type { RoutedService } from '../routes/index.ts'
import { meshTelemetryFrom, type MeshTelemetry, meshTelemetryKey } from './mesh-logging.ts'
import { readTelemetry } from './object.ts'
import { telemetryStatuses } from './status.ts'
import { levelsOf, type TelemetryTables } from './tables.ts'
import { telemetryResources, waypointTelemetries } from './waypoints.ts'

/** The conditions that Telemetry objects have from us. */
export { telemetryConditionTypes } from './status.ts'
export { telemetryFindings } from './object.ts'

/** What logs and series of waypoints are derived from. */
type TelemetryInputs = Readonly<{
  telemetries: Collection<Custom>
  /** The ConfigMap `istio`. */
  maps: Collection<ConfigMap>
}>

/** What waypoints log and count, as xDS resources, and what the owners of Telemetry objects are told. */
export type Telemetry = Readonly<{
  resources: Collection<MeshResource>
  conditions: Collection<readonly Condition[]>
  /** For those who look into a running controller. */
  collections: readonly Traceable[]
}>

/** Telemetry objects and the mesh's settings → what waypoints log and count. Pure rows; nothing writes. */
export function telemetryFrom(
  { telemetries, maps }: TelemetryInputs,
  mesh: Pick<Mesh, 'waypoints' | 'hiddenNamespaces'>,
  services: Collection<RoutedService>,
  { rootNamespace }: Settings,
  log: Logger,
): Telemetry {
  const read = derive('TelemetryObjects', telemetries, (object, fetch) =>
    fetch.one(mesh.hiddenNamespaces, namespaceOf(object)) === undefined
      ? readTelemetry(object, rootNamespace)
      : undefined,
  )
  // What cannot be read changes nothing.
  const objects = derive(
    'Telemetries',
    read,
    (one) => {
      if (one.problems.length > 0) throw new TypeError(one.problems.join('; '))
      return one
    },
    { log },
  )
  const tables: TelemetryTables = {
    mesh: meshTelemetry(maps, log),
    objects,
    byLevel: objects.indexBy(levelsOf),
    waypoints: mesh.waypoints,
    servicesByWaypoint: services.indexBy(({ waypoints }) => waypoints),
    rootNamespace,
  }
  const rows = waypointTelemetries(tables)
  const conditions = telemetryStatuses(read, tables)
  return {
    resources: telemetryResources(rows),
    conditions,
    collections: [tables.mesh, read, objects, rows, conditions],
  }
}

/** A version of the ConfigMap that cannot be read leaves the last good one; what is not done as written is in the log. */
const meshTelemetry = (maps: Collection<ConfigMap>, log: Logger): Collection<MeshTelemetry> =>
  deriveMany(
    'MeshTelemetry',
    maps,
    ({ data }) => {
      const made = meshTelemetryFrom(data?.['mesh'])
      for (const remark of made.remarks) log.warn('the ConfigMap istio is not followed in this', { remark })
      return [made]
    },
    { log, keyOf: () => meshTelemetryKey },
  )
