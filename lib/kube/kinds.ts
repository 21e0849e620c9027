import type {
  ConfigMap,
  Custom,
  EndpointSlice,
  KubeNode,
  KubeObject,
  Lease,
  Namespace,
  Pod,
  Secret,
  Service,
  TokenReview,
} from './objects.ts'

/** How a kind of objects is addressed. `T` is the shape of its rows and has no run-time part. */
export type Kind<T extends KubeObject = KubeObject> = Readonly<{
  apiVersion: string
  kind: string
  plural: string
  namespaced: boolean
  shape?: T
}>

/** One object of a kind. */
export type Ref<T extends KubeObject = KubeObject> = Readonly<{
  kind: Kind<T>
  name: string
  namespace?: string
}>

const kind = <T extends KubeObject>(
  apiVersion: string,
  name: string,
  plural: string,
  namespaced = true,
): Kind<T> => ({
  apiVersion,
  kind: name,
  plural,
  namespaced,
})

/** The kinds that our components use. */
export const kinds = {
  Pod: kind<Pod>('v1', 'Pod', 'pods'),
  Service: kind<Service>('v1', 'Service', 'services'),
  Namespace: kind<Namespace>('v1', 'Namespace', 'namespaces', false),
  Node: kind<KubeNode>('v1', 'Node', 'nodes', false),
  ConfigMap: kind<ConfigMap>('v1', 'ConfigMap', 'configmaps'),
  Secret: kind<Secret>('v1', 'Secret', 'secrets'),
  ServiceAccount: kind<KubeObject>('v1', 'ServiceAccount', 'serviceaccounts'),
  Event: kind<Custom>('v1', 'Event', 'events'),
  EndpointSlice: kind<EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices'),
  Lease: kind<Lease>('coordination.k8s.io/v1', 'Lease', 'leases'),
  TokenReview: kind<TokenReview>('authentication.k8s.io/v1', 'TokenReview', 'tokenreviews', false),
  Deployment: kind<Custom>('apps/v1', 'Deployment', 'deployments'),
  ReplicaSet: kind<Custom>('apps/v1', 'ReplicaSet', 'replicasets'),
  DaemonSet: kind<Custom>('apps/v1', 'DaemonSet', 'daemonsets'),
  StatefulSet: kind<Custom>('apps/v1', 'StatefulSet', 'statefulsets'),
  Job: kind<Custom>('batch/v1', 'Job', 'jobs'),
  CustomResourceDefinition: kind<Custom>(
    'apiextensions.k8s.io/v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
    false,
  ),
  ValidatingWebhookConfiguration: kind<Custom>(
    'admissionregistration.k8s.io/v1',
    'ValidatingWebhookConfiguration',
    'validatingwebhookconfigurations',
    false,
  ),
  AuthorizationPolicy: kind<Custom>('security.istio.io/v1', 'AuthorizationPolicy', 'authorizationpolicies'),
  PeerAuthentication: kind<Custom>('security.istio.io/v1', 'PeerAuthentication', 'peerauthentications'),
  ServiceEntry: kind<Custom>('networking.istio.io/v1', 'ServiceEntry', 'serviceentries'),
  WorkloadEntry: kind<Custom>('networking.istio.io/v1', 'WorkloadEntry', 'workloadentries'),
  WorkloadGroup: kind<Custom>('networking.istio.io/v1', 'WorkloadGroup', 'workloadgroups'),
  VirtualService: kind<Custom>('networking.istio.io/v1', 'VirtualService', 'virtualservices'),
  DestinationRule: kind<Custom>('networking.istio.io/v1', 'DestinationRule', 'destinationrules'),
  Telemetry: kind<Custom>('telemetry.istio.io/v1', 'Telemetry', 'telemetries'),
  Gateway: kind<Custom>('gateway.networking.k8s.io/v1', 'Gateway', 'gateways'),
  GatewayClass: kind<Custom>('gateway.networking.k8s.io/v1', 'GatewayClass', 'gatewayclasses', false),
  HTTPRoute: kind<Custom>('gateway.networking.k8s.io/v1', 'HTTPRoute', 'httproutes'),
  GRPCRoute: kind<Custom>('gateway.networking.k8s.io/v1', 'GRPCRoute', 'grpcroutes'),
  TLSRoute: kind<Custom>('gateway.networking.k8s.io/v1', 'TLSRoute', 'tlsroutes'),
  TCPRoute: kind<Custom>('gateway.networking.k8s.io/v1', 'TCPRoute', 'tcproutes'),
  ReferenceGrant: kind<Custom>('gateway.networking.k8s.io/v1', 'ReferenceGrant', 'referencegrants'),
  HorizontalPodAutoscaler: kind<Custom>(
    'autoscaling/v2',
    'HorizontalPodAutoscaler',
    'horizontalpodautoscalers',
  ),
  PodDisruptionBudget: kind<Custom>('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets'),
  MutatingWebhookConfiguration: kind<Custom>(
    'admissionregistration.k8s.io/v1',
    'MutatingWebhookConfiguration',
    'mutatingwebhookconfigurations',
    false,
  ),
} as const

/** The path of a kind, of one namespace of it, or of one object and its subresource. */
export function pathOf(
  { apiVersion, plural, namespaced }: Kind,
  at: Readonly<{
    namespace?: string | undefined
    name?: string | undefined
    subresource?: string | undefined
  }> = {},
): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const parts = [
    root,
    ...(namespaced && at.namespace !== undefined ? ['namespaces', encodeURIComponent(at.namespace)] : []),
    plural,
    ...(at.name === undefined ? [] : [encodeURIComponent(at.name)]),
    ...(at.subresource === undefined ? [] : [at.subresource]),
  ]
  return parts.join('/')
}

/** `namespace/name`, or `name` for what has no namespace: the key of an object in a collection. */
export const keyOf = ({ metadata: { namespace, name = '' } }: KubeObject): string =>
  namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
