import t from 'tap'
import { type Client, eventually, type Parsed, startServer } from '../../sandbox/api/harness.ts'
import { applyAs, cluster, conditionOf, find, gateways, group, ok } from './cluster.ts'
import { startWriters } from './start-writers.ts'

t.setTimeout(120_000) // a loaded machine

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
const apply = (c: Client) => applyAs(c, 'istioctl', `${gateways}/waypoint`, applied)
const programmed = async (c: Client, name = 'waypoint') =>
  conditionOf(await find(c, `${gateways}/${name}`), 'Programmed')

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

/** What `apply` and `generate` write for these flags. */
const written = (name: string, flags: Readonly<{ for?: string; revision?: string }> = {}) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: {
    name,
    namespace: 'shop',
    ...(flags.for || flags.revision
      ? {
          labels: {
            ...(flags.for ? { 'istio.io/waypoint-for': flags.for } : {}),
            ...(flags.revision ? { 'istio.io/rev': flags.revision } : {}),
          },
        }
      : {}),
  },
  spec: applied.spec,
})
const deployments = '/apis/apps/v1/namespaces/shop/deployments'
const isWaypoint = ({ spec }: Parsed) => spec.gatewayClassName === 'istio-waypoint'

t.test(
  'apply again changes what is asked for and keeps what others own; -r leaves it to another revision',
  async (t) => {
    await using c = await startServer()
    using client = await cluster(c)
    await using _writers = await startWriters(client)
    for (const traffic of ['workload', 'all', 'none', 'service'])
      await applyAs(c, 'istioctl', `${gateways}/waypoint`, written('waypoint', { for: traffic }))
    await eventually(async () => conditionOf(await find(c, `${gateways}/waypoint`), 'Accepted'))
    const labelled = async () =>
      (await find(c, `${deployments}/waypoint`))?.metadata.labels?.['istio.io/waypoint-for']
    await eventually(async () => ((await labelled()) === 'service' ? true : undefined))
    await applyAs(c, 'istioctl', `${gateways}/waypoint`, written('waypoint'))
    await eventually(async () => ((await labelled()) === undefined ? true : undefined))
    const { status, metadata } = await find(c, `${gateways}/waypoint`)
    t.equal(status.conditions.length, 2, 'an apply does not take the status away')
    t.equal(
      metadata.labels?.['istio.io/waypoint-for'],
      undefined,
      'a label that is not asked for any more is gone',
    )

    await applyAs(c, 'istioctl', `${gateways}/canary`, written('canary', { revision: 'canary' }))
    await applyAs(c, 'istioctl', `${gateways}/ours`, written('ours', { revision: 'default' }))
    await eventually(() => find(c, `${deployments}/ours`))
    t.equal(await find(c, `${deployments}/canary`), undefined)
    t.equal((await find(c, `${gateways}/canary`)).status, undefined, '`list` shows PROGRAMMED False')
  },
)

t.test(
  'list -A, status, delete by name, -r and --all: what istioctl reads and removes, and what goes with it',
  async (t) => {
    await using c = await startServer()
    using client = await cluster(c)
    await using _writers = await startWriters(client)
    await applyAs(c, 'istioctl', `${gateways}/a`, written('a', { for: 'all' }))
    await applyAs(c, 'istioctl', `${gateways}/b`, written('b', { revision: 'default' }))
    // `generate` prints what `kubectl apply` is given.
    await applyAs(c, 'kubectl', `${gateways}/c`, written('c'))
    const ingress = { ...written('ingress'), spec: { ...applied.spec, gatewayClassName: 'istio' } }
    await applyAs(c, 'kubectl', `${gateways}/ingress`, ingress)
    for (const name of ['a', 'b', 'c']) await eventually(() => programmed(c, name))
    await eventually(() => programmed(c, 'ingress'))

    const { items } = await find(c, `${group}/gateways`)
    const row = ({ metadata, status }: Parsed) => [
      metadata.namespace,
      metadata.name,
      metadata.labels?.['istio.io/rev'] ?? 'default',
      metadata.labels?.['istio.io/waypoint-for'] ?? 'none',
      conditionOf({ status }, 'Programmed')?.status ?? 'False',
    ]
    t.strictSame(items.filter(isWaypoint).map(row), [
      ['shop', 'a', 'default', 'all', 'False'],
      ['shop', 'b', 'default', 'none', 'False'],
      ['shop', 'c', 'default', 'none', 'False'],
    ])
    for (const { status } of items) {
      const { type, status: is, reason, message } = conditionOf({ status }, 'Programmed')
      t.match({ type, is, reason, message }, { type: 'Programmed', is: 'False', reason: /./, message: /./ })
    }

    const remove = async (selected: readonly Parsed[]) => {
      for (const { metadata } of selected.filter(isWaypoint))
        await ok(c, 'DELETE', `${gateways}/${metadata.name}`)
    }
    const children = async () => {
      const lists = [
        deployments,
        '/api/v1/namespaces/shop/services',
        '/api/v1/namespaces/shop/serviceaccounts',
      ]
      const found = await Promise.all(lists.map((path) => find(c, path)))
      return found.map((list) =>
        list.items.map(({ metadata }: Parsed) => metadata.name).filter((name: string) => name.length === 1),
      )
    }
    await eventually(async () => ((await children()).every(({ length }) => length === 3) ? true : undefined))
    await remove((await find(c, `${gateways}?labelSelector=istio.io/rev%3Ddefault`)).items)
    await eventually(async () =>
      (await children()).every((names) => names.join() === 'a,c') ? true : undefined,
    )
    await remove((await find(c, gateways)).items)
    await eventually(async () => ((await children()).every(({ length }) => length === 0) ? true : undefined))
    const left = (await find(c, gateways)).items.map(({ metadata }: Parsed) => metadata.name)
    t.strictSame(left, ['ingress'], '--all is of waypoints only')
  },
)

t.test('--enroll-namespace replaces the namespace; --overwrite names another waypoint', async (t) => {
  await using c = await startServer()
  using client = await cluster(c)
  await using _writers = await startWriters(client)
  for (const name of ['one', 'two']) {
    await applyAs(c, 'istioctl', `${gateways}/${name}`, written(name))
    const namespace = await find(c, '/api/v1/namespaces/shop')
    namespace.metadata.labels = { ...namespace.metadata.labels, 'istio.io/use-waypoint': name }
    await ok(c, 'PUT', '/api/v1/namespaces/shop', namespace)
    await eventually(() => programmed(c, name))
  }
  const { metadata } = await find(c, '/api/v1/namespaces/shop')
  t.equal(metadata.labels['istio.io/use-waypoint'], 'two')
})
