import { constants } from 'node:crypto'
import {
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type TLSSocketOptions,
} from 'node:tls'
import type { WorkloadCertificate } from './workload-certificate.ts'

/** ztunnel's suites in its order; no ChaCha20. */
const ciphers = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256'
/** `pqc` accepts nothing but the post-quantum hybrid (Istio: COMPLIANCE_POLICY). */
export type KeyExchange = 'any' | 'pqc'
/** The post-quantum hybrid first: both ends of a Lateen mesh use it; older peers choose one of the others. */
const groups: Record<KeyExchange, string> = {
  any: 'X25519MLKEM768:X25519:P-256:P-384',
  pqc: 'X25519MLKEM768',
}
/** What a peer may sign with, and its CAs: no SHA-1, no DSA. RSA with PKCS #1 is for certificates only in TLS 1.3. */
const sigalgs = [
  'ecdsa_secp256r1_sha256',
  'ecdsa_secp384r1_sha384',
  'ed25519',
  'rsa_pss_rsae_sha256',
  'rsa_pss_rsae_sha384',
  'rsa_pss_rsae_sha512',
  'rsa_pkcs1_sha256',
  'rsa_pkcs1_sha384',
  'rsa_pkcs1_sha512',
].join(':')

/** What every TLS channel of a Lateen node speaks, with peers and with the control plane. */
export const meshTls = (keyExchange: KeyExchange = 'any') =>
  ({ minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers, ecdhCurve: groups[keyExchange] }) as const

type Contexts = Partial<Record<KeyExchange, SecureContext>>
const contexts = new WeakMap<WorkloadCertificate, Contexts>()

/** One context per certificate: parsing keys and roots for each connection would cost more than its handshake. */
function contextOf(certificate: WorkloadCertificate, keyExchange: KeyExchange): SecureContext {
  const known = contexts.get(certificate) ?? {}
  contexts.set(certificate, known)
  return (known[keyExchange] ??= createSecureContext({
    key: certificate.privateKeyPem,
    cert: certificate.chainPem.join(''),
    ca: [...certificate.rootsPem],
    ...meshTls(keyExchange),
    sigalgs,
    // Without tickets there is no resumption, which in Node would skip every certificate check.
    secureOptions:
      constants.SSL_OP_NO_TICKET |
      constants.SSL_OP_NO_RENEGOTIATION |
      constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
  }))
}

const common = (certificate: WorkloadCertificate, keyExchange: KeyExchange) => ({
  secureContext: contextOf(certificate, keyExchange),
  ALPNProtocols: ['h2'],
  rejectUnauthorized: true,
})

/** TLS options of an HBONE server; the caller still has to check chain, ALPN, resumption and identity. */
export const serverTls = (
  certificate: WorkloadCertificate,
  keyExchange: KeyExchange = 'any',
): TLSSocketOptions => ({
  ...common(certificate, keyExchange),
  isServer: true,
  requestCert: true,
})

/** TLS options of an HBONE client: no SNI and no host name, the identity is checked by the caller instead. */
export const clientTls = (
  certificate: WorkloadCertificate,
  keyExchange: KeyExchange = 'any',
): ConnectionOptions => ({
  ...common(certificate, keyExchange),
  checkServerIdentity: () => undefined,
})
