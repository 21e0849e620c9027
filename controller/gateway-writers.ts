import { type Collection, type Custom, deriveMany, join, type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { Inputs } from './collections/index.ts'
import {
  type AttachingRoute,
  builtInClasses,
  type ClassOptions,
  classStatusWriter,
  classWriter,
  gatewayWriter,
  type GatewayWriterOptions,
  readRoute,
  routeParentWriter,
  type RouteKind,
  trimMap,
} from './gateways/index.ts'
import type { Writer } from './reconcile/index.ts'

export type GatewayOptions = Readonly<{
  rootNamespace: string
  classes: ClassOptions
  /** What all waypoints have in common. */
  render: GatewayWriterOptions['render']
}>
type Options = Readonly<{
  client: KubeClient
  namespace: string
  gateway: GatewayOptions
  /** All of them, as they are. */
  routes: Readonly<{
    objects: Readonly<Record<'httpRoutes' | 'grpcRoutes' | 'tlsRoutes' | 'tcpRoutes', Collection<Custom>>>
  }>
  inputs: Pick<Inputs, 'gateways' | 'gatewayClasses' | 'namespaces' | 'services' | 'slices'>
  signal: AbortSignal
  log: Logger
}>

/** What makes missing GatewayClasses, and keeps whatever Gateways of ours ask for. */
export function gatewayWriters(options: Options): readonly Writer[] {
  const { client, namespace, inputs, signal, log } = options
  const { rootNamespace, render } = options.gateway
  const known = builtInClasses(options.gateway.classes)
  const all = { signal, log }
  const ofClasses = { client, known, classes: inputs.gatewayClasses, log }
  const { httpRoutes, grpcRoutes, tlsRoutes, tcpRoutes } = options.routes.objects
  const shared = {
    ...ofClasses,
    namespace,
    render,
    gateways: inputs.gateways,
    namespaces: inputs.namespaces,
    services: inputs.services,
    routes: attachingRoutes(options),
    objects: { HTTPRoute: httpRoutes, GRPCRoute: grpcRoutes, TLSRoute: tlsRoutes, TCPRoute: tcpRoutes },
    tags: reflect(client, kinds.MutatingWebhookConfiguration, { ...all, labelSelector: 'istio.io/tag' }),
    validators: reflect(client, kinds.ValidatingWebhookConfiguration, {
      ...all,
      fieldSelector: 'metadata.name=istiod-default-validator',
    }),
  }
  const gateways = gatewayWriter({
    ...shared,
    rootNamespace,
    slices: inputs.slices,
    children: childrenOf(options),
    classDefaults: reflect(client, kinds.ConfigMap, {
      ...all,
      namespace: rootNamespace,
      labelSelector: 'gateway.istio.io/defaults-for-class',
    }),
    parameterMaps: once(() => reflect(client, kinds.ConfigMap, { ...all, trim: trimMap })),
  })
  return [gateways, routeParentWriter(shared), classWriter(ofClasses)]
}

/** The status of classes, which is one revision's to write, or they would take turns. */
export const classWriters = ({ client, gateway, inputs, log }: Options): readonly Writer[] => [
  classStatusWriter({ client, known: builtInClasses(gateway.classes), classes: inputs.gatewayClasses, log }),
]

const once = <T>(make: () => T): (() => T) => {
  let made: T | undefined
  return () => (made ??= make())
}

/** The children of our waypoints only: all Deployments and accounts of a cluster are none of our business. */
function childrenOf({ client, inputs, signal, log }: Options): GatewayWriterOptions['children'] {
  const ours = {
    signal,
    log,
    optional: true,
    labelSelector: 'gateway.istio.io/managed=istio.io-mesh-controller',
  }
  return {
    ServiceAccount: reflect(client, kinds.ServiceAccount, ours),
    Deployment: reflect(client, kinds.Deployment, ours),
    Service: inputs.services,
    HorizontalPodAutoscaler: reflect(client, kinds.HorizontalPodAutoscaler, ours),
    PodDisruptionBudget: reflect(client, kinds.PodDisruptionBudget, ours),
  }
}

/** Routes of all kinds, as far as they speak of Gateways. */
function attachingRoutes({ routes: { objects } }: Options): Collection<AttachingRoute> {
  const of = (kind: RouteKind, from: Collection<Custom>) =>
    deriveMany(`Attaching${kind}s`, from, (object) => [readRoute(kind, object)], { keyOf: ({ key }) => key })
  return join('AttachingRoutes', [
    of('HTTPRoute', objects.httpRoutes),
    of('GRPCRoute', objects.grpcRoutes),
    of('TLSRoute', objects.tlsRoutes),
    of('TCPRoute', objects.tcpRoutes),
  ])
}
