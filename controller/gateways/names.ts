import type { KubeObject } from '#kube'
import type { Gateway, Words } from '../collections/index.ts'

export type { Words } from '../collections/index.ts'

export const names = {
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
  className: 'gateway.networking.k8s.io/gateway-class-name',
  managed: 'gateway.istio.io/managed',
  nameOverride: 'gateway.istio.io/name-override',
  serviceAccount: 'gateway.istio.io/service-account',
  controllerVersion: 'gateway.istio.io/controller-version',
  serviceType: 'networking.istio.io/service-type',
  trafficDistribution: 'networking.istio.io/traffic-distribution',
} as const

export const nameOf = ({ metadata }: KubeObject): string => metadata.name ?? ''

/** The value of the label `gateway.istio.io/managed` for a controller's name. */
export const managedBy = (controllerName: string): string => controllerName.replace('/', '-')

/** What the Deployment and the Service of a waypoint are called. */
export const workloadNameOf = ({ name, annotations }: Gateway): string =>
  annotations[names.nameOverride] || name

export const accountOf = (gateway: Gateway): string =>
  gateway.annotations[names.serviceAccount] || workloadNameOf(gateway)

/**
 * Tracks of tools that made the Gateway: copied to our objects they would make these tools take ours for theirs, and
 * remove them.
 */
const tracked = (key: string): boolean =>
  key === 'app.kubernetes.io/instance' ||
  key === 'kubectl.kubernetes.io/last-applied-configuration' ||
  /^(argocd\.argoproj\.io|([a-z-]+\.)?toolkit\.fluxcd\.io|meta\.helm\.sh|helm\.sh)\//.test(key)
const neverCopied: readonly string[] = [names.nameOverride, names.serviceAccount, names.controllerVersion]

const without = (words: Words, drop: (key: string) => boolean): Words =>
  Object.fromEntries(Object.entries(words).filter(([key]) => !drop(key)))

/** The labels that users want on all children: `spec.infrastructure`, or without that a copy of the Gateway's own. */
export const infrastructureLabels = ({ labels, infrastructure }: Gateway): Words =>
  without(
    infrastructure.labels ?? without(labels, tracked),
    (key) => key.startsWith('gateway.networking.k8s.io/') || key === names.managed,
  )

export const infrastructureAnnotations = ({ annotations, infrastructure }: Gateway): Words =>
  without(
    infrastructure.annotations ?? without(annotations, tracked),
    (key) => neverCopied.includes(key) || key === 'kubectl.kubernetes.io/last-applied-configuration',
  )
