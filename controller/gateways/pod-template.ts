import { infrastructureAnnotations, infrastructureLabels, labelOf, names, type Words } from './names.ts'
import type { Gateway } from '../collections/index.ts'

/** What is the same for all Gateways of a revision. */
export type RenderOptions = Readonly<{
  /** Ours; the one without a name is called `default`. */
  revision: string
  image: string
  caAddress: string
  clusterId: string
  trustDomain: string
  domain: string
  /** Whether the Gateway's own labels and annotations are those of its children too, where it says nothing else. */
  copiesWords: boolean
  /** Of the root namespace; empty when there is one only. */
  network: string
}>

type Parts = Readonly<{
  gateway: Gateway
  workload: string
  account: string
  options: RenderOptions
  /** The pods that the Deployment has for its own. */
  selector: Words
}>

/** The labels that tell whose child an object is. Nothing a user writes changes them. */
export const ownLabels = (gateway: Gateway, managed: string): Words => ({
  [names.gatewayName]: labelOf(gateway),
  [names.className]: gateway.className,
  [names.managed]: managed,
})

/** The pods of a waypoint. */
export const podTemplate = (parts: Parts, managed: string) => ({
  metadata: {
    labels: {
      ...networkLabel(parts.options),
      ...infrastructureLabels(parts.gateway, parts.options.copiesWords),
      'sidecar.istio.io/inject': 'false',
      'istio.io/dataplane-mode': 'none',
      'service.istio.io/canonical-name': parts.workload,
      'service.istio.io/canonical-revision': 'latest',
      ...parts.selector,
      ...ownLabels(parts.gateway, managed),
    },
    annotations: {
      ...infrastructureAnnotations(parts.gateway, parts.options.copiesWords),
      'istio.io/rev': parts.options.revision,
      'prometheus.io/path': '/stats/prometheus',
      'prometheus.io/port': '15020',
      'prometheus.io/scrape': 'true',
    },
  },
  spec: {
    serviceAccountName: parts.account,
    terminationGracePeriodSeconds: 30,
    containers: [container(parts)],
    volumes,
  },
})

export const networkLabel = ({ network }: RenderOptions): Words =>
  network === '' ? {} : { 'topology.istio.io/network': network }

const container = (parts: Parts) => ({
  name: 'istio-proxy',
  image: parts.options.image,
  imagePullPolicy: 'IfNotPresent',
  command: ['node', '--disable-sigusr1', '/opt/lateen/waypoint/main.ts'],
  ports: [
    { name: 'metrics', containerPort: 15_020, protocol: 'TCP' },
    { name: 'status-port', containerPort: 15_021, protocol: 'TCP' },
    { name: 'http-envoy-prom', containerPort: 15_090, protocol: 'TCP' },
  ],
  env: environment(parts),
  startupProbe: { httpGet: ready, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 30 },
  readinessProbe: { httpGet: ready, periodSeconds: 15, timeoutSeconds: 1, failureThreshold: 4 },
  resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '2', memory: '1Gi' } },
  securityContext: {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    privileged: false,
    readOnlyRootFilesystem: true,
    runAsGroup: 1337,
    runAsNonRoot: true,
    runAsUser: 1337,
  },
  volumeMounts: [
    { name: 'workload-socket', mountPath: '/var/run/secrets/workload-spiffe-uds' },
    { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
    { name: 'istio-data', mountPath: '/var/lib/istio/data' },
    { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
    { name: 'istio-podinfo', mountPath: '/etc/istio/pod' },
    { name: 'tmp', mountPath: '/tmp' },
  ],
})

const ready = { path: '/healthz/ready', port: 15_021, scheme: 'HTTP' }

const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } })

/** Istio's names. What is of Go or of Envoy (GOMEMLIMIT, ISTIO_CPU_LIMIT, PROXY_CONFIG) has no reader here. */
const environment = ({ gateway, workload, options }: Parts) => [
  fromField('POD_NAME', 'metadata.name'),
  fromField('POD_NAMESPACE', 'metadata.namespace'),
  fromField('INSTANCE_IP', 'status.podIP'),
  fromField('HOST_IP', 'status.hostIP'),
  fromField('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fromField('ISTIO_META_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fromField('ISTIO_META_NODE_NAME', 'spec.nodeName'),
  { name: 'PILOT_CERT_PROVIDER', value: 'istiod' },
  { name: 'CA_ADDR', value: options.caAddress },
  { name: 'TRUST_DOMAIN', value: options.trustDomain },
  { name: 'DOMAIN_SUFFIX', value: options.domain },
  { name: 'ISTIO_META_CLUSTER_ID', value: options.clusterId },
  ...(options.network === '' ? [] : [{ name: 'ISTIO_META_NETWORK', value: options.network }]),
  { name: 'ISTIO_META_INTERCEPTION_MODE', value: 'REDIRECT' },
  { name: 'ISTIO_META_WORKLOAD_NAME', value: workload },
  {
    name: 'ISTIO_META_OWNER',
    value: `kubernetes://apis/apps/v1/namespaces/${gateway.namespace}/deployments/${workload}`,
  },
  { name: 'ISTIO_META_MESH_ID', value: options.trustDomain },
]

const volumes = [
  { name: 'workload-socket', emptyDir: {} },
  { name: 'istio-data', emptyDir: {} },
  { name: 'tmp', emptyDir: {} },
  {
    name: 'istio-podinfo',
    downwardAPI: {
      items: [
        { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
        { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } },
      ],
    },
  },
  {
    name: 'istio-token',
    projected: {
      sources: [
        { serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43_200, path: 'istio-token' } },
      ],
    },
  },
  { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
]
