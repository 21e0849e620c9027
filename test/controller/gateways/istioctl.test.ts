import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { KubeClient } from '#kube'
import { pkiFiles } from '../../../sandbox/api/auth/index.ts'
import { type Client, eventually, type Parsed, startServer } from '../../sandbox/api/harness.ts'
import { startWriters } from './start-writers.ts'

const manifest = (path: string): Parsed[] =>
  parseAllDocuments(readFileSync(new URL(`../../../manifests/${path}`, import.meta.url), 'utf8')).map(
    (document) => document.toJS(),
  )
const group = '/apis/gateway.networking.k8s.io/v1'
const gateways = `${group}/namespaces/shop/gateways`
const ok = async (c: Client, method: string, path: string, body?: unknown, type?: string) => {
  const reply = await c.call(method, path, {
    ...(body === undefined ? {} : { body }),
    ...(type === undefined ? {} : { type }),
  })
  t.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${reply.status < 300 ? '' : reply.text}`)
  return reply.body
}

/** A cluster with our CRDs and rights, and the writers with the rights of istiod and no others. */
async function cluster(c: Client) {
  for (const name of ['istio-system', 'shop'])
    await ok(c, 'POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  for (const crd of manifest('base/crds/gateway-api.yaml'))
    await ok(c, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  for (const account of manifest('istiod/service-account.yaml'))
    await ok(c, 'POST', '/api/v1/namespaces/istio-system/serviceaccounts', account)
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  for (const object of manifest('istiod/rbac.yaml')) {
    const inNamespace = object.metadata.namespace ? '/namespaces/istio-system' : ''
    await ok(c, 'POST', `${rbac}${inNamespace}/${object.kind.toLowerCase()}s`, object)
  }
  await eventually(async () =>
    (await c.call('GET', `${group}/gatewayclasses`)).status === 200 ? true : undefined,
  )
  const { status } = await ok(c, 'POST', '/api/v1/namespaces/istio-system/serviceaccounts/istiod/token', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {},
  })
  return new KubeClient({
    server: new URL(`https://127.0.0.1:${c.server().port}`),
    ca: readFileSync(pkiFiles(c.config).ca.certificate, 'utf8'),
    insecure: false,
    namespace: 'istio-system',
    credentials: () => ({ token: status.token }),
  })
}

/** `istioctl waypoint apply`: server-side apply without force. */
const applied = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'waypoint', namespace: 'shop', labels: { 'istio.io/waypoint-for': 'service' } },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
  },
}
const apply = (c: Client) =>
  ok(
    c,
    'PATCH',
    `${gateways}/waypoint?fieldManager=istioctl`,
    JSON.stringify(applied),
    'application/apply-patch+yaml',
  )
const programmed = async (c: Client) => {
  const { status } = (await c.call('GET', `${gateways}/waypoint`)).body
  return status?.conditions?.find(({ type }: Parsed) => type === 'Programmed')
}

t.test(
  'istioctl waypoint apply --wait --enroll-namespace, list, status, delete against an API server with our rights',
  async (t) => {
    await using c = await startServer()
    using client = await cluster(c)
    await using _writers = await startWriters(client)
    await apply(c)
    const first = await eventually(() => programmed(c))
    t.match(first, { status: 'False', reason: 'AddressNotAssigned' }, 'what `status` shows while it waits')

    const deployment = await eventually(async () => {
      const reply = await c.call('GET', '/apis/apps/v1/namespaces/shop/deployments/waypoint')
      return reply.status === 200 ? reply.body : undefined
    })
    t.match(deployment.metadata.ownerReferences, [{ kind: 'Gateway', name: 'waypoint' }])
    const service = await eventually(async () => {
      const reply = await c.call('GET', '/api/v1/namespaces/shop/services/waypoint')
      return reply.status === 200 ? reply.body : undefined
    })
    t.match(service.spec.ports, [{ port: 15_021 }, { name: 'mesh', port: 15_008, appProtocol: 'hbone' }])
    t.equal((await c.call('GET', '/api/v1/namespaces/shop/serviceaccounts/waypoint')).status, 200)
    t.match(
      await eventually(
        async () => (await c.call('GET', `${group}/gatewayclasses/istio-waypoint`)).body.status?.conditions,
      ),
      [{ type: 'Accepted', status: 'True' }],
    )

    const version = async () => (await c.call('GET', `${gateways}/waypoint`)).body.metadata.resourceVersion
    await apply(c)
    const settled = await version()
    await ok(
      c,
      'PATCH',
      '/api/v1/namespaces/shop',
      { metadata: { labels: { 'istio.io/use-waypoint': 'waypoint' } } },
      'application/merge-patch+json',
    )
    await ok(c, 'POST', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices', {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: 'waypoint-1',
        namespace: 'shop',
        labels: { 'kubernetes.io/service-name': 'waypoint' },
      },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
      ports: [{ name: 'mesh', port: 15_008 }],
    })
    await eventually(async () => ((await programmed(c))?.status === 'True' ? true : undefined))
    t.not(await version(), settled)
    const { status, metadata } = (await c.call('GET', `${gateways}/waypoint`)).body
    t.match(status.addresses, [
      ...service.spec.clusterIPs.map((value: string) => ({ type: 'IPAddress', value })),
      { type: 'Hostname', value: 'waypoint.shop.svc.cluster.local' },
    ])
    t.match(status.listeners, [{ name: 'mesh', attachedRoutes: 0, supportedKinds: [] }])
    t.equal(metadata.labels['istio.io/waypoint-for'], 'service', 'what `list` shows as its traffic type')

    await ok(c, 'DELETE', `${gateways}/waypoint`)
    t.equal((await c.call('GET', `${gateways}/waypoint`)).status, 404, 'there is no finalizer to wait for')
  },
)
