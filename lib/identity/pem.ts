import { X509Certificate } from 'node:crypto'

const block = (label: string) =>
  new RegExp(`-----BEGIN ${label}-----[A-Za-z0-9+/=\\s]+-----END ${label}-----`, 'g')

export const toPem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

/** The certificates in a text that may hold several, each as PEM of its own. */
export const splitPem = (text: string): string[] =>
  (text.match(block('CERTIFICATE')) ?? []).map((one) => `${one}\n`)

export type CertificateFacts = Readonly<{ notBefore: Date; notAfter: Date; serial: string; subject: string }>

/** Validity, serial number (hex) and subject of the first certificate of a PEM; throws when there is none. */
export function certificateFacts(pem: string): CertificateFacts {
  const { validFromDate, validToDate, serialNumber, subject } = new X509Certificate(pem)
  // Node leaves an empty subject undefined, whatever its types say.
  return {
    notBefore: validFromDate,
    notAfter: validToDate,
    serial: serialNumber.toLowerCase(),
    subject: subject ?? '',
  }
}

const derOf = (one: string) => Buffer.from(one.replace(/-----[^-]+-----/g, ''), 'base64')

/** The DER of every block of `label`, and the text around them. */
export const cutBlocks = (pem: string, label: string): { ders: Buffer[]; rest: string } => ({
  ders: (pem.match(block(label)) ?? []).map(derOf),
  rest: pem.replace(block(label), ''),
})

/** The DER of the first block of `label`; undefined when there is none. */
export const firstDer = (pem: string, label: string): Buffer | undefined => cutBlocks(pem, label).ders[0]
