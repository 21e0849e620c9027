/** Only the fields that we read; everything an API server sends beyond them is kept but not named here. */
export type Metadata = Readonly<{
  name?: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  labels?: Readonly<Record<string, string>>
  annotations?: Readonly<Record<string, string>>
  ownerReferences?: readonly OwnerReference[]
  finalizers?: readonly string[]
}>

export type OwnerReference = Readonly<{
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
}>

export type KubeObject = Readonly<{ apiVersion?: string; kind?: string; metadata: Metadata }>

export type Condition = Readonly<{
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string
  observedGeneration?: number
}>

type Probe = Readonly<{
  httpGet?: Readonly<{
    path?: string
    port: number | string
    host?: string
    scheme?: string
    httpHeaders?: readonly Readonly<{ name: string; value: string }>[]
  }>
  tcpSocket?: Readonly<{ port: number | string; host?: string }>
  exec?: Readonly<{ command?: readonly string[] }>
  grpc?: Readonly<{ port: number }>
  initialDelaySeconds?: number
  periodSeconds?: number
  timeoutSeconds?: number
  successThreshold?: number
  failureThreshold?: number
}>

export type Container = Readonly<{
  name: string
  image?: string
  command?: readonly string[]
  args?: readonly string[]
  workingDir?: string
  env?: readonly Readonly<{ name: string; value?: string; valueFrom?: Readonly<Record<string, unknown>> }>[]
  ports?: readonly Readonly<{
    name?: string
    containerPort: number
    hostPort?: number
    hostIP?: string
    protocol?: string
  }>[]
  volumeMounts?: readonly Readonly<{
    name: string
    mountPath: string
    subPath?: string
    readOnly?: boolean
    mountPropagation?: string
  }>[]
  readinessProbe?: Probe
  livenessProbe?: Probe
  startupProbe?: Probe
  restartPolicy?: string
  securityContext?: Readonly<Record<string, unknown>>
}>

type ContainerStatus = Readonly<{
  name: string
  ready: boolean
  restartCount: number
  started?: boolean
  state?: Readonly<Record<string, unknown>>
}>

export type Pod = KubeObject &
  Readonly<{
    spec?: Readonly<{
      nodeName?: string
      hostNetwork?: boolean
      serviceAccountName?: string
      hostname?: string
      subdomain?: string
      restartPolicy?: string
      terminationGracePeriodSeconds?: number
      containers?: readonly Container[]
      initContainers?: readonly Container[]
      volumes?: readonly Readonly<Record<string, unknown> & { name: string }>[]
      nodeSelector?: Readonly<Record<string, string>>
      tolerations?: readonly Readonly<Record<string, unknown>>[]
      dnsPolicy?: string
      hostAliases?: readonly Readonly<{ ip: string; hostnames?: readonly string[] }>[]
    }>
    status?: Readonly<{
      phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
      podIP?: string
      podIPs?: readonly Readonly<{ ip: string }>[]
      hostIP?: string
      hostIPs?: readonly Readonly<{ ip: string }>[]
      conditions?: readonly Condition[]
      containerStatuses?: readonly ContainerStatus[]
      startTime?: string
    }>
  }>

export type ServicePort = Readonly<{
  name?: string
  port: number
  targetPort?: number | string
  nodePort?: number
  protocol?: string
  appProtocol?: string
}>

export type Service = KubeObject &
  Readonly<{
    spec?: Readonly<{
      type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
      clusterIP?: string
      clusterIPs?: readonly string[]
      ipFamilies?: readonly ('IPv4' | 'IPv6')[]
      ipFamilyPolicy?: string
      selector?: Readonly<Record<string, string>>
      ports?: readonly ServicePort[]
      externalName?: string
      publishNotReadyAddresses?: boolean
      internalTrafficPolicy?: 'Cluster' | 'Local'
      trafficDistribution?: string
      sessionAffinity?: string
    }>
    status?: Readonly<{ conditions?: readonly Condition[] }>
  }>

export type Endpoint = Readonly<{
  addresses?: readonly string[]
  conditions?: Readonly<{ ready?: boolean; serving?: boolean; terminating?: boolean }>
  hostname?: string
  nodeName?: string
  zone?: string
  targetRef?: Readonly<{ kind?: string; namespace?: string; name?: string; uid?: string }>
}>

export type EndpointSlice = KubeObject &
  Readonly<{
    addressType?: 'IPv4' | 'IPv6' | 'FQDN'
    endpoints?: readonly Endpoint[] | null
    ports?:
      | readonly Readonly<{ name?: string; port?: number; protocol?: string; appProtocol?: string }>[]
      | null
  }>

export type Namespace = KubeObject &
  Readonly<{
    spec?: Readonly<{ finalizers?: readonly string[] }>
    status?: Readonly<{ phase?: 'Active' | 'Terminating' }>
  }>

export type KubeNode = KubeObject &
  Readonly<{
    spec?: Readonly<{
      podCIDR?: string
      podCIDRs?: readonly string[]
      unschedulable?: boolean
      taints?: readonly Readonly<{ key: string; value?: string; effect: string }>[]
    }>
    status?: Readonly<{
      addresses?: readonly Readonly<{ type: string; address: string }>[]
      conditions?: readonly Condition[]
    }>
  }>

export type ConfigMap = KubeObject & Readonly<{ data?: Readonly<Record<string, string>> }>
/** `data` values are base64. */
export type Secret = KubeObject & Readonly<{ type?: string; data?: Readonly<Record<string, string>> }>

export type Lease = KubeObject &
  Readonly<{
    spec?: Readonly<{
      holderIdentity?: string
      leaseDurationSeconds?: number
      acquireTime?: string
      renewTime?: string
      leaseTransitions?: number
    }>
  }>

export type TokenReview = KubeObject &
  Readonly<{
    spec: Readonly<{ token: string; audiences?: readonly string[] }>
    status?: Readonly<{
      authenticated?: boolean
      error?: string
      audiences?: readonly string[]
      user?: Readonly<{
        username?: string
        uid?: string
        groups?: readonly string[]
        extra?: Readonly<Record<string, readonly string[]>>
      }>
    }>
  }>

/** An object whose content is user input that no schema vouches for: whoever reads `spec` parses it. */
export type Custom = KubeObject & Readonly<{ spec?: unknown; status?: unknown }>
