import t from 'tap'
import { silent, startLogging } from '#telemetry'
import { parseConfig } from '../../controller/config.ts'
import { ownNames } from '../../controller/serving-certificate.ts'
import { meshConfigFrom } from '../../controller/mesh-config.ts'

t.test('defaults', async (t) => {
  t.match(parseConfig({}), {
    namespace: 'istio-system',
    clusterId: 'Kubernetes',
    audiences: ['istio-ca'],
    trustedAccounts: ['istio-system/ztunnel'],
    debounceMs: 100,
    debounceMaxMs: 10_000,
    ports: { xds: 15_012, monitoring: 15_014, readiness: 8080 },
  })
})

t.test('durations are Go’s', async (t) => {
  const of = (text: string) => parseConfig({ PILOT_DEBOUNCE_AFTER: text }).debounceMs
  t.strictSame(['5ms', '1s', '1m30s', '0.5s'].map(of), [5, 1000, 90_000, 500])
})

t.test('the namespace carries over to who is trusted', async (t) => {
  t.strictSame(parseConfig({ POD_NAMESPACE: 'mesh' }).trustedAccounts, ['mesh/ztunnel'])
  t.strictSame(parseConfig({ CA_TRUSTED_NODE_ACCOUNTS: 'a/b, c/d' }).trustedAccounts, ['a/b', 'c/d'])
})

t.test('every bad variable is named', async (t) => {
  t.throws(() => parseConfig({ PILOT_DEBOUNCE_AFTER: 'soon', XDS_PORT: '99999' }), {
    code: 'bad-config',
    message: /^bad environment: PILOT_DEBOUNCE_AFTER: .*; XDS_PORT: .*$/,
  })
})

t.test('our certificate has the names of every Service that may lead to us', async (t) => {
  const of = (env: Record<string, string>) => ownNames(parseConfig(env))
  t.ok(of({}).includes('istiod.istio-system.svc'))
  t.ok(of({ ISTIOD_CUSTOM_HOST: 'istiod.example.com' }).includes('istiod.example.com'))
  const revisioned = of({ REVISION: '1-30', POD_NAMESPACE: 'mesh' })
  for (const name of ['istiod-1-30.mesh.svc', 'istiod-1-30.mesh.svc.cluster.local', 'istiod.mesh.svc'])
    t.ok(revisioned.includes(name), name)
})

const dayMs = 24 * 3600_000
t.test('the CA’s settings: Istio’s names and defaults, within bounds', async (t) => {
  const of = (env: Record<string, string>) => parseConfig(env).ca
  t.strictSame(of({}), {
    workload: { defaultMs: dayMs, maxMs: dayMs },
    root: { lifetimeMs: 3650 * dayMs, checkMs: 3600_000, renewalPart: 0.2 },
    unheeded: [],
  })
  t.match(of({ DEFAULT_WORKLOAD_CERT_TTL: '1h' }).workload, { defaultMs: 3600_000, maxMs: dayMs })
  t.match(of({ DEFAULT_WORKLOAD_CERT_TTL: '48h' }).workload, { defaultMs: 2 * dayMs, maxMs: 2 * dayMs })
  const both = of({ DEFAULT_WORKLOAD_CERT_TTL: '48h', MAX_WORKLOAD_CERT_TTL: '30m' })
  t.match(both.workload, { defaultMs: 1_800_000, maxMs: 1_800_000 })
  t.match(both.unheeded, [/^DEFAULT_WORKLOAD_CERT_TTL: longer than MAX_WORKLOAD_CERT_TTL/])
  const root = of({
    CITADEL_SELF_SIGNED_CA_CERT_TTL: '8760h',
    CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL: '10m',
    CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE: '50',
  })
  t.strictSame(root.root, { lifetimeMs: 365 * dayMs, checkMs: 600_000, renewalPart: 0.5 })
  for (const [name, value] of [
    ['DEFAULT_WORKLOAD_CERT_TTL', '10s'],
    ['MAX_WORKLOAD_CERT_TTL', '2161h'],
    ['MAX_WORKLOAD_CERT_TTL', '90d'],
    ['CITADEL_SELF_SIGNED_CA_CERT_TTL', '1h'],
    ['CITADEL_SELF_SIGNED_CA_CERT_TTL', '876000h'],
    ['CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL', '0s'],
    ['CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE', '0'],
    ['CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE', '100'],
    ['EXTERNAL_CA', 'ISTIOD_RA_KUBERNETES_API'],
  ] as const)
    t.throws(() => of({ [name]: value }), { message: new RegExp(`^bad environment: ${name}: `) }, value)
})

t.test('settings of Istio’s CA that are done in another way here are named', async (t) => {
  for (const [name, value] of [
    ['USE_CACERTS_FOR_SELF_SIGNED_CA', 'true'],
    ['ENABLE_CLUSTER_TRUST_BUNDLE_API', 'true'],
    ['PILOT_CA_CERT_CONFIGMAP', 'my-roots'],
    ['PILOT_CRL_CONFIGMAP', 'my-lists'],
    ['CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE', '4096'],
    ['CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR', 'true'],
  ] as const)
    t.match(parseConfig({ [name]: value }).ca.unheeded, [new RegExp(`^${name}: `)])
  t.strictSame(parseConfig({ USE_CACERTS_FOR_SELF_SIGNED_CA: 'false', EXTERNAL_CA: '' }).ca.unheeded, [])
})

t.test('mesh config: what is missing or unreadable is Istio’s default', async (t) => {
  const of = (mesh?: string) =>
    meshConfigFrom(mesh === undefined ? undefined : { metadata: {}, data: { mesh } }, 'istio-system', silent)
  const defaults = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' }
  for (const mesh of [undefined, '', '[', '5', 'trustDomain: 5', 'trustDomain: "a b"'])
    t.strictSame(of(mesh), defaults, mesh ?? 'none')
  t.strictSame(of('trustDomain: example.org\nrootNamespace: root\nextensionProviders: []'), {
    trustDomain: 'example.org',
    trustDomainAliases: [],
    rootNamespace: 'root',
  })
})

t.test('mesh config: what is there and cannot be read is said', async (t) => {
  for (const [mesh, want] of [
    ['trustDomain: "a b"', /field="trustDomain"/],
    ['rootNamespace: [x]', /field="rootNamespace"/],
    ['5', /cannot be read/],
  ] as const) {
    const lines: string[] = []
    const log = startLogging({ write: (line) => void lines.push(line) }).root('istiod')
    meshConfigFrom({ metadata: {}, data: { mesh } }, 'istio-system', log)
    t.equal(lines.length, 1)
    t.match(lines[0], want)
  }
})
