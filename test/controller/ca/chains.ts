import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { createRoot, generateKeyPair, type Issuer, privateKeyPem } from '#identity'
import { boolean, extension, sequence, verbatim } from '../../../lib/identity/asn1.ts'
import { readSequence } from '../../../lib/identity/der.ts'
import { buildCertificate, ids, name } from '../../../lib/identity/issue.ts'

const dayMs = 24 * 3600_000

export const rootOf = (organization: string, days = 30): Issuer =>
  createRoot({ organization, validityMs: days * dayMs })

/** A CA below another, as a company's PKI gives one to a mesh. */
export function intermediateOf(root: Issuer, commonName: string, days = 20): Issuer {
  const keys = generateKeyPair()
  const subject = readSequence(
    readSequence(new X509Certificate(root.certPem).raw)?.[0]?.raw ?? Buffer.of(),
  )?.[5]
  const signer = createPrivateKey(root.keyPem)
  const certPem = buildCertificate({
    signer,
    issuer: verbatim(subject?.raw ?? Buffer.of()),
    subject: name(['corp'], commonName),
    publicKey: createPublicKey(keys.privateKey),
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + days * dayMs),
    extensions: [extension(ids.basicConstraints, true, sequence(boolean(true)))],
  })
  return { certPem, keyPem: privateKeyPem(keys.privateKey) }
}

/** What goes into `cacerts`. */
export const cacerts = (
  signer: Issuer,
  roots: readonly Issuer[],
  more: Record<string, string> = {},
): Record<string, string> => ({
  'ca-cert.pem': signer.certPem,
  'ca-key.pem': signer.keyPem,
  'cert-chain.pem': signer.certPem,
  'root-cert.pem': roots.map(({ certPem }) => certPem).join(''),
  ...more,
})
