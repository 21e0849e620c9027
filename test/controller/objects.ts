/** Kubernetes objects as tests start from them; apart from the kit, so that tests of pure rows start no controller. */

export const namespace = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
  status: { phase: 'Active' },
})

export type PodOptions = Readonly<{
  node?: string
  ip?: string
  account?: string
  hbone?: boolean
  labels?: Record<string, string>
  phase?: string
  uid?: string
}>

export const pod = (namespaceName: string, name: string, o: PodOptions = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: namespaceName,
    uid: o.uid ?? `uid-of-${name}`,
    labels: o.labels ?? { app: name },
    annotations: o.hbone === false ? {} : { 'ambient.istio.io/redirection': 'enabled' },
  },
  spec: {
    nodeName: o.node ?? 'node-1',
    serviceAccountName: o.account ?? name,
    containers: [{ name: 'app' }],
  },
  status: {
    phase: o.phase ?? 'Running',
    podIP: o.ip ?? '10.244.1.9',
    podIPs: [{ ip: o.ip ?? '10.244.1.9' }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
})

export const service = (namespaceName: string, name: string, spec: Record<string, unknown> = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: namespaceName },
  spec: {
    clusterIP: '10.96.1.1',
    clusterIPs: ['10.96.1.1'],
    ipFamilies: ['IPv4'],
    selector: { app: name },
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    ...spec,
  },
})
