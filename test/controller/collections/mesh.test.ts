import t from 'tap'
import type { Namespace, Pod, Service } from '#kube'
import { workload } from '#wire'
import { service as serviceOf } from '../objects.ts'
import {
  host,
  ips,
  meshOf,
  namespace,
  type Objects,
  pod,
  portsText,
  service,
  uid,
  withMeta,
  workloadOf,
} from './world.ts'

t.test('a pod becomes a workload', async (t) => {
  const w = workloadOf({
    pods: [pod()],
    nodes: [
      {
        metadata: {
          name: 'node-1',
          labels: { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': 'z' },
        },
      },
    ],
  })
  t.match(w, {
    uid,
    name: 'order',
    namespace: 'shop',
    serviceAccount: 'order',
    node: 'node-1',
    network: '',
    trustDomain: '',
    clusterId: 'Kubernetes',
    canonicalName: 'order',
    canonicalRevision: 'latest',
    workloadName: 'order',
    workloadType: workload.WorkloadType.POD,
    tunnelProtocol: workload.TunnelProtocol.HBONE,
    nativeTunnel: false,
    status: workload.WorkloadStatus.HEALTHY,
    networkMode: workload.NetworkMode.STANDARD,
    locality: { region: 'r', zone: 'z', subzone: '' },
    authorizationPolicies: [],
  })
  t.strictSame(ips(w?.addresses ?? []), ['10.244.1.5'])
  t.same(w?.services, {})
})

const { HBONE, NONE } = workload.TunnelProtocol
const tunnels: readonly [string, Record<string, unknown>, workload.TunnelProtocol, boolean][] = [
  ['captured', { annotations: { 'ambient.istio.io/redirection': 'enabled' } }, HBONE, false],
  ['capture pending', { annotations: { 'ambient.istio.io/redirection': 'pending' } }, NONE, false],
  ['garbage in the annotation', { annotations: { 'ambient.istio.io/redirection': '{}' } }, NONE, false],
  ['only labelled', { annotations: {}, labels: { 'istio.io/dataplane-mode': 'ambient' } }, NONE, false],
  ['speaks HBONE itself', { annotations: {}, labels: { 'networking.istio.io/tunnel': 'http' } }, HBONE, true],
]
for (const [title, metadata, protocol, native] of tunnels)
  t.test(`HBONE or not: ${title}`, async (t) => {
    t.match(workloadOf({ pods: [withMeta(metadata)] }), { tunnelProtocol: protocol, nativeTunnel: native })
  })

const owned = (kind: string, name: string) => ({
  ownerReferences: [{ apiVersion: 'x', kind, name, uid: 'u', controller: true }],
})
const namesOf: readonly [string, Record<string, unknown>, string, string, string][] = [
  ['a bare pod', { labels: {} }, 'order', 'order', 'latest'],
  [
    'a Deployment’s',
    { labels: { 'pod-template-hash': '5d8f' }, ...owned('ReplicaSet', 'web-5d8f') },
    'web',
    'web',
    'latest',
  ],
  ['a ReplicaSet’s own', { labels: {}, ...owned('ReplicaSet', 'web-1') }, 'web-1', 'web-1', 'latest'],
  ['a DaemonSet’s', { labels: {}, ...owned('DaemonSet', 'agent') }, 'agent', 'agent', 'latest'],
  ['a CronJob’s', { labels: {}, ...owned('Job', 'backup-29012345') }, 'backup', 'backup', 'latest'],
  ['a Job’s', { labels: {}, ...owned('Job', 'once') }, 'once', 'once', 'latest'],
  ['app and version', { labels: { app: 'a', version: 'v1' } }, 'order', 'a', 'v1'],
  [
    'recommended labels before those',
    { labels: { app: 'a', version: 'v1', 'app.kubernetes.io/name': 'b', 'app.kubernetes.io/version': 'v2' } },
    'order',
    'b',
    'v2',
  ],
  [
    'Istio’s before all',
    {
      labels: {
        app: 'a',
        'service.istio.io/canonical-name': 'c',
        'service.istio.io/canonical-revision': 'v3',
        'service.istio.io/workload-name': 'w',
      },
    },
    'w',
    'c',
    'v3',
  ],
]
for (const [title, metadata, name, canonical, revision] of namesOf)
  t.test(`names: ${title}`, async (t) => {
    t.match(workloadOf({ pods: [withMeta(metadata)] }), {
      workloadName: name,
      canonicalName: canonical,
      canonicalRevision: revision,
    })
  })

const status = (s: Record<string, unknown>) => pod({ status: { phase: 'Running', podIP: '10.0.0.1', ...s } })
t.test('pods without a row: finished, or without an address', async (t) => {
  for (const s of [
    { phase: 'Succeeded' },
    { phase: 'Failed' },
    { podIP: undefined },
    { podIP: 'garbage' },
    { podIPs: [] },
  ])
    t.equal(workloadOf({ pods: [status(s)] }), undefined, JSON.stringify(s))
})

t.test('health: ready and not leaving', async (t) => {
  const { HEALTHY, UNHEALTHY } = workload.WorkloadStatus
  const ready = { conditions: [{ type: 'Ready', status: 'True' }] }
  t.equal(workloadOf({ pods: [status(ready)] })?.status, HEALTHY)
  t.equal(
    workloadOf({ pods: [status({ conditions: [{ type: 'Ready', status: 'False' }] })] })?.status,
    UNHEALTHY,
  )
  t.equal(workloadOf({ pods: [status({})] })?.status, UNHEALTHY)
  const leaving = withMeta(
    { deletionTimestamp: '2026-01-01T00:00:00Z' },
    { status: { phase: 'Running', podIP: '10.0.0.1', ...ready } },
  )
  t.equal(workloadOf({ pods: [leaving] })?.status, UNHEALTHY)
})

t.test('both families, host network, other trust domain, network of the cluster', async (t) => {
  const w = workloadOf({
    pods: [
      {
        ...status({ podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] }),
        spec: { hostNetwork: true, nodeName: 'n' },
      },
    ],
    namespaces: [namespace('istio-system', { labels: { 'topology.istio.io/network': 'net-1' } })],
    settings: { trustDomain: 'example.org' },
  })
  t.strictSame(ips(w?.addresses ?? []), ['10.0.0.1', 'fd00::1'])
  t.match(w, {
    networkMode: workload.NetworkMode.HOST_NETWORK,
    trustDomain: 'example.org',
    network: 'net-1',
    serviceAccount: 'default',
  })
})

const named = pod({
  spec: {
    containers: [
      {
        name: 'c',
        ports: [
          { name: 'web', containerPort: 8081 },
          { name: 'dns', containerPort: 53, protocol: 'UDP' },
        ],
      },
    ],
  },
})
const membership: readonly [string, Objects, readonly string[]][] = [
  ['its selector fits', { pods: [pod()], services: [service()] }, [`${host} 80>8080`]],
  [
    'its selector wants more labels',
    { pods: [pod()], services: [service({ selector: { app: 'order', tier: 'x' } })] },
    [],
  ],
  [
    'of another namespace',
    { pods: [pod()], services: [serviceOf('bank', 'order') as unknown as Service] },
    [],
  ],
  ['no selector', { pods: [pod()], services: [service({ selector: undefined })] }, []],
  ['an empty selector', { pods: [pod()], services: [service({ selector: {} })] }, []],
  ['ExternalName', { pods: [pod()], services: [service({ type: 'ExternalName' })] }, []],
  [
    'a named target port',
    { pods: [named], services: [service({ ports: [{ port: 80, targetPort: 'web' }] })] },
    [`${host} 80>8081`],
  ],
  [
    'a name that no container has',
    { pods: [named], services: [service({ ports: [{ port: 80, targetPort: 'nope' }] })] },
    [`${host} `],
  ],
  [
    'UDP is no part of the mesh',
    {
      pods: [named],
      services: [
        service({
          ports: [
            { port: 53, protocol: 'UDP' },
            { port: 80, targetPort: 'dns' },
          ],
        }),
      ],
    },
    [`${host} `],
  ],
  [
    'target port by default the same',
    { pods: [pod()], services: [service({ ports: [{ port: 80 }] })] },
    [`${host} 80>80`],
  ],
]
for (const [title, objects, want] of membership)
  t.test(`Service of a pod: ${title}`, async (t) => {
    t.strictSame(portsText(workloadOf(objects)?.services ?? {}), want)
  })

const slice = (endpoints: unknown[], o: Record<string, unknown> = {}) =>
  ({
    metadata: { name: 'order-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'order' } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 9090, protocol: 'TCP' }],
    ...o,
  }) as never

t.test('a Service without a selector has the pods that its slices name by UID', async (t) => {
  const bare = service({ selector: undefined })
  const target = (u: string) =>
    slice([{ addresses: ['10.244.1.5'], targetRef: { kind: 'Pod', name: 'order', uid: u } }])
  t.strictSame(
    portsText(
      workloadOf({ pods: [pod()], services: [bare], slices: [target('uid-of-order')] })?.services ?? {},
    ),
    [`${host} 80>9090`],
  )
  t.strictSame(
    portsText(
      workloadOf({ pods: [pod()], services: [bare], slices: [target('somebody-before')] })?.services ?? {},
    ),
    [],
  )
})

t.test('endpoints without a pod are workloads of their own, never meshed', async (t) => {
  const mesh = meshOf({
    services: [service({ selector: undefined })],
    slices: [slice([{ addresses: ['192.0.2.1'] }, { addresses: ['bad'] }])],
  })
  const [w] = mesh.workloads.list()
  t.match(w, {
    uid: 'Kubernetes/discovery.k8s.io/EndpointSlice/shop/order-1/192.0.2.1',
    tunnelProtocol: NONE,
    networkMode: 1,
    namespace: 'shop',
  })
  t.strictSame(portsText(w?.services ?? {}), [`${host} 80>9090`])
  t.equal(mesh.workloads.size(), 1)
  const fqdn = meshOf({
    services: [service({ selector: undefined })],
    slices: [slice([{ addresses: ['a.b'] }], { addressType: 'FQDN' })],
  })
  t.equal(fqdn.workloads.size(), 0)
})

t.test('a Service that asks for a waypoint, by its own label or its namespace’s', async (t) => {
  const asks = { labels: { 'istio.io/use-waypoint': 'wp' } }
  const refs = (s: Service, ns: Namespace[] = []) =>
    meshOf({ services: [s], namespaces: ns })
      .waypointReferences.list()
      .map((r) => r.waypoint)
  t.strictSame(refs(service()), [])
  t.strictSame(refs(service({}, asks)), ['shop/wp'])
  t.strictSame(refs(service(), [namespace('shop', asks)]), ['shop/wp'])
  t.strictSame(
    refs(service({}, { labels: { 'istio.io/use-waypoint': 'none' } }), [namespace('shop', asks)]),
    [],
  )
})

t.test('one object full of garbage leaves the others as they are', async (t) => {
  const junk = {
    metadata: { name: 'junk', namespace: 'shop' },
    spec: { containers: 5, nodeName: {} },
    status: { podIPs: 'x', podIP: {} },
  }
  const mesh = meshOf({
    pods: [junk as unknown as Pod, pod()],
    services: [
      {
        metadata: { name: 'junk', namespace: 'shop' },
        spec: { ports: 5, clusterIPs: {} },
      } as unknown as Service,
      service(),
    ],
  })
  t.ok(mesh.workloads.get(uid))
  t.ok(mesh.services.get(host))
  t.ok(mesh.addresses.get(uid))
})

t.test('equal content has an equal version, whatever the order it came in', async (t) => {
  const other = {
    ...serviceOf('shop', 'alias'),
    spec: { ...serviceOf('shop', 'alias').spec, selector: { app: 'order' } },
  } as unknown as Service
  const a = meshOf({ pods: [pod()], services: [service(), other] }).addresses.get(uid)
  const b = meshOf({ pods: [pod()], services: [other, service()] }).addresses.get(uid)
  t.equal(a?.version, b?.version)
  t.strictSame(a?.aliases, ['/10.244.1.5'])
})

t.test('a policy that we fail on is closed, and only it', async (t) => {
  const bad = {
    metadata: { name: 'bad', namespace: 'shop' },
    spec: {
      get rules(): unknown {
        throw new Error('a bug of ours')
      },
    },
  }
  const good = { metadata: { name: 'good', namespace: 'shop' }, spec: { rules: [{}] } }
  const { policies } = meshOf({ policies: [bad, good] })
  t.match(policies.authorizations.get('shop/bad'), { action: 0, scope: 1, rules: [] }, 'it allows nothing')
  t.equal(policies.compiled.get('shop/bad')?.condition?.status, 'False')
  t.match(policies.authorizations.get('shop/good'), { rules: [{ clauses: [] }] })
})
