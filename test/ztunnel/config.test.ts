import { availableParallelism } from 'node:os'
import t from 'tap'
import { parseConfig } from '../../ztunnel/config.ts'

const given = { NODE_NAME: 'n1', POD_NAME: 'z-1', POD_NAMESPACE: 'istio-system', INSTANCE_IP: '10.0.0.5' }

t.test('what the manifest sets is enough, in our own units', async (t) => {
  const config = parseConfig({
    ...given,
    TERMINATION_GRACE_PERIOD_SECONDS: '30',
    XDS_ADDRESS: 'https://x.y:1/',
  })
  t.match(config, {
    nodeName: 'n1',
    clusterId: 'Kubernetes',
    network: '',
    xds: { address: 'x.y:1' },
    ca: { address: 'istiod.istio-system.svc:15012' },
    agentSocket: '/var/run/ztunnel/ztunnel.sock',
    mark: 1337,
    drainMs: 25_000,
    hbone: {},
    ports: { admin: 15000, stats: 15020, readiness: 15021 },
    node: {
      id: 'ztunnel~10.0.0.5~z-1.istio-system~istio-system.svc.cluster.local',
      metadata: { NODE_NAME: 'n1', CLUSTER_ID: 'Kubernetes' },
    },
  })
})

t.test('ISTIO_META_* goes to the control plane, HTTP2_* and POOL_* to HBONE', async (t) => {
  const config = parseConfig({
    ...given,
    ISTIO_META_CLUSTER_ID: 'east',
    ISTIO_META_DNS_CAPTURE: 'false',
    HTTP2_STREAM_WINDOW_SIZE: '1048576',
    POOL_UNUSED_RELEASE_TIMEOUT: '90s',
    CONNECTION_TERMINATION_DEADLINE: '2m',
    RUST_LOG: 'debug',
    LOG_FORMAT: 'json',
  })
  t.match(config.node.metadata, { CLUSTER_ID: 'east', DNS_CAPTURE: 'false' })
  t.equal(config.clusterId, 'east')
  t.same(config.hbone, { streamWindow: 1 << 20, unusedReleaseMs: 90_000 })
  t.equal(config.drainMs, 120_000)
  t.same(config.log, { filter: 'debug', format: 'json' })
})

t.test('the control plane is given headers, and roots and a token in whatever form', async (t) => {
  const config = parseConfig({
    ...given,
    XDS_HEADER_tenant: 'a',
    CA_HEADER_tenant: 'b',
    CA_ROOT_CA: 'SYSTEM',
    AUTH_TOKEN: 'a.b.c',
  })
  t.match(config, {
    token: 'a.b.c',
    xds: { headers: { tenant: 'a' } },
    ca: { root: 'SYSTEM', headers: { tenant: 'b' } },
  })
})

t.test('certificates: how long they live, how peers are judged, which key exchange', async (t) => {
  t.match(parseConfig(given), { certificateTtlMs: 86_400_000, crlPath: undefined, keyExchange: 'any' })
  const config = parseConfig({
    ...given,
    SECRET_TTL: '1h',
    CRL_PATH: '/crl/ca-crl.pem',
    COMPLIANCE_POLICY: 'pqc',
    PEER_EXPIRY_GRACE: '30m',
  })
  t.match(config, { certificateTtlMs: 3_600_000, crlPath: '/crl/ca-crl.pem', keyExchange: 'pqc' })
  t.same(config.hbone, { peerExpiryGraceMs: 1_800_000 })
  t.throws(() => parseConfig({ ...given, TLS12_ENABLED: 'true' }), /TLS 1\.2 is not spoken here/)
  t.ok(parseConfig({ ...given, TLS12_ENABLED: 'false' }))
  t.throws(() => parseConfig({ ...given, COMPLIANCE_POLICY: 'fips-140-2' }), /COMPLIANCE_POLICY/)
})

t.test("connections: Istio's defaults, and what may be set", async (t) => {
  t.same(parseConfig(given).tuning, {
    baggage: true,
    loopbackTunnel: true,
    idleMs: 0,
    dialMs: 10_000,
    workloadMs: 5_000,
    keepAlive: { idleMs: 180_000, intervalMs: 180_000, probes: 9, userTimeoutMs: 0 },
  })
  const set = {
    KEEPALIVE_TIME: '60s',
    KEEPALIVE_INTERVAL: '5s',
    KEEPALIVE_RETRIES: '3',
    USER_TIMEOUT_ENABLED: 'true',
  }
  t.same(parseConfig({ ...given, ...set }).tuning.keepAlive, {
    idleMs: 60_000,
    intervalMs: 5_000,
    probes: 3,
    userTimeoutMs: 75_000,
  })
  const off = {
    KEEPALIVE_ENABLED: 'false',
    ENABLE_RESPONSE_BAGGAGE: 'false',
    LOCALHOST_APP_TUNNEL: 'false',
    CONNECTION_IDLE_TIMEOUT: '1h',
    CONNECT_TIMEOUT: '3s',
    WORKLOAD_TIMEOUT: '30s',
  }
  t.same(parseConfig({ ...given, ...off }).tuning, {
    baggage: false,
    loopbackTunnel: false,
    idleMs: 3_600_000,
    dialMs: 3_000,
    workloadMs: 30_000,
    keepAlive: undefined,
  })
})

for (const [seconds, want] of [
  ['60', 55_000],
  ['11', 6_000],
  ['10', 9_000],
  ['0', 1_000],
] as const) {
  t.test(`a grace period of ${seconds} s leaves ${want} ms to drain`, async (t) => {
    t.equal(parseConfig({ ...given, TERMINATION_GRACE_PERIOD_SECONDS: seconds }).drainMs, want)
  })
}

t.test('one error names every bad variable', async (t) => {
  const bad = {
    PACKET_MARK: 'x',
    XDS_ADDRESS: 'nowhere',
    CONNECTION_TERMINATION_DEADLINE: 'soon',
    LOG_FORMAT: 'xml',
    ENABLE_ORIG_SRC: 'maybe',
    POOL_MAX_STREAMS_PER_CONNECTION: '0',
    CONNECT_TIMEOUT: '2h',
    WORKLOAD_TIMEOUT: '0s',
  }
  try {
    parseConfig(bad)
    t.fail('accepted')
  } catch (error) {
    for (const name of ['NODE_NAME', ...Object.keys(bad)]) t.match((error as Error).message, name)
    t.equal((error as { code?: string }).code, 'bad-config')
  }
})

t.test('the DNS proxy: on unless it is switched off, under Istio’s names', async (t) => {
  t.same(parseConfig(given).dns, {
    domain: 'cluster.local',
    preferredNamespace: undefined,
    ipv6: true,
    address: undefined,
    ownSearch: false,
  })
  for (const name of ['DNS_CAPTURE', 'ISTIO_META_DNS_CAPTURE'])
    t.equal(parseConfig({ ...given, [name]: 'false' }).dns, undefined, name)
  const config = parseConfig({
    ...given,
    CLUSTER_DOMAIN: 'Corp.Example.',
    PREFERED_SERVICE_NAMESPACE: 'shared',
    IPV6_ENABLED: 'false',
    ISTIO_META_DNS_PROXY_ADDR: 'localhost:5353',
  })
  t.same(config.dns, {
    domain: 'corp.example',
    preferredNamespace: 'shared',
    ipv6: false,
    address: { address: '127.0.0.1', port: 5353 },
    ownSearch: false,
  })
  const dedicated = { PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'ns/name/sa' }
  t.match(parseConfig({ ...given, ...dedicated }).dns, { ownSearch: true }, 'the app has our resolv.conf')
  t.match(parseConfig({ ...given, DNS_PROXY_ADDR: '[::1]:53' }).dns, {
    address: { address: '::1', port: 53 },
  })
  for (const address of ['dns.example:53', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536'])
    t.throws(() => parseConfig({ ...given, DNS_PROXY_ADDR: address }), /DNS_PROXY_ADDR/, address)
})

t.test('who it works for: a node and its own pod, or one workload beside it', async (t) => {
  t.same(parseConfig({ NODE_NAME: 'n1' }).place, { kind: 'node', own: undefined })
  const env = { NODE_NAME: 'n1', POD_NAME: 'z-1', POD_NAMESPACE: 'istio-system', SERVICE_ACCOUNT: 'z' }
  t.same(parseConfig(env).place, {
    kind: 'node',
    own: { name: 'z-1', namespace: 'istio-system', serviceAccount: 'z' },
  })
  const sidecar = { PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'shop/vm-1/order' }
  t.match(parseConfig(sidecar), {
    place: { kind: 'sidecar', workload: { namespace: 'shop', name: 'vm-1', serviceAccount: 'order' } },
    mark: 0,
    keepSource: false,
    nodeName: '',
  })
  t.match(parseConfig({ ...sidecar, PACKET_MARK: '7', ENABLE_ORIG_SRC: 'true' }), {
    mark: 7,
    keepSource: true,
  })
  const refusals: [string, Record<string, string>][] = [
    ['PROXY_WORKLOAD_INFO: needed', { PROXY_MODE: 'dedicated' }],
    ['NODE_NAME: needed', {}],
    ['PROXY_MODE', { NODE_NAME: 'n1', PROXY_MODE: 'gateway' }],
    ['namespace/name/serviceaccount', { PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'shop/order' }],
  ]
  for (const [message, env] of refusals) t.throws(() => parseConfig(env), { message: new RegExp(message) })
})

t.test('data workers: one per two processors and at most four, or as many as somebody says', async (t) => {
  const workers = (wanted?: string) =>
    parseConfig({ NODE_NAME: 'n1', ...(wanted === undefined ? {} : { ZTUNNEL_WORKER_THREADS: wanted }) })
      .workers
  const processors = availableParallelism()
  t.equal(workers(), Math.min(4, Math.ceil(processors / 2)))
  t.equal(workers('3'), 3)
  t.equal(workers('0'), processors)
  t.equal(workers('1%'), 1)
  t.equal(workers('200%'), 2 * processors)
  for (const bad of ['-1', 'many', '1.5', '50 %'])
    t.throws(() => workers(bad), { message: /ZTUNNEL_WORKER_THREADS/ })
})

t.test(
  'ProxyConfig: what PROXY_CONFIG and the mesh’s defaultConfig say, unless the environment does',
  async (t) => {
    const PROXY_CONFIG = `
    discoveryAddress: istiod-1.istio-system.svc:15012
    concurrency: 3
    proxyMetadata: { DNS_CAPTURE: "false", ISTIO_META_CLUSTER_ID: c-1 }
    holdApplicationUntilProxyStarts: true`
    const MESH_CONFIG = `
    defaultConfig: { discoveryAddress: other.svc:15012, statsPort: 15090, concurrency: 2 }
    rootNamespace: istio-system`
    t.match(parseConfig({ NODE_NAME: 'n1', PROXY_CONFIG, MESH_CONFIG }), {
      xds: { address: 'istiod-1.istio-system.svc:15012' },
      workers: 3,
      ports: { admin: 15000, stats: 15090 },
      clusterId: 'c-1',
      dns: undefined,
      node: { metadata: { DNS_CAPTURE: 'false' } },
    })
    const own = {
      NODE_NAME: 'n1',
      PROXY_CONFIG,
      XDS_ADDRESS: 'mine.svc:15012',
      ISTIO_META_DNS_CAPTURE: 'true',
    }
    t.match(parseConfig(own), { xds: { address: 'mine.svc:15012' }, dns: Object })
    for (const bad of ['concurrency: many', ': : :', 'statsPort: 99999', '[]'])
      t.throws(() => parseConfig({ NODE_NAME: 'n1', PROXY_CONFIG: bad }), {
        code: 'bad-config',
        message: /PROXY_CONFIG/,
      })
  },
)

t.test('what cannot be honoured is refused by name, and nothing is silent', async (t) => {
  const refused: Record<string, string> = {
    ENABLE_PROXY: 'false',
    INPOD_PORT_REUSE: 'false',
    XDS_ON_DEMAND: 'true',
    TLS12_ENABLED: 'true',
    UNSTABLE_ENABLE_SOCKS5: 'true',
    FAKE_CA: 'true',
    LOCAL_XDS_PATH: '/x.yaml',
    LOCAL_XDS: 'workloads: []',
    ISTIO_METAJSON_LABELS: '{',
  }
  for (const [name, value] of Object.entries(refused))
    t.throws(() => parseConfig({ NODE_NAME: 'n1', [name]: value }), {
      code: 'bad-config',
      message: new RegExp(name),
    })
  t.ok(
    parseConfig({ NODE_NAME: 'n1', ENABLE_PROXY: 'true', XDS_ON_DEMAND: 'false', INPOD_PORT_REUSE: 'true' }),
  )
  const { node } = parseConfig({ NODE_NAME: 'n1', ISTIO_METAJSON_LABELS: '{"app":"ztunnel"}' })
  t.match(node.metadata, { LABELS: { app: 'ztunnel' } })
})
