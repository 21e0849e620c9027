import { once } from 'node:events'
import { ChannelCredentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import t from 'tap'
import { fixed } from '#kube'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { type Asked, silent, waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, ads, authorizationTypeUrl, clientStatus } from '#wire'
import { debugRoutes, debugStream, endpointsOf } from '../../../controller/debug/index.ts'
import { clientConfig, configStatus, syncStatus } from '../../../controller/debug/syncz.ts'
import type { ClientStatus } from '../../../controller/xds/index.ts'

const sentAt = new Date('2026-01-02T03:04:05.678Z')
const ztunnel: ClientStatus = {
  nodeId: 'ztunnel~10.244.1.2~ztunnel-1.istio-system~istio-system.svc.cluster.local',
  cluster: 'Kubernetes',
  namespace: 'istio-system',
  version: '1.31.0',
  peer: '10.244.1.2:4711',
  connectedAt: sentAt,
  types: new Map([
    [addressTypeUrl, { sent: '7', acked: '7', sentAt, lastError: '' }],
    [authorizationTypeUrl, { sent: '8', acked: '2', sentAt, lastError: 'ns/p: no rules' }],
  ]),
  holdings: () => [],
}
const identifier = JSON.stringify({ Component: 'istiod', ID: 'istiod-1', Info: { version: '0.1.0' } })

/** `ns` is a token of that namespace; none is none. */
const options = {
  endpoints: endpointsOf({
    clients: () => [ztunnel],
    workloads: () => [{ uid: 'Kubernetes//Pod/a/b', addresses: [Buffer.from([10, 0, 0, 1])] }],
    services: () => [],
    policies: () => [],
    collections: new Map([['Pods', fixed('Pods', { 'a/b': { node: 'n1' } })]]),
    mesh: () => ({ trustDomain: 'cluster.local' }),
    clusterId: 'Kubernetes',
  }),
  clients: () => [ztunnel],
  authenticate: async (metadata: Metadata) => {
    const namespace = String(metadata.get('authorization')[0] ?? '').replace('Bearer ', '')
    return namespace === ''
      ? ({ kind: 'refused', reason: 'no bearer token', later: false } as const)
      : ({ kind: 'caller', namespace } as const)
  },
  namespace: 'istio-system',
  identifier,
  log: silent,
}

t.test(
  'a type is synced, stale, rejected or not sent, as its last nonces and its last error say',
  async (t) => {
    const { SYNCED, STALE, ERROR, NOT_SENT } = clientStatus.ConfigStatus
    const judged = (sent: string, acked: string, lastError = '') =>
      configStatus({ sent, acked, sentAt: undefined, lastError })
    t.equal(judged('', ''), NOT_SENT)
    t.equal(judged('1', ''), STALE)
    t.equal(judged('2', '1'), STALE)
    t.equal(judged('2', '2'), SYNCED)
    t.equal(judged('2', '1', 'no'), ERROR)
  },
)

async function ask(typeUrl: string, names: string[], token: string | undefined) {
  const server = new Server()
  server.addService(ads.AggregatedDiscoveryServiceService, {
    streamAggregatedResources: debugStream(options),
  })
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  const client = new ads.AggregatedDiscoveryServiceClient(
    `127.0.0.1:${port}`,
    ChannelCredentials.createInsecure(),
  )
  const metadata = new Metadata()
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  const call = client.streamAggregatedResources(metadata)
  const node = {
    id: 'debug~0.0.0.0~istioctl~cluster.local',
    cluster: '',
    metadata: { Generator: 'event' },
    buildVersion: '',
  }
  call.write({
    typeUrl,
    node,
    resourceNames: names,
    versionInfo: '',
    responseNonce: '',
    errorDetail: undefined,
  })
  try {
    const [response]: ads.DiscoveryResponse[] = await once(call, 'data')
    return response
  } finally {
    call.on('error', () => undefined)
    call.cancel()
    client.close()
    server.forceShutdown()
  }
}

t.test('istioctl proxy-status is told each client, its types, and which controller says so', async (t) => {
  const response = await ask('istio.io/debug/syncz', [], 'istio-system')
  t.equal(response?.typeUrl, 'istio.io/debug/syncz')
  t.equal(response?.controlPlane?.identifier, identifier)
  t.strictSame(
    response?.resources.map(({ typeUrl }) => typeUrl),
    ['type.googleapis.com/envoy.service.status.v3.ClientConfig'],
  )
  const [config] = response?.resources.map(({ value }) => clientStatus.ClientConfig.decode(value)) ?? []
  t.strictSame(config, {
    node: {
      id: 'ztunnel-1.istio-system',
      cluster: '',
      metadata: { CLUSTER_ID: 'Kubernetes', NAMESPACE: 'istio-system', ISTIO_VERSION: '1.31.0' },
      buildVersion: '',
    },
    genericXdsConfigs: [
      {
        typeUrl: 'type.googleapis.com/istio.workload.Address',
        lastUpdated: sentAt,
        configStatus: clientStatus.ConfigStatus.SYNCED,
        errorState: undefined,
      },
      {
        typeUrl: 'type.googleapis.com/istio.security.Authorization',
        lastUpdated: sentAt,
        configStatus: clientStatus.ConfigStatus.ERROR,
        errorState: { lastUpdateAttempt: sentAt, details: 'ns/p: no rules' },
      },
    ],
  })
})

/** What `istioctl proxy-status` calls types in its last column. */
const shortNames: Readonly<Record<string, string>> = {
  'envoy.config.cluster.v3.Cluster': 'CDS',
  'envoy.config.listener.v3.Listener': 'LDS',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'EDS',
  'envoy.config.route.v3.RouteConfiguration': 'RDS',
  'istio.workload.Address': 'WDS',
  'istio.security.Authorization': 'WADS',
}
const synced = { sent: '7', acked: '7', sentAt, lastError: '' }
const waypoint = (statuses: Readonly<Record<string, typeof synced>> = {}): ClientStatus => ({
  ...ztunnel,
  nodeId: 'waypoint~10.244.1.9~waypoint-1.shop~shop.svc.cluster.local',
  namespace: 'shop',
  types: new Map(
    [
      addressTypeUrl,
      authorizationTypeUrl,
      targetedPolicyTypeUrl,
      serviceRoutesTypeUrl,
      waypointTelemetryTypeUrl,
    ].map((url) => [url, statuses[url] ?? synced]),
  ),
})
const columns = (client: ClientStatus) =>
  Object.fromEntries(
    clientConfig(client).genericXdsConfigs.map(({ typeUrl, configStatus: code }) => [
      shortNames[typeUrl.replace('type.googleapis.com/', '')] ?? typeUrl,
      Object.entries(clientStatus.ConfigStatus).find(([, value]) => value === code)?.[0],
    ]),
  )

t.test('a waypoint shows as its Envoy peer does, every type of which has a short name', async (t) => {
  t.same(columns(waypoint()), {
    CDS: 'SYNCED',
    LDS: 'SYNCED',
    EDS: 'SYNCED',
    RDS: 'SYNCED',
    WDS: 'SYNCED',
    WADS: 'SYNCED',
  })
  const failed = { ...synced, acked: '6', lastError: 'shop/order: no' }
  const rejecting = waypoint({ [serviceRoutesTypeUrl]: failed })
  t.match(columns(rejecting), { CDS: 'ERROR', RDS: 'ERROR', LDS: 'SYNCED', EDS: 'SYNCED', WDS: 'SYNCED' })
  t.match(
    clientConfig(rejecting).genericXdsConfigs.filter(({ errorState }) => errorState !== undefined),
    [{ errorState: { details: 'shop/order: no' } }, { errorState: { details: 'shop/order: no' } }],
  )
  for (const url of [targetedPolicyTypeUrl, waypointTelemetryTypeUrl])
    t.match(columns(waypoint({ [url]: { ...synced, acked: '' } })), { LDS: 'STALE', RDS: 'SYNCED' }, url)
  t.match(columns(waypoint({ [addressTypeUrl]: { ...synced, acked: '' } })), { EDS: 'STALE', WDS: 'STALE' })
  const waiting = { ...synced, sent: '', acked: '' }
  t.match(columns(waypoint({ [serviceRoutesTypeUrl]: waiting })), { CDS: 'NOT_SENT', RDS: 'NOT_SENT' })
})

t.test(
  'Kiali finds the fields of an Envoy peer in /debug/syncz, and ours under their own names',
  async (t) => {
    const behind = { ...synced, sent: '9' }
    const shown = syncStatus(waypoint({ [serviceRoutesTypeUrl]: behind }))
    t.match(shown, {
      proxy: 'waypoint-1.shop',
      proxy_type: 'waypoint',
      cluster_sent: '9',
      cluster_acked: '7',
      listener_sent: '7',
      listener_acked: '7',
      route_sent: '9',
      route_acked: '7',
      endpoint_sent: '7',
      endpoint_acked: '7',
      resources: { [serviceRoutesTypeUrl]: { sent: '9', acked: '7' }, [addressTypeUrl]: { sent: '7' } },
    })
    t.notOk('route_sent' in syncStatus(ztunnel))
  },
)

t.test('istioctl x internal-debug is told the text of an endpoint, or that there is none', async (t) => {
  const text = async (name: string) =>
    (await ask('istio.io/debug', [name], 'istio-system'))?.resources[0]?.value.toString() ?? ''
  t.strictSame(JSON.parse(await text('list')), [
    'adsz',
    'ambientz',
    'clusterz',
    'config_dump',
    'connections',
    'krtz',
    'list',
    'mesh',
    'syncz',
  ])
  t.equal(await text('no-such-thing'), '404 page not found\n')
  t.strictSame(JSON.parse(await text('krtz?collection=Pods&key=a/b')), {
    row: { node: 'n1' },
    explanation: { collection: 'Pods', key: 'a/b', exists: true, from: [] },
  })
})

t.test('who has no token, or one of another namespace, is told nothing over xDS', async (t) => {
  for (const token of [undefined, 'default', 'kube-system'])
    await t.rejects(ask('istio.io/debug/syncz', [], token), { code: status.UNAUTHENTICATED })
})

t.test('other types are not served whole', async (t) => {
  await t.rejects(ask(addressTypeUrl, [], 'istio-system'), { code: status.INVALID_ARGUMENT })
})

const get = (path: string, peer: string, authorization?: string) => {
  const asked: Asked = { peer, query: new URLSearchParams() }
  const headers = authorization === undefined ? {} : { authorization }
  return debugRoutes(options)[`GET /debug/${path}`]?.(headers, asked)
}

t.test('/debug/syncz is the JSON that istioctl version reads', async (t) => {
  const answer = await get('syncz', '127.0.0.1')
  t.equal(answer?.type, 'application/json')
  t.strictSame(JSON.parse(String(answer?.body)), [
    {
      cluster_id: 'Kubernetes',
      proxy: 'ztunnel-1.istio-system',
      proxy_type: 'ztunnel',
      proxy_version: '1.31.0',
      istio_version: '1.31.0',
      resources: {
        'type.googleapis.com/istio.workload.Address': {
          sent: '7',
          acked: '7',
          sentTime: '2026-01-02T03:04:05.678Z',
        },
        'type.googleapis.com/istio.security.Authorization': {
          sent: '8',
          acked: '2',
          sentTime: '2026-01-02T03:04:05.678Z',
          lastError: 'ns/p: no rules',
        },
      },
    },
  ])
})

t.test('/debug/ambientz shows addresses as text', async (t) => {
  const answer = await get('ambientz', '::1')
  t.strictSame(JSON.parse(String(answer?.body)), {
    workloads: [{ uid: 'Kubernetes//Pod/a/b', addresses: ['10.0.0.1'] }],
    services: [],
    policies: [],
  })
})

t.test(
  '/debug is free on this host, and needs a token of the controller’s namespace elsewhere',
  async (t) => {
    const rows: readonly (readonly [string, string | undefined, number])[] = [
      ['127.0.0.1', undefined, 200],
      ['::ffff:127.0.0.1', undefined, 200],
      ['::1', undefined, 200],
      ['10.0.0.1', undefined, 401],
      ['::ffff:10.0.0.1', undefined, 401],
      ['', undefined, 401],
      ['10.0.0.1', 'Bearer default', 401],
      ['10.0.0.1', 'Bearer istio-system', 200],
    ]
    for (const [peer, authorization, want] of rows) {
      const answer = await get('ambientz', peer, authorization)
      t.equal(answer?.status, want, `${peer} ${authorization}`)
      if (want !== 200) t.equal(answer?.body, 'not allowed\n', 'and nothing of the mesh')
    }
  },
)
