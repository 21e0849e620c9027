// Security rows 48 and ID-10: what is secret is planted, everything that leaves the controller is searched for it.
import { createPrivateKey } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { ChannelCredentials, Metadata } from '@grpc/grpc-js'
import t from 'tap'
import { createCsr, generateKeyPair, spiffeId } from '#identity'
import { kinds } from '#kube'
import { startLogging } from '#telemetry'
import { ca } from '#wire'
import { startController } from '../../controller/app.ts'
import { parseConfig } from '../../controller/config.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { secret } from './ca/ca-kit.ts'
import { cacerts, intermediateOf, rootOf } from './ca/chains.ts'
import { acceptTokens, namespace, pod, ztunnelPod, ztunnelToken } from './mesh-kit.ts'

/** The ways in which a secret may be written down. */
const spellings = (bytes: Buffer): readonly string[] => [
  bytes.toString('latin1'),
  // The middle of base64 depends on where it starts in what was encoded.
  ...[0, 1, 2].map((at) => bytes.subarray(at).toString('base64').replace(/=+$/, '').slice(0, -2)),
  bytes.toString('base64url'),
  bytes.toString('hex'),
  bytes.toString('hex').toUpperCase(),
  encodeURIComponent(bytes.toString('latin1')),
]

/** The number that a private key is, and the lines in which PEM has it. */
function keySpellings(pem: string): readonly string[] {
  const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' })
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'))
  return [
    ...spellings(Buffer.from(d, 'base64url')),
    ...lines,
    ...lines.flatMap((line) => spellings(Buffer.from(line))),
  ]
}

const found = (output: string, canaries: readonly string[]) =>
  canaries.filter((canary) => canary.length >= 16 && output.includes(canary))

t.test('the search finds what it looks for', async (t) => {
  const { keyPem } = rootOf('x')
  const canaries = keySpellings(keyPem)
  for (const output of [keyPem, JSON.stringify({ keyPem }), Buffer.from(`xy${keyPem}`).toString('base64')])
    t.ok(found(`before ${output} after`, canaries).length > 0)
  t.strictSame(found(rootOf('y').keyPem, canaries), [])
})

t.test(
  'no key and no token is in any log line, metric, dump, error or object of the controller',
  async (t) => {
    const [root, broken] = [rootOf('corp'), rootOf('broken')]
    const [first, second] = [intermediateOf(root, 'first'), intermediateOf(root, 'second')]
    const tokens = ['canary-of-a-token-that-is-refused-3f9a', 'shop/order/order/canary-of-a-good-token-77b1']
    const canaries = [
      ...[first, second, broken].flatMap(({ keyPem }) => keySpellings(keyPem)),
      ...[...tokens, ztunnelToken].flatMap((token) => spellings(Buffer.from(token))),
    ]
    await using kube = await FakeKube.start(
      namespace('istio-system'),
      namespace('shop'),
      ztunnelPod,
      pod('shop', 'order'),
      secret('cacerts', cacerts(first, [root])),
    )
    kube.hook(({ path, body }) =>
      path.endsWith('/tokenreviews') && JSON.stringify(body).includes('refused')
        ? {
            status: 403,
            body: { kind: 'Status', message: `cannot review ${JSON.stringify(body)}`, reason: 'Forbidden' },
          }
        : undefined,
    )
    acceptTokens(kube)
    const output: string[] = []
    const log = startLogging({ filter: 'trace', write: (line) => void output.push(line) }).root('istiod')
    const env = {
      XDS_PORT: '0',
      WEBHOOK_PORT: '0',
      MONITORING_PORT: '0',
      READINESS_PORT: '0',
      POD_NAME: 'istiod-1',
    }
    await using app = await startController(parseConfig(env), kube.client(), log)

    const client = new ca.IstioCertificateServiceClient(
      `127.0.0.1:${app.ports.xds}`,
      ChannelCredentials.createSsl(Buffer.from(root.certPem)),
      { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' },
    )
    t.teardown(() => client.close())
    const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' })
    const ask = (token: string, csr: string, ImpersonatedIdentity?: string) =>
      new Promise<boolean>((resolve) => {
        const metadata = new Metadata()
        metadata.set('authorization', `Bearer ${token}`)
        const request = {
          csr,
          validityDuration: 60,
          metadata: ImpersonatedIdentity ? { ImpersonatedIdentity } : undefined,
        }
        client.createCertificate(request, metadata, (error, answer) => {
          output.push(
            error ? `${error.message} ${error.details} ${JSON.stringify(error)}` : answer.certChain.join(),
          )
          resolve(!error)
        })
      })
    const csr = createCsr({ id, key: generateKeyPair() })
    t.ok(await ask(ztunnelToken, csr, id))
    t.notOk(await ask(ztunnelToken, second.keyPem, id), 'a key instead of a CSR')
    t.notOk(await ask(ztunnelToken, csr, 'spiffe://cluster.local/ns/shop/sa/nobody'))
    for (const token of tokens) await ask(token, csr, id)
    const logged = (what: string) => until(() => output.some((line) => line.includes(what)), what)

    kube.put(secret('cacerts', { ...cacerts(first, [root]), 'ca-key.pem': second.keyPem }))
    await logged('does not belong')
    kube.put(secret('cacerts', { ...cacerts(first, [root]), 'ca-cert.pem': second.keyPem }))
    await logged('are needed')
    kube.put(secret('cacerts', { ...cacerts(first, [root]), 'ca-crl.pem': second.keyPem }))
    await logged('ca-crl.pem')
    kube.put(secret('cacerts', cacerts(broken, [broken])))
    await logged('root-in-use-missing')
    kube.put(secret('cacerts', cacerts(second, [root])))
    await logged('is in use')
    await until(() => kube.read(kinds.ConfigMap, 'istio-ca-root-cert', 'shop') !== undefined, 'bundles')

    const get = async (port: number, path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(20_000) })
      const body = await response.text()
      output.push(`${path} ${body}`)
      return body
    }
    for (const path of ['/metrics', '/version', '/ready', '/nothing'])
      for (const port of [app.ports.monitoring, app.ports.readiness]) await get(port, path)
    const debug = async (path: string): Promise<unknown> =>
      JSON.parse(await get(app.ports.monitoring, `/debug/${path}`))
    const names = await debug('list')
    t.ok(Array.isArray(names) && names.length > 5)
    for (const name of Array.isArray(names) ? names : []) await debug(String(name))
    let rows = 0
    for (const collection of Object.keys((await debug('krtz')) ?? {})) {
      const keys = await debug(`krtz?collection=${collection}`)
      for (const key of Array.isArray(keys) ? keys : []) {
        rows++
        await debug(`krtz?collection=${collection}&key=${encodeURIComponent(String(key))}`)
      }
    }
    t.ok(rows > 3, 'every row with its inputs')
    for (const kind of Object.values(kinds))
      if (kind.kind !== 'Secret') output.push(JSON.stringify(kube.all(kind)))
    output.push(...kube.requests)
    t.ok(output.length > 30)
    t.match(output.join(), /certificate refused/)
    t.strictSame(found(output.join('\n'), canaries), [])
  },
)

t.test('a start that fails over its Secret says what is wrong, and shows no key', async (t) => {
  const [root, other] = [rootOf('corp'), rootOf('other')]
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    secret('cacerts', { ...cacerts(root, [root]), 'ca-key.pem': other.keyPem }),
  )
  const folder = await mkdtemp(join(tmpdir(), 'lateen-canary-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const token = 'canary-of-our-own-token-51c2'
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    clusters: [{ name: 'x', cluster: { server: kube.cluster.server.href.replace(/\/$/, '') } }],
    users: [{ name: 'x', user: { token } }],
  }
  await writeFile(join(folder, 'config'), JSON.stringify(kubeconfig))
  const child = spawn(process.execPath, ['controller/main.ts'], {
    env: {
      KUBECONFIG: join(folder, 'config'),
      LOG_LEVEL: 'trace',
      XDS_PORT: '0',
      WEBHOOK_PORT: '0',
      MONITORING_PORT: '0',
      READINESS_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [out, error] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  t.equal(child.exitCode, 1)
  t.match(error, /Secret cacerts: ca-key.pem does not belong to ca-cert.pem/)
  t.strictSame(found(out + error, [...keySpellings(other.keyPem), ...spellings(Buffer.from(token))]), [])
})
