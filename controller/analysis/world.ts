import { parse } from 'yaml'
import { messageOf } from '#base'
import {
  type Collection,
  type ConfigMap,
  type Custom,
  type EndpointSlice,
  fixed,
  keyOf,
  type KubeNode,
  type KubeObject,
  type Namespace,
  type Pod,
  type Service,
} from '#kube'
import {
  type Inputs,
  labelKeys,
  liveKey,
  type LiveSettings,
  type Mesh,
  meshFrom,
  type Settings,
} from '../collections/index.ts'
import { trimNode, trimPod } from '../collections/trims.ts'
import { liveSettingsFrom, meshConfigMap } from '../mesh-config.ts'
import { silent } from '#telemetry'
import {
  type MeshDefaults,
  meshDefaultsKey,
  readMeshDefaults,
  type RouteInputs,
  type Routes,
  routesFrom,
} from '../routes/index.ts'
import { type Telemetry, telemetryFrom } from '../telemetry/index.ts'

/** What the objects come to, by the very code that serves them. */
export type World = Readonly<{
  objects: readonly KubeObject[]
  settings: Settings
  inputs: Inputs
  mesh: Mesh
  routes: Routes
  telemetry: Telemetry
  /** Of a kind, as they are. */
  of: (kind: string) => readonly KubeObject[]
  /** What is wrong with the ConfigMap of the mesh, if it cannot be read. */
  meshConfig: Readonly<{ map?: ConfigMap; text: unknown; problem?: string }>
}>

export function worldOf(objects: readonly KubeObject[], settings: Settings): World {
  const of = <T extends KubeObject>(kind: string) =>
    objects.filter((one) => one.kind === kind) as readonly T[]
  const rows = <T extends KubeObject>(kind: string, trim: (one: T) => T = (one) => one): Collection<T> =>
    fixed(kind, Object.fromEntries(of<T>(kind).map((one) => [keyOf(one), trim(one)])))
  const meshConfig = readMeshConfig(of<ConfigMap>('ConfigMap'), settings)
  const askers = {
    virtualServices: rows<Custom>('VirtualService'),
    destinationRules: rows<Custom>('DestinationRule'),
  }
  const inputs: Inputs = {
    pods: rows<Pod>('Pod', trimPod),
    services: rows<Service>('Service'),
    slices: rows<EndpointSlice>('EndpointSlice'),
    namespaces: rows<Namespace>('Namespace'),
    nodes: rows<KubeNode>('Node', trimNode),
    authorizationPolicies: rows<Custom>('AuthorizationPolicy'),
    peerAuthentications: rows<Custom>('PeerAuthentication'),
    serviceEntries: rows<Custom>('ServiceEntry'),
    workloadEntries: rows<Custom>('WorkloadEntry'),
    gateways: fixed('Gateway', rowsOf(of<Custom>('Gateway').filter(isGatewayApi))),
    gatewayClasses: rows<Custom>('GatewayClass'),
    meshConfig: fixed('MeshConfig', meshConfig.live === undefined ? {} : { [liveKey]: meshConfig.live }),
  }
  const mesh = meshFrom(inputs, settings, undefined, labelKeys(askers))
  const routeInputs: RouteInputs = {
    httpRoutes: rows<Custom>('HTTPRoute'),
    grpcRoutes: rows<Custom>('GRPCRoute'),
    tlsRoutes: rows<Custom>('TLSRoute'),
    tcpRoutes: rows<Custom>('TCPRoute'),
    referenceGrants: rows<Custom>('ReferenceGrant'),
    ...askers,
    meshDefaults: fixed(
      'MeshDefaults',
      meshConfig.defaults === undefined ? {} : { [meshDefaultsKey]: meshConfig.defaults },
    ),
  }
  const routes = routesFrom(routeInputs, inputs, mesh, settings)
  const maps = fixed('ConfigMap', rowsOf(meshConfig.map === undefined ? [] : [meshConfig.map]))
  const ofTelemetry = { telemetries: rows<Custom>('Telemetry'), maps }
  const telemetry = telemetryFrom(ofTelemetry, mesh, routes.services, settings, silent)
  return { objects, settings, inputs, mesh, routes, telemetry, of, meshConfig }
}

const rowsOf = <T extends KubeObject>(list: readonly T[]) =>
  Object.fromEntries(list.map((one) => [keyOf(one), one]))

/** Istio has a kind of that name too. */
export const isGatewayApi = ({ apiVersion = '' }: KubeObject): boolean =>
  apiVersion.startsWith('gateway.networking.k8s.io/')

type ReadConfig = World['meshConfig'] & Readonly<{ live?: LiveSettings; defaults?: MeshDefaults }>

function readMeshConfig(maps: readonly ConfigMap[], { rootNamespace, revision }: Settings): ReadConfig {
  const map = maps.find(
    ({ metadata }) => metadata.namespace === rootNamespace && metadata.name === meshConfigMap(revision),
  )
  if (map === undefined) return { text: {} }
  try {
    const text: unknown = parse(map.data?.['mesh'] ?? '{}') ?? {}
    return { map, text, live: liveSettingsFrom(text), defaults: readMeshDefaults(text).defaults }
  } catch (error) {
    return { map, text: {}, problem: messageOf(error) }
  }
}
