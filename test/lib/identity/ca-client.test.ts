import { type Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import {
  Certificates,
  createCaClient,
  createRoot,
  generateKeyPair,
  issueCertificate,
  type Issuer,
  parseCsr,
  privateKeyPem,
  spiffeId,
} from '#identity'
import { ca } from '#wire'

const hour = 3_600_000
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' })
const never = new AbortController().signal
const root = createRoot({ organization: 'test', validityMs: hour })
const window = () => ({ notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + hour) })

type Seen = { request: ca.IstioCertificateRequest; metadata: Metadata }

/** Istio's certificate service on a free port, signing whatever it is asked for. */
async function authority(t: Test, issuer: Issuer = root, fail?: number) {
  const seen: Seen[] = []
  const key = generateKeyPair()
  const names = { dnsNames: ['istiod.istio-system.svc'], usages: ['serverAuth'] as const }
  const cert = issueCertificate({ issuer, publicKey: key.publicKey, ...names, ...window() })
  const server = new Server()
  server.addService(ca.IstioCertificateServiceService, {
    createCertificate: (
      call: { request: ca.IstioCertificateRequest; metadata: Metadata },
      answer: (error: object | null, response?: ca.IstioCertificateResponse) => void,
    ) => {
      seen.push(call)
      const csr = parseCsr(call.request.csr)
      if (fail !== undefined || 'reject' in csr)
        return answer({ code: fail ?? status.INVALID_ARGUMENT, details: 'no' })
      const usages = ['serverAuth', 'clientAuth'] as const
      const leaf = issueCertificate({ issuer, publicKey: csr.publicKey, uris: [id], usages, ...window() })
      answer(null, { certChain: [leaf, issuer.certPem] })
    },
  })
  const credentials = ServerCredentials.createSsl(null, [
    { private_key: Buffer.from(privateKeyPem(key.privateKey)), cert_chain: Buffer.from(cert) },
  ])
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  )
  t.teardown(() => server.forceShutdown())
  return { seen, address: `127.0.0.1:${port}` }
}
const options = (address: string, rootPem: () => string) => ({
  address,
  rootPem,
  token: () => 'secret',
  clusterId: 'Kubernetes',
  serverName: 'istiod.istio-system.svc',
})

t.test('a certificate is asked for as ztunnel asks', async (t) => {
  const { seen, address } = await authority(t)
  const headers = { tenant: 'a' }
  const asked = { ...options(address, () => root.certPem), headers, keyExchange: 'pqc' as const }
  using sign = createCaClient(asked)
  using certificates = new Certificates({ sign, log: { warn() {} } })
  const certificate = await certificates.get(id, never)
  t.equal(certificate.id, id)
  t.strictSame(certificate.rootsPem, [root.certPem])
  t.equal(seen[0]?.request.validityDuration, 86_400)
  t.strictSame(seen[0]?.request.metadata, { ImpersonatedIdentity: id })
  t.strictSame(seen[0]?.metadata.get('authorization'), ['Bearer secret'])
  t.strictSame(seen[0]?.metadata.get('clusterid'), ['Kubernetes'])
  t.strictSame(seen[0]?.metadata.get('tenant'), ['a'])
})

t.test(
  'a refusal, a wrong root and a wrong name are identity-unavailable, and nothing is sent to a stranger',
  async (t) => {
    const refusing = await authority(t, root, status.UNAUTHENTICATED)
    const stranger = await authority(t, createRoot({ organization: 'other', validityMs: hour }))
    const good = await authority(t)
    const cases = [
      options(refusing.address, () => root.certPem),
      options(stranger.address, () => root.certPem),
      { ...options(good.address, () => root.certPem), serverName: 'other.svc' },
    ]
    for (const one of cases) {
      using sign = createCaClient(one)
      using certificates = new Certificates({ sign, log: { warn() {} } })
      await t.rejects(certificates.get(id, never), { code: 'identity-unavailable' })
    }
    t.equal(stranger.seen.length + good.seen.length, 0)
  },
)

t.test('a changed root is used from the next request on', async (t) => {
  const next = createRoot({ organization: 'next', validityMs: hour })
  const { address } = await authority(t, next)
  let believed = root.certPem
  using sign = createCaClient(options(address, () => believed))
  await t.rejects(sign('csr', id, never), { code: 'identity-unavailable' })
  believed = next.certPem
  await t.rejects(sign('csr', id, never), { message: /INVALID_ARGUMENT/ }, 'the server is reached')
})

t.test('a request can be given up', async (t) => {
  const { address } = await authority(t)
  using sign = createCaClient(options(address, () => root.certPem))
  const stop = new AbortController()
  const pending = sign('csr', id, stop.signal)
  stop.abort(new Error('enough'))
  await t.rejects(pending, { message: 'enough' })
})
