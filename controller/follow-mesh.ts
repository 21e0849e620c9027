import { type Collection, type ConfigMap, type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import { type Inputs, labelKeys, type Mesh, meshFrom, type Settings } from './collections/index.ts'
import { trimNode, trimPod } from './collections/trims.ts'
import type { Config } from './config.ts'
import { type FollowedRoutes, followRoutes, labelAskers } from './follow-routes.ts'
import { type FollowedTelemetry, followTelemetry } from './follow-telemetry.ts'
import { logFindings } from './findings.ts'
import { tellUnheeded } from './mesh-config-told.ts'
import { liveSettings, meshConfigMap, meshDefaults, warnOfRestart } from './mesh-config.ts'

type FollowOptions = Readonly<{
  client: KubeClient
  config: Config
  settings: Settings
  signal: AbortSignal
  log: Logger
}>

/** The objects and what is derived from them, once all of it is there. */
export async function followMesh(
  o: FollowOptions,
): Promise<
  Disposable & Readonly<{ inputs: Inputs; mesh: Mesh; routes: FollowedRoutes; telemetry: FollowedTelemetry }>
> {
  using stack = new DisposableStack()
  const { client, config, settings, signal, log } = o
  const maps = meshConfigMaps(client, config, signal, log)
  stack.use(warnOfRestart(maps, settings, config, log.child('mesh-config')))
  stack.use(tellUnheeded(maps, log.child('mesh-config')))
  const inputs = inputsFrom(client, maps, signal, log)
  const askers = labelAskers(client, signal, log)
  const mesh = meshFrom(inputs, settings, log.child('collections'), labelKeys(askers))
  await allSynced(mesh, inputs)
  const defaults = meshDefaults(maps, log.child('mesh-config'))
  const routes = await followRoutes({
    client,
    settings,
    inputs,
    mesh,
    askers,
    meshDefaults: defaults,
    signal,
    log,
  })
  stack.use(logFindings(inputs, mesh, settings, log.child('collections')))
  const telemetry = await followTelemetry({ client, maps, mesh, routes, settings, signal, log })
  const open = stack.move()
  return { inputs, mesh, routes, telemetry, [Symbol.dispose]: () => open.dispose() }
}

const meshConfigMaps = (
  client: KubeClient,
  { namespace, revision }: Config,
  signal: AbortSignal,
  log: Logger,
) =>
  reflect(client, kinds.ConfigMap, {
    signal,
    log: log.child('kube'),
    namespace,
    fieldSelector: `metadata.name=${meshConfigMap(revision)}`,
  })

function inputsFrom(
  client: KubeClient,
  maps: Collection<ConfigMap>,
  signal: AbortSignal,
  log: Logger,
): Inputs {
  const all = { signal, log: log.child('kube'), streamed: true }
  return {
    pods: reflect(client, kinds.Pod, { ...all, trim: trimPod }),
    services: reflect(client, kinds.Service, all),
    slices: reflect(client, kinds.EndpointSlice, all),
    namespaces: reflect(client, kinds.Namespace, all),
    nodes: reflect(client, kinds.Node, { ...all, trim: trimNode }),
    authorizationPolicies: reflect(client, kinds.AuthorizationPolicy, { ...all, optional: true }),
    peerAuthentications: reflect(client, kinds.PeerAuthentication, { ...all, optional: true }),
    serviceEntries: reflect(client, kinds.ServiceEntry, { ...all, optional: true }),
    workloadEntries: reflect(client, kinds.WorkloadEntry, { ...all, optional: true }),
    gateways: reflect(client, kinds.Gateway, { ...all, optional: true }),
    gatewayClasses: reflect(client, kinds.GatewayClass, { ...all, optional: true }),
    meshConfig: liveSettings(maps, log.child('mesh-config')),
  }
}

/** Nobody is told anything before everything is known: half a mesh is a wrong mesh. */
async function allSynced(mesh: Mesh, inputs: Inputs): Promise<void> {
  const waiting: readonly { readonly synced: Promise<void> }[] = [
    ...Object.values(inputs),
    mesh.addresses,
    mesh.authorizations,
    mesh.targetedPolicies,
  ]
  await Promise.all(waiting.map(({ synced }) => synced))
}
