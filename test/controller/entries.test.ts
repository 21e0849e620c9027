import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { isRecord } from '#base'
import { type Custom, kinds } from '#kube'
import { workload } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { eventually, startServer } from '../sandbox/api/harness.ts'
import { adsStream, acceptTokens, controllerFor, namespace, ztunnelNode, ztunnelPod } from './mesh-kit.ts'

const entry = (name: string, spec: object = {}) => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'shop' },
  spec: {
    hosts: [`${name}.example.com`],
    ports: [{ number: 443, name: 'tls', protocol: 'TLS' }],
    resolution: 'DNS',
    ...spec,
  },
})
const config = (mesh: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'istio', namespace: 'istio-system' },
  data: { mesh },
})

/** The services that a stream has been told of, by name; undefined once removed. */
async function servicesOn(
  stream: ReturnType<typeof adsStream>,
  wanted: (held: Map<string, workload.Service>) => boolean,
  held = new Map<string, workload.Service>(),
) {
  while (!wanted(held)) {
    const { resources, removedResources } = await stream.next()
    for (const name of removedResources) held.delete(name)
    for (const { name, resource } of resources) {
      const { type } = workload.Address.decode(resource?.value ?? Buffer.alloc(0))
      if (type?.$case === 'service') held.set(name, type.value)
    }
  }
  return held
}

t.test('a ServiceEntry reaches ztunnel with its allocated addresses; MeshConfig is followed', async (t) => {
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    config(''),
    entry('api'),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  using stream = adsStream(running)
  stream.send({ node: ztunnelNode })
  const api = 'shop/api.example.com'
  const held = await servicesOn(stream, (rows) => rows.get(api)?.addresses.length === 2)
  t.equal(held.get(api)?.visibility, workload.Visibility.PUBLIC)
  const conditions = () => {
    const { status } = kube.read<Custom>(kinds.ServiceEntry, 'api', 'shop') ?? { status: undefined }
    return isRecord(status) ? JSON.stringify(status['conditions']) : ''
  }
  await until(() => conditions()?.includes('"Public"') === true, 'its status says who sees it')

  kube.put(config('serviceEntryVisibility: {defaultVisibility: NAMESPACE}'))
  await servicesOn(stream, (rows) => rows.get(api)?.visibility === workload.Visibility.NAMESPACE, held)
  await until(() => conditions()?.includes('"Namespace"') === true, 'and so does its status')
  kube.put(config('serviceEntryVisibility: 5'))
  kube.put(entry('late'))
  await servicesOn(
    stream,
    (rows) => rows.get('shop/late.example.com')?.visibility === workload.Visibility.NAMESPACE,
    held,
  )
  t.equal(held.get(api)?.visibility, workload.Visibility.NAMESPACE, 'what cannot be read changes nothing')
  kube.put(config('discoverySelectors: [{matchLabels: {mesh: "on"}}]'))
  await servicesOn(stream, (rows) => !rows.has(api) && !rows.has('shop/late.example.com'), held)
})

t.test(
  'the owners of ServiceEntries and WorkloadEntries are told of their waypoints, of ours only',
  async (t) => {
    const labels = { 'istio.io/use-waypoint': 'wp' }
    const labelled = (object: ReturnType<typeof entry>, more: object = {}) => ({
      ...object,
      metadata: { ...object.metadata, labels: { ...labels, ...more } },
    })
    const machine = (name: string, more: object = {}) => ({
      ...labelled(entry(name), more),
      kind: 'WorkloadEntry',
      spec: { address: '198.51.100.7' },
    })
    const gateway = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'wp', namespace: 'shop', labels: { 'istio.io/waypoint-for': 'all' } },
      // Somebody else's class, so that its status is not ours to write.
      spec: { gatewayClassName: 'other', listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }] },
      status: { addresses: [{ type: 'Hostname', value: 'wp.shop.svc.cluster.local' }] },
    }
    const ports = [{ number: 80, name: 'http', protocol: 'HTTP' }]
    const wild = { hosts: ['*.example.com'], ports, resolution: 'DYNAMIC_DNS' }
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      labelled(entry('api')),
      labelled(entry('wild', wild)),
      machine('vm'),
      labelled(entry('foreign'), { 'istio.io/rev': 'canary' }),
      machine('foreign', { 'istio.io/rev': 'canary' }),
    )
    acceptTokens(kube)
    await using running = await controllerFor(kube)
    const said = (kind: typeof kinds.ServiceEntry, name: string): string => {
      const status = kube.read<Custom>(kind, name, 'shop')?.status
      const list: unknown = isRecord(status) ? status['conditions'] : undefined
      return (Array.isArray(list) ? list : [])
        .map((c: unknown) => (isRecord(c) ? `${String(c['type'])} ${String(c['reason'])}` : ''))
        .sort()
        .join(', ')
    }
    const bound = (reason: string) => `istio.io/WaypointBound ${reason}`
    const isSaid = (kind: typeof kinds.ServiceEntry, name: string, want: string) =>
      until(() => said(kind, name) === want, `${name}: ${want}`)
    await isSaid(kinds.WorkloadEntry, 'vm', bound('WaypointIsNotReady'))
    await isSaid(
      kinds.ServiceEntry,
      'api',
      `istio.io/VisibilityApplied Public, ${bound('WaypointIsNotReady')}`,
    )
    await isSaid(
      kinds.ServiceEntry,
      'wild',
      `istio.io/VisibilityApplied Public, ${bound('WaypointIsNotReady')}, istio.io/WaypointMissing NoWaypointForWildcardService`,
    )
    kube.put(gateway)
    const good = `istio.io/VisibilityApplied Public, ${bound('WaypointAccepted')}`
    await isSaid(kinds.WorkloadEntry, 'vm', bound('WaypointAccepted'))
    await isSaid(kinds.ServiceEntry, 'api', good)
    await isSaid(kinds.ServiceEntry, 'wild', good) // what was missing is missing no more
    kube.put({ ...machine('vm'), metadata: { name: 'vm', namespace: 'shop' } })
    await isSaid(kinds.WorkloadEntry, 'vm', '')
    t.equal(said(kinds.ServiceEntry, 'foreign'), '', 'another revision’s')
    t.equal(said(kinds.WorkloadEntry, 'foreign'), '')
    t.equal((await running.get(running.app.ports.readiness, '/ready')).status, 200)
  },
)

t.test('the CRDs of the networking group are accepted, and take and refuse what they should', async (t) => {
  await using api = await startServer()
  for (const name of ['service-entry', 'workload-entry', 'workload-group']) {
    const body: unknown = parse(readFileSync(`manifests/base/crds/${name}.yaml`, 'utf8'))
    const { status, text } = await api.call(
      'POST',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      { body },
    )
    t.equal(status, 201, text)
  }
  const root = '/apis/networking.istio.io/v1/namespaces/default'
  await eventually(async () => (await api.call('GET', `${root}/workloadgroups`)).status === 200 || undefined)
  const post = async (kind: string, plural: string, name: string, spec: unknown) => {
    const body = { apiVersion: 'networking.istio.io/v1', kind, metadata: { name }, spec }
    return (await api.call('POST', `${root}/${plural}`, { body })).status
  }
  t.equal(await post('ServiceEntry', 'serviceentries', 'a', entry('a').spec), 201)
  t.equal(await post('ServiceEntry', 'serviceentries', 'b', { ...entry('b').spec, resolution: 'MAGIC' }), 422)
  t.equal(await post('ServiceEntry', 'serviceentries', 'c', { ports: [] }), 422, 'hosts are required')
  t.equal(
    await post('WorkloadEntry', 'workloadentries', 'a', {
      address: '192.0.2.1',
      ports: { http: 80 },
      weight: 1,
    }),
    201,
  )
  t.equal(
    await post('WorkloadEntry', 'workloadentries', 'b', { address: '192.0.2.1', ports: { http: 80_000 } }),
    422,
  )
  t.equal(await post('WorkloadGroup', 'workloadgroups', 'a', { template: { serviceAccount: 'vm' } }), 201)
  const patched = await api.call('PATCH', `${root}/serviceentries/a/status`, {
    type: 'application/merge-patch+json',
    body: { status: { addresses: [{ value: '240.240.0.1', host: 'a.example.com' }] } },
  })
  t.match(patched.body, { status: { addresses: [{ value: '240.240.0.1', host: 'a.example.com' }] } })
})
