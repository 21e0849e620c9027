import type { LabelSelector } from './label-selector.ts'

/** What is the same for every row. */
export type Settings = Readonly<{
  clusterId: string
  trustDomain: string
  /** Domain of Service names. */
  domain: string
  /** Policies here hold for the whole mesh. */
  rootNamespace: string
  /** Send policies marked dry-run; only ztunnels from 1.29 on know that these are not to be enforced. */
  dryRunPolicies: boolean
}>

/** What of the mesh's settings may change while we run: the row `mesh` of its collection. */
export type LiveSettings = Readonly<{
  /** Namespaces that we look at: those that one of these selects, or all when there is none. */
  discoverySelectors: readonly LabelSelector[]
  /** Who sees a ServiceEntry that does not say: as the first rule says that selects its namespace, or else `otherwise`. */
  entryVisibility: Readonly<{
    otherwise: EntryVisibility
    rules: readonly Readonly<{ visibility: EntryVisibility; namespaces: readonly LabelSelector[] }>[]
  }>
}>
export type EntryVisibility = 'everybody' | 'namespace' | 'nobody'

export const liveKey = 'mesh'
export const defaultLiveSettings: LiveSettings = {
  discoverySelectors: [],
  entryVisibility: { otherwise: 'everybody', rules: [] },
}

export const labels = {
  network: 'topology.istio.io/network',
  useWaypoint: 'istio.io/use-waypoint',
  ingressUseWaypoint: 'istio.io/ingress-use-waypoint',
  tunnel: 'networking.istio.io/tunnel',
  canonicalName: 'service.istio.io/canonical-name',
  canonicalRevision: 'service.istio.io/canonical-revision',
  workloadName: 'service.istio.io/workload-name',
  serviceName: 'kubernetes.io/service-name',
} as const

export const annotations = {
  /** Written by the CNI agent once a pod's traffic is captured; nothing else makes a pod HBONE. */
  redirection: 'ambient.istio.io/redirection',
  trafficDistribution: 'networking.istio.io/traffic-distribution',
  dryRun: 'istio.io/dry-run',
} as const
