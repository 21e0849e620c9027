import { type Collection, type ConfigMap, type Custom, type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { Mesh, Settings } from './collections/index.ts'
import type { Routes } from './routes/index.ts'
import { type Telemetry, telemetryFrom } from './telemetry/index.ts'

type FollowOptions = Readonly<{
  client: KubeClient
  maps: Collection<ConfigMap>
  mesh: Mesh
  routes: Routes
  settings: Settings
  signal: AbortSignal
  log: Logger
}>

/** What waypoints log and count, once all that says so is there. */
export type FollowedTelemetry = Telemetry & Readonly<{ objects: Collection<Custom> }>

export async function followTelemetry(o: FollowOptions): Promise<FollowedTelemetry> {
  const { client, maps, mesh, routes, settings, signal, log } = o
  const objects = reflect(client, kinds.Telemetry, { signal, log: log.child('kube'), optional: true })
  const inputs = { telemetries: objects, maps }
  const telemetry = telemetryFrom(inputs, mesh, routes.services, settings, log.child('telemetry'))
  await Promise.all([objects.synced, telemetry.resources.synced, telemetry.conditions.synced])
  return { ...telemetry, objects }
}
