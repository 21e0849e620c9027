import type { LabelSelector } from './label-selector.ts'

/** What is the same for every row. */
export type Settings = Readonly<{
  clusterId: string
  trustDomain: string
  /** What it was called before, or is called too. */
  trustDomainAliases?: readonly string[]
  /** Domain of Service names. */
  domain: string
  /** Policies here hold for the whole mesh. */
  rootNamespace: string
  /** Send policies marked dry-run; only ztunnels from 1.29 on know that these are not to be enforced. */
  dryRunPolicies: boolean
  /** Ours among several controllers of a cluster: objects of Istio's kinds whose label names another do not exist for us. */
  revision: string
  /** Workloads behind a waypoint name a policy that allows it, and so refuse whoever does not come through it. */
  allowWaypoints: boolean
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
  /** What a ServiceEntry without `exportTo` means by that (defaultServiceExportTo). */
  exportTo: EntryVisibility
}>

/** Who sees a ServiceEntry. */
export type EntryVisibility = 'everybody' | 'namespace' | 'nobody'

/** The key of the settings in their collection of one. */
export const liveKey = 'mesh'

/** What holds before the mesh's settings have been read. */
export const defaultLiveSettings: LiveSettings = {
  discoverySelectors: [],
  entryVisibility: { otherwise: 'everybody', rules: [] },
  exportTo: 'everybody',
}

export const labels = {
  network: 'topology.istio.io/network',
  revision: 'istio.io/rev',
  useWaypoint: 'istio.io/use-waypoint',
  /** Of the pods of a Gateway. */
  gatewayName: 'gateway.networking.k8s.io/gateway-name',
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
  /** How the tunnel's other end is handed to a waypoint that does not speak HBONE itself: `PROXY/15088`. */
  inboundBinding: 'ambient.istio.io/waypoint-inbound-binding',
  /**
   * Of a waypoint, or beside the label that names one: `true`, traffic goes on without it where it has nobody who takes it
   * and no policy is attached; `always`, beside the label only, it does so past policies too. Ours.
   */
  failOpen: 'lateen.dev/waypoint-fail-open',
} as const
