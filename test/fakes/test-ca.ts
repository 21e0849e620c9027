import {
  createRoot,
  generateKeyPair,
  issueCertificate,
  type Issuer,
  parseCaAnswer,
  parseCsr,
  privateKeyPem,
  type SpiffeId,
  type WorkloadCertificate,
} from '#identity'

const hourMs = 3_600_000

/** A certificate authority in memory, made of the project's own parts. */
export type TestCa = Readonly<{
  rootPem: string
  /** With its key, for revocation lists. */
  root: Issuer
  /** What a CA service answers: leaf, then root. */
  sign(csrPem: string, id: SpiffeId, lifeMs?: number): string[]
  workload(id: SpiffeId, options?: { lifeMs?: number }): WorkloadCertificate
  /** A certificate for 127.0.0.1, ::1 and localhost. */
  server(): { keyPem: string; certPem: string }
}>

/** Certificates begin `backdateMs` ago. */
export function createTestCa({ backdateMs = 60_000 }: { backdateMs?: number } = {}): TestCa {
  const now = new Date(Date.now() - backdateMs)
  const root: Issuer = createRoot({ organization: 'test', validityMs: hourMs, now })
  const validity = (lifeMs = hourMs / 2) => ({
    notBefore: new Date(Date.now() - backdateMs),
    notAfter: new Date(Date.now() + lifeMs),
  })
  const sign = (csrPem: string, id: SpiffeId, lifeMs?: number) => {
    const csr = parseCsr(csrPem)
    if ('reject' in csr) throw new Error(csr.reject)
    const { publicKey } = csr
    return [
      issueCertificate({
        issuer: root,
        publicKey,
        uris: [id],
        ...validity(lifeMs),
        usages: ['serverAuth', 'clientAuth'],
      }),
      root.certPem,
    ]
  }
  return {
    rootPem: root.certPem,
    root,
    sign,
    workload: (id, { lifeMs } = {}) => {
      const { publicKey, privateKey } = generateKeyPair()
      const leaf = issueCertificate({
        issuer: root,
        publicKey,
        uris: [id],
        ...validity(lifeMs),
        usages: ['serverAuth', 'clientAuth'],
      })
      return parseCaAnswer([leaf, root.certPem], privateKey, id)
    },
    server: () => {
      const { publicKey, privateKey } = generateKeyPair()
      const certPem = issueCertificate({
        issuer: root,
        publicKey,
        commonName: 'test-server',
        dnsNames: ['localhost'],
        ipAddresses: ['127.0.0.1', '::1'],
        ...validity(),
        usages: ['serverAuth'],
      })
      return { certPem, keyPem: privateKeyPem(privateKey) }
    },
  }
}
