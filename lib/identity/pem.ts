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

/** What people want to know of a certificate. */
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

/** The DER of every block of `label`, and the text around them. Linear, for files may be large. */
export function cutBlocks(pem: string, label: string): { ders: Buffer[]; rest: string } {
  const [begin, end] = [`-----BEGIN ${label}-----`, `-----END ${label}-----`]
  const ders: Buffer[] = []
  let rest = ''
  for (let at = 0; ; ) {
    const from = pem.indexOf(begin, at)
    const to = from < 0 ? -1 : pem.indexOf(end, from)
    if (to < 0) return { ders, rest: rest + pem.slice(at) }
    const body = pem.slice(from + begin.length, to)
    const isBlock = !/[^A-Za-z0-9+/=\s]/.test(body)
    if (isBlock) ders.push(Buffer.from(body, 'base64'))
    rest += pem.slice(at, isBlock ? from : from + begin.length)
    at = isBlock ? to + end.length : from + begin.length
  }
}

/** The DER of the first block of `label`; undefined when there is none. */
export const firstDer = (pem: string, label: string): Buffer | undefined => cutBlocks(pem, label).ders[0]
