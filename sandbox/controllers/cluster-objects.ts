import { type EndpointSlice, kinds, type Service } from '#kube'
import type { SandboxConfig } from '../config.ts'
import type { Action } from './actions.ts'

/** The Services that every cluster has: the API server itself, and its DNS. */
export const clusterServices = (config: SandboxConfig): readonly Service[] => [
  {
    metadata: {
      name: 'kubernetes',
      namespace: 'default',
      labels: { component: 'apiserver', provider: 'kubernetes' },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: config.apiServiceIp,
      clusterIPs: [config.apiServiceIp],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: config.fabric.apiPort }],
    },
  },
  {
    // Its address is served on each node itself, and is its own endpoint: a mesh sends nothing to a Service without any.
    metadata: {
      name: 'kube-dns',
      namespace: 'kube-system',
      labels: {
        'k8s-app': 'kube-dns',
        'kubernetes.io/cluster-service': 'true',
        'kubernetes.io/name': 'CoreDNS',
      },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: config.dnsServiceIp,
      clusterIPs: [config.dnsServiceIp],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
      ],
    },
  },
]

/** The endpoints of one of them: no pods, so nobody else writes them. */
function sliceOf({ metadata, spec }: Service, { fabric, dnsServiceIp }: SandboxConfig): EndpointSlice {
  const { name = '', namespace = '' } = metadata
  const address = name === 'kubernetes' ? fabric.apiIpv4 : dnsServiceIp
  return {
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: (spec?.ports ?? []).map((port) => ({
      name: port.name ?? '',
      port: typeof port.targetPort === 'number' ? port.targetPort : port.port,
      protocol: port.protocol ?? 'TCP',
    })),
  }
}

/** Makes what is missing of one of them. */
export function clusterObjectsPlan(
  wanted: Service,
  config: SandboxConfig,
  service: Service | undefined,
  slice: EndpointSlice | undefined,
): readonly Action[] {
  return [
    ...(service ? [] : [{ kind: 'create', of: kinds.Service, object: wanted } as const]),
    ...(slice ? [] : [{ kind: 'create', of: kinds.EndpointSlice, object: sliceOf(wanted, config) } as const]),
  ]
}
