import t from 'tap'
import { silent, startLogging } from '#telemetry'
import { parseConfig } from '../../controller/config.ts'
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

t.test('mesh config: what is missing or unreadable is Istio’s default', async (t) => {
  const of = (mesh?: string) =>
    meshConfigFrom(mesh === undefined ? undefined : { metadata: {}, data: { mesh } }, 'istio-system', silent)
  const defaults = { trustDomain: 'cluster.local', rootNamespace: 'istio-system' }
  for (const mesh of [undefined, '', '[', '5', 'trustDomain: 5', 'trustDomain: "a b"'])
    t.strictSame(of(mesh), defaults, mesh ?? 'none')
  t.strictSame(of('trustDomain: example.org\nrootNamespace: root\nextensionProviders: []'), {
    trustDomain: 'example.org',
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
