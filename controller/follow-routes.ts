import { type Collection, type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { Inputs, LabelAskers, Mesh, Settings } from './collections/index.ts'
import { type MeshDefaults, type RouteInputs, type Routes, routesFrom } from './routes/index.ts'

type FollowOptions = Readonly<{
  client: KubeClient
  settings: Settings
  inputs: Inputs
  mesh: Mesh
  askers: LabelAskers
  meshDefaults: Collection<MeshDefaults>
  signal: AbortSignal
  log: Logger
}>

/** The routes and what is derived from them, once all of it is there. */
export type FollowedRoutes = Routes & Readonly<{ objects: RouteInputs }>

/** What is looked at for its labels before any workload is told of. */
export const labelAskers = (client: KubeClient, signal: AbortSignal, log: Logger): LabelAskers => {
  const all = { signal, log: log.child('kube'), optional: true }
  return {
    virtualServices: reflect(client, kinds.VirtualService, all),
    destinationRules: reflect(client, kinds.DestinationRule, all),
  }
}

export async function followRoutes(o: FollowOptions): Promise<FollowedRoutes> {
  const { client, settings, inputs, mesh, meshDefaults, signal, log } = o
  const all = { signal, log: log.child('kube'), optional: true } // clusters without the Gateway API have none
  const objects = {
    httpRoutes: reflect(client, kinds.HTTPRoute, all),
    grpcRoutes: reflect(client, kinds.GRPCRoute, all),
    tlsRoutes: reflect(client, kinds.TLSRoute, all),
    tcpRoutes: reflect(client, kinds.TCPRoute, all),
    referenceGrants: reflect(client, kinds.ReferenceGrant, all),
    ...o.askers,
    meshDefaults,
  }
  const routes = routesFrom(objects, inputs, mesh, settings)
  await Promise.all(
    [...Object.values(objects), routes.resources, ...Object.values(routes.conditions)].map(
      ({ synced }) => synced,
    ),
  )
  return { ...routes, objects }
}
