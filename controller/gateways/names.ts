import { createHash } from 'node:crypto'
import type { KubeObject } from '#kube'
import type { Gateway, Words } from '../collections/index.ts'

export type { Words } from '../collections/index.ts'

export const names = {
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
  className: 'gateway.networking.k8s.io/gateway-class-name',
  /** Before the Gateway API had one. */
  olderGatewayName: 'istio.io/gateway-name',
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

/** Labels, and names of Services and Deployments, are shorter than names of Gateways may be, and the latter may have dots. */
const maxLabel = 63

/** The name itself where it fits, else as much of it as does and what tells it from others like it. */
const fitting = (name: string, text: string): string => {
  if (text === name && name.length <= maxLabel) return name
  const mark = createHash('sha256').update(name).digest('hex').slice(0, 8)
  return `${text.slice(0, maxLabel - mark.length - 1).replace(/-+$/, '')}-${mark}`
}

/** The Gateway's name as the label of its children. */
export const labelOf = ({ name }: Pick<Gateway, 'name'>): string => fitting(name, name)

/** What the Deployment and the Service of a waypoint are called. A Service's name starts with a letter. */
export const workloadNameOf = ({ name, annotations }: Gateway): string =>
  annotations[names.nameOverride] || fitting(name, name.replaceAll('.', '-').replace(/^(?=\d)/, 'gateway-'))

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

/** The labels that users want on all children: `spec.infrastructure`, or without that (where it is wanted) the Gateway's own. */
export const infrastructureLabels = ({ labels, infrastructure }: Gateway, copies: boolean): Words =>
  without(
    infrastructure.labels ?? (copies ? without(labels, tracked) : {}),
    (key) => key.startsWith('gateway.networking.k8s.io/') || key === names.managed,
  )

export const infrastructureAnnotations = ({ annotations, infrastructure }: Gateway, copies: boolean): Words =>
  without(
    infrastructure.annotations ?? (copies ? without(annotations, tracked) : {}),
    (key) => neverCopied.includes(key) || key === 'kubectl.kubernetes.io/last-applied-configuration',
  )
