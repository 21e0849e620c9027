import { bootstrapRbac } from './auth/index.ts'
import { type Api, targetOf } from './rest/api.ts'
import {
  groupVersionOf,
  type KubeObject,
  listAt,
  parseObject,
  sameJson,
  withMetadata,
} from './rest/object.ts'
import { isRefusal } from './rest/refusal.ts'
import { insert, replace } from './rest/write.ts'

const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease']
const writing = { dryRun: false, fieldManager: 'kube-apiserver', fieldValidation: 'Ignore' } as const

/**
 * What every cluster has from its first moment. Of objects that exist, the default roles and bindings get what they lack
 * (state may be older than this server); all others are left as they are.
 */
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
  const live = api.store.get(target.resource, namespace ?? '', name ?? '')
  if (live !== undefined && kind.group !== rbacGroup) return
  const written =
    live === undefined
      ? insert(api, target, object, writing)
      : replace(api, target, live, completed(live, object), writing)
  if (isRefusal(written)) api.log.error('bootstrap object refused', { name, reason: written.message })
}

const rbacGroup = 'rbac.authorization.k8s.io'
const autoUpdate = 'rbac.authorization.kubernetes.io/autoupdate'

/** As Kubernetes at every start: rules and subjects are added, none is taken away, and `autoupdate: false` is heeded. */
function completed(live: KubeObject, wanted: KubeObject): KubeObject {
  if (live.metadata.annotations?.[autoUpdate] === 'false') return live
  const lists = ['rules', 'subjects'].filter((field) => field in wanted)
  const united = lists.map((field) => {
    const had = listAt(live, field)
    const lacking = listAt(wanted, field).filter((item) => !had.some((other) => sameJson(other, item)))
    return [field, [...had, ...lacking]]
  })
  const { aggregationRule = live['aggregationRule'] } = wanted
  const labels = { ...live.metadata.labels, ...wanted.metadata.labels }
  return {
    ...withMetadata(live, { labels }),
    ...Object.fromEntries(united),
    ...(aggregationRule === undefined ? {} : { aggregationRule }),
  }
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
