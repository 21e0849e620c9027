import t from 'tap'
import { type ConfigMap, Table } from '#kube'
import { silent } from '#telemetry'
import { tellUnheeded, unheededFields, unheededNetworks } from '../../controller/mesh-config-told.ts'
import { readMeshDefaults } from '../../controller/routes/index.ts'

const fields = (mesh: unknown) => unheededFields(mesh).map(({ field }) => field)

t.test('what is heeded, and what says what is so anyway, is not told', async (t) => {
  const heeded = {
    trustDomain: 'a',
    rootNamespace: 'b',
    discoverySelectors: [{}],
    serviceEntryVisibility: { defaultVisibility: 'PUBLIC', policies: [], applyToSidecars: false },
    defaultServiceExportTo: ['*'],
    defaultVirtualServiceExportTo: ['*'],
    defaultDestinationRuleExportTo: ['*'],
    defaultHttpRetryPolicy: { attempts: 1 },
    defaultTrafficPolicy: { outlierDetection: {} },
    connectTimeout: '1s',
    tcpKeepalive: { probes: 1 },
    localityLbSetting: { enabled: false },
    outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' },
    defaultConfig: { discoveryAddress: 'istiod:15012', proxyMetadata: { ISTIO_META_ENABLE_HBONE: 'true' } },
    defaultProviders: { metrics: ['prometheus'], accessLogging: ['x'] },
    extensionProviders: [{ name: 'x', envoyFileAccessLog: { path: '/dev/stdout' } }, 5],
    accessLogFormat: '%START_TIME%',
    accessLogEncoding: 'JSON',
    enablePrometheusMerge: true,
    enableAutoMtls: true,
    trustDomainAliases: ['old'],
    pathNormalization: { normalization: 'MERGE_SLASHES' },
    meshMTLS: { minProtocolVersion: 'TLSV1_3' },
    h2UpgradePolicy: 'UPGRADE',
    ingressControllerMode: 'OFF',
    accessLogFile: '/dev/stdout',
  }
  t.strictSame(fields(heeded), [])
  t.strictSame(readMeshDefaults(heeded).remarks, [])
  for (const nothing of [undefined, null, 5, [], {}]) t.strictSame(fields(nothing), [])
})

const cases: readonly (readonly [string, unknown, string, RegExp])[] = [
  ['enableAutoMtls', false, 'enableAutoMtls', /always mTLS/],
  ['pathNormalization', { normalization: 'NONE' }, 'pathNormalization.normalization', /at least/],
  ['ingressClass', 'istio', 'ingressClass', /Ingress/],
  ['ingressControllerMode', 'STRICT', 'ingressControllerMode', /Ingress/],
  ['ingressService', 'x', 'ingressService', /Ingress/],
  ['ingressSelector', 'x', 'ingressSelector', /Ingress/],
  ['outboundTrafficPolicy', { tls: {} }, 'outboundTrafficPolicy.tls', /registry/],
  ['inboundTrafficPolicy', { mode: 'LOCALHOST' }, 'inboundTrafficPolicy', /sidecars/],
  ['defaultConfig', { concurrency: 2 }, 'defaultConfig.concurrency', /parameters/],
  ['defaultConfig', { proxyMetadata: { A: 'b' } }, 'defaultConfig.proxyMetadata', /variables/],
  ['defaultConfig', 5, 'defaultConfig', /not known/],
  ['defaultConfig', { discoveryAddress: 'other:15012' }, 'defaultConfig.discoveryAddress', /CA_ADDRESS/],
  ['serviceEntryVisibility', { applyToSidecars: true }, 'serviceEntryVisibility.applyToSidecars', /sidecars/],
  ['serviceEntryVisibility', { unheardOf: 1 }, 'serviceEntryVisibility.unheardOf', /not known/],
  [
    'extensionProviders',
    [{ name: 'x', envoyFileAccessLog: { unheardOf: 1 } }],
    'extensionProviders[0].envoyFileAccessLog.unheardOf',
    /not known/,
  ],
  ['defaultProviders', { tracing: ['x'] }, 'defaultProviders.tracing', /provider/],
  [
    'extensionProviders',
    [{ name: 'x', envoyExtAuthzGrpc: {} }],
    'extensionProviders[0].envoyExtAuthzGrpc',
    /CUSTOM deny/,
  ],
  ['enableTracing', true, 'enableTracing', /traced/],
  ['caCertificates', [{ pem: 'x' }], 'caCertificates', /cacerts/],
  ['meshMTLS', { minProtocolVersion: 'TLSV1_4' }, 'meshMTLS.minProtocolVersion', /1\.3/],
  ['meshMTLS', { cipherSuites: ['x'] }, 'meshMTLS.cipherSuites', /suites/],
  ['serviceSettings', [{}], 'serviceSettings', /clusters/],
  ['zoneAwareLbSetting', {}, 'zoneAwareLbSetting', /localities/],
  ['connectTimeOut', '1s', 'connectTimeOut', /not known/],
]
for (const [name, value, field, reason] of cases)
  t.test(`${name}: ${JSON.stringify(value)} is told with its reason`, async (t) => {
    t.match(unheededFields({ [name]: value, trustDomain: 'x' }), [{ field, reason }])
  })

t.test('networks of meshNetworks are told one by one', async (t) => {
  const one = { endpoints: [{ fromRegistry: 'c1' }], gateways: [{ address: '192.0.2.1', port: 15443 }] }
  t.match(unheededNetworks({ networks: { n1: one, n2: one } }), [
    { field: 'meshNetworks.n1', reason: /topology\.istio\.io\/network/ },
    { field: 'meshNetworks.n2' },
  ])
  t.strictSame(unheededNetworks({ networks: {} }), [])
  t.strictSame(unheededNetworks('x'), [])
})

t.test('each is told once, and again only when it is another', async (t) => {
  const maps = new Table<ConfigMap>('configmaps')
  const lines: string[] = []
  const log = {
    ...silent,
    warn: (_: string, said: Readonly<Record<string, unknown>> = {}) => void lines.push(String(said['field'])),
  }
  const key = 'istio-system/istio'
  const put = (mesh: string, meshNetworks = '') => {
    const row = { metadata: { namespace: 'istio-system', name: 'istio' }, data: { mesh, meshNetworks } }
    maps.apply([{ key, old: maps.get(key), row }])
    return lines.splice(0)
  }
  put('enableAutoMtls: false')
  using _telling = tellUnheeded(maps.collection, log)
  t.strictSame(lines.splice(0), ['enableAutoMtls'], 'also what was there before')
  t.strictSame(put('{enableAutoMtls: false, trustDomain: x}'), [])
  t.strictSame(put('{enableAutoMtls: false, ingressClass: x}', 'networks: {n: {}}'), [
    'ingressClass',
    'meshNetworks.n',
  ])
  t.strictSame(put('{'), [], 'what cannot be read is told elsewhere')
  t.strictSame(put('defaultHttpRetryPolicy: {attempts: 1, retryOn: "5xx,nonsense"}'), [
    'defaultHttpRetryPolicy.retryOn',
  ])
  t.strictSame(put('defaultHttpRetryPolicy: {attempts: x}'), [])
})
