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
/** The post-quantum hybrid first: both ends of a Lateen mesh use it; older peers choose one of the others. */
const groups = 'X25519MLKEM768:X25519:P-256:P-384'

const contexts = new WeakMap<WorkloadCertificate, SecureContext>()

/** One context per certificate: parsing keys and roots for each connection would cost more than its handshake. */
function contextOf(certificate: WorkloadCertificate): SecureContext {
  const known = contexts.get(certificate)
  if (known) return known
  const context = createSecureContext({
    key: certificate.privateKeyPem,
    cert: certificate.chainPem.join(''),
    ca: [...certificate.rootsPem],
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers,
    ecdhCurve: groups,
    // Without tickets there is no resumption, which in Node would skip every certificate check.
    secureOptions:
      constants.SSL_OP_NO_TICKET |
      constants.SSL_OP_NO_RENEGOTIATION |
      constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
  })
  contexts.set(certificate, context)
  return context
}

const common = (certificate: WorkloadCertificate) => ({
  secureContext: contextOf(certificate),
  ALPNProtocols: ['h2'],
  rejectUnauthorized: true,
})

/** TLS options of an HBONE server; the caller still has to check chain, ALPN, resumption and identity. */
export const serverTls = (certificate: WorkloadCertificate): TLSSocketOptions => ({
  ...common(certificate),
  isServer: true,
  requestCert: true,
})

/** TLS options of an HBONE client: no SNI and no host name, the identity is checked by the caller instead. */
export const clientTls = (certificate: WorkloadCertificate): ConnectionOptions => ({
  ...common(certificate),
  checkServerIdentity: () => undefined,
})
