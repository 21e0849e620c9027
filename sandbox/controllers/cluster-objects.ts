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
    // For show: its addresses are served on each node itself, so it has no endpoints.
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

const apiSlice = ({ fabric }: SandboxConfig): EndpointSlice => ({
  metadata: {
    name: 'kubernetes',
    namespace: 'default',
    labels: { 'kubernetes.io/service-name': 'kubernetes' },
  },
  addressType: 'IPv4',
  endpoints: [{ addresses: [fabric.apiIpv4], conditions: { ready: true } }],
  ports: [{ name: 'https', port: fabric.apiPort, protocol: 'TCP' }],
})

/** Makes what is missing of one of them. */
export function clusterObjectsPlan(
  wanted: Service,
  config: SandboxConfig,
  service: Service | undefined,
  slice: EndpointSlice | undefined,
): readonly Action[] {
  const isApi = wanted.metadata.name === 'kubernetes'
  return [
    ...(service ? [] : [{ kind: 'create', of: kinds.Service, object: wanted } as const]),
    ...(isApi && !slice
      ? [{ kind: 'create', of: kinds.EndpointSlice, object: apiSlice(config) } as const]
      : []),
  ]
}
