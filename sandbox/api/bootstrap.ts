import { bootstrapRbac } from './auth/index.ts'
import { type Api, targetOf } from './rest/api.ts'
import { groupVersionOf, type KubeObject, parseObject } from './rest/object.ts'
import { isRefusal } from './rest/refusal.ts'
import { insert } from './rest/write.ts'

const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease']
const writing = { dryRun: false, fieldManager: 'kube-apiserver', fieldValidation: 'Ignore' } as const

/** What every cluster has from its first moment. Existing objects are left as they are. */
export function bootstrap(api: Api): void {
  const { apiIpv4, apiPort } = api.config.fabric
  for (const object of [...namespaces.map(namespace), ...bootstrapRbac(), ...priorityClasses()])
    ensure(api, object)
  ensure(api, apiService(api.config.apiServiceIp, apiPort))
  ensure(api, apiSlice(apiIpv4, apiPort))
  ensure(api, apiEndpoints(apiIpv4, apiPort))
}

function ensure(api: Api, content: object): void {
  const parsed = parseObject(content)
  if (!parsed.ok) throw new TypeError(`bootstrap object: ${parsed.reason}`)
  const { object } = parsed
  const kind = api.kinds.byKind(...groupVersionOf(object.apiVersion), object.kind)
  if (kind === undefined) return
  const { namespace, name } = object.metadata
  const target = targetOf(kind, namespace, name)
  if (api.store.get(target.resource, namespace ?? '', name ?? '') !== undefined) return
  const written = insert(api, target, object, writing)
  if (isRefusal(written)) api.log.error('bootstrap object refused', { name, reason: written.message })
}

const namespace = (name: string) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })

const priorityClasses = () =>
  [
    ['system-cluster-critical', 2_000_000_000],
    ['system-node-critical', 2_000_001_000],
  ].map(([name, value]) => ({
    apiVersion: 'scheduling.k8s.io/v1',
    kind: 'PriorityClass',
    metadata: { name },
    value,
  }))

const own = {
  namespace: 'default',
  name: 'kubernetes',
  labels: { component: 'apiserver', provider: 'kubernetes' },
}

const apiService = (clusterIP: string, targetPort: number) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: own,
  spec: { clusterIP, ports: [{ name: 'https', port: 443, targetPort, protocol: 'TCP' }] },
})

const apiSlice = (address: string, port: number) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { ...own, labels: { 'kubernetes.io/service-name': 'kubernetes' } },
  addressType: 'IPv4',
  endpoints: [{ addresses: [address], conditions: { ready: true } }],
  ports: [{ name: 'https', port, protocol: 'TCP' }],
})

const apiEndpoints = (ip: string, port: number): Omit<KubeObject, 'metadata'> & { metadata: object } => ({
  apiVersion: 'v1',
  kind: 'Endpoints',
  metadata: { ...own, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
  subsets: [{ addresses: [{ ip }], ports: [{ name: 'https', port, protocol: 'TCP' }] }],
})
