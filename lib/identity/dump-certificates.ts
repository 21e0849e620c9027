import type { CertificateState } from './certificates.ts'
import { certificateFacts } from './pem.ts'

/** Certificates as istioctl reads them: PEM in base64, serial in decimal, times to the second, sorted. Never a key. */
export const dumpCertificates = (states: readonly CertificateState[]): unknown[] =>
  [...states]
    .sort((a, b) => a.id.localeCompare(b.id))
    .map(({ id, state, certificate, error }) => ({
      identity: id,
      state: {
        initializing: 'Initializing',
        available: 'Available',
        unavailable: `Unavailable: ${error ?? 'no certificate'}`,
      }[state],
      certChain: certificate?.chainPem.map(dumpOne) ?? [],
      rootCerts: certificate?.rootsPem.map(dumpOne) ?? [],
    }))

function dumpOne(pem: string): unknown {
  const { notBefore, notAfter, serial } = certificateFacts(pem)
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${serial}`).toString(),
    validFrom: seconds(notBefore),
    expirationTime: seconds(notAfter),
  }
}

const seconds = (date: Date) => date.toISOString().replace(/\.\d+Z$/, 'Z')
