import { isRecord } from '#base'
import type { KubeObject } from '#kube'
import type { Gateway, Listener } from '../collections/index.ts'
import type { BuiltInClass } from './classes.ts'
import {
  accountOf,
  infrastructureAnnotations,
  infrastructureLabels,
  labelOf,
  managedBy,
  names,
  workloadNameOf,
} from './names.ts'
import { networkLabel, ownLabels, podTemplate, type RenderOptions } from './pod-template.ts'

/** What a Gateway may consist of, in the order in which it is applied. */
export const childKinds = [
  'ServiceAccount',
  'Deployment',
  'Service',
  'HorizontalPodAutoscaler',
  'PodDisruptionBudget',
] as const
export type ChildKind = (typeof childKinds)[number]

/** An object as it is applied. */
export type Child = Readonly<{
  kind: ChildKind
  metadata: Readonly<{
    name: string
    namespace: string
    labels: Readonly<Record<string, string>>
    annotations: Readonly<Record<string, string>>
    ownerReferences: readonly Readonly<{ apiVersion: string; kind: string; name: string; uid: string }>[]
  }>
}> &
  Readonly<Record<string, unknown>>

/** What a waypoint consists of. `live` is its Deployment, if there is one: a selector cannot be changed. */
export function childrenOf(
  gateway: Gateway,
  { controllerName }: BuiltInClass,
  options: RenderOptions,
  live?: KubeObject,
): readonly Child[] {
  const managed = managedBy(controllerName)
  const [workload, account] = [workloadNameOf(gateway), accountOf(gateway)]
  const selector = { [names.gatewayName]: labelOf(gateway) }
  const selected = hasOlderSelector(live) ? { [names.olderGatewayName]: labelOf(gateway) } : selector
  const metadata = (name: string) => metadataOf(gateway, name, managed, options)
  const template = podTemplate({ gateway, workload, account, options, selector: selected }, managed)
  return [
    { kind: 'ServiceAccount', metadata: metadata(account) },
    {
      kind: 'Deployment',
      metadata: metadata(workload),
      spec: { selector: { matchLabels: selected }, template },
    },
    {
      kind: 'Service',
      metadata: withDistribution(metadata(workload)),
      spec: {
        ipFamilyPolicy: 'PreferDualStack',
        ports: servicePorts(gateway.listeners),
        selector,
        ...serviceTypeOf(gateway),
      },
    },
  ]
}

/** One that an Istio of before the Gateway API's own label made. */
function hasOlderSelector(live: KubeObject | undefined): boolean {
  const spec: unknown = live && 'spec' in live ? live.spec : undefined
  const selector: unknown = isRecord(spec) ? spec['selector'] : undefined
  const labels: unknown = isRecord(selector) ? selector['matchLabels'] : undefined
  return isRecord(labels) && names.olderGatewayName in labels
}

/** What there is only where somebody asks for it: the start of an autoscaler, and of a budget for disruptions. */
export function optionalChildrenOf(
  gateway: Gateway,
  { controllerName }: BuiltInClass,
  options: RenderOptions,
): readonly Child[] {
  const name = workloadNameOf(gateway)
  const metadata = metadataOf(gateway, name, managedBy(controllerName), options)
  return [
    {
      kind: 'HorizontalPodAutoscaler',
      metadata,
      spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name }, maxReplicas: 1 },
    },
    {
      kind: 'PodDisruptionBudget',
      metadata,
      spec: { selector: { matchLabels: { [names.gatewayName]: labelOf(gateway) } } },
    },
  ]
}

const metadataOf = (
  gateway: Gateway,
  name: string,
  managed: string,
  options: RenderOptions,
): Child['metadata'] => ({
  name,
  namespace: gateway.namespace,
  labels: {
    ...networkLabel(options),
    ...infrastructureLabels(gateway, options.copiesWords),
    ...ownLabels(gateway, managed),
  },
  annotations: infrastructureAnnotations(gateway, options.copiesWords),
  // The API server removes the children when the Gateway goes; there is no finalizer.
  ownerReferences: [
    { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway', name: gateway.name, uid: gateway.uid },
  ],
})

const withDistribution = (metadata: Child['metadata']): Child['metadata'] => ({
  ...metadata,
  annotations: { [names.trafficDistribution]: 'PreferClose', ...metadata.annotations },
})

const serviceTypes: readonly string[] = ['ClusterIP', 'NodePort', 'LoadBalancer']

/** A word that is no type would make the API server refuse the Service: the default then. */
function serviceTypeOf({ annotations, addresses }: Gateway): Readonly<Record<string, string>> {
  const wish = annotations[names.serviceType] ?? ''
  const type = serviceTypes.includes(wish) ? wish : 'ClusterIP'
  const [address] = addresses
  return type === 'LoadBalancer' && address ? { type, loadBalancerIP: address.value } : { type }
}

const maxPortName = 63

/** The status port, then one per distinct port of the listeners. */
export function servicePorts(listeners: readonly Listener[]) {
  const ports = [{ name: 'status-port', port: 15_021, protocol: 'TCP', appProtocol: 'tcp' }]
  for (const { name, port, protocol } of listeners) {
    if (ports.some((known) => known.port === port)) continue
    const wanted = portName(name)
    const taken = ports.some((known) => known.name === wanted)
    const own = taken ? `${wanted.slice(0, maxPortName - 6)}-${port}` : wanted
    ports.push({ name: own, port, protocol: 'TCP', appProtocol: protocol.toLowerCase() })
  }
  return ports
}

/** A listener's name may have dots and be long; a port's name may not. */
const portName = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, maxPortName)
    .replace(/^-+|-+$/g, '') || 'listener'
