import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** The keys of a certificate. */
export type KeyPair = Readonly<{ privateKey: KeyObject; publicKey: KeyObject }>

/** A new ECDSA P-256 key pair. */
export const generateKeyPair = (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })

/** PKCS#8 PEM of a private key. */
export const privateKeyPem = (key: KeyObject): string =>
  key.export({ type: 'pkcs8', format: 'pem' }).toString()

type Signature = Readonly<{ oid: string; bytes: Buffer; nullParameters: boolean }>

/** Signs `bytes` as X.509 wants it for the kind of `key`; plugged-in CAs may be RSA or P-384. */
export function signDer(bytes: Buffer, key: KeyObject): Signature {
  if (key.asymmetricKeyType === 'rsa') {
    return { oid: '1.2.840.113549.1.1.11', bytes: sign('sha256', bytes, key), nullParameters: true }
  }
  if (key.asymmetricKeyType !== 'ec') throw new RangeError(`cannot sign with a ${key.asymmetricKeyType} key`)
  return key.asymmetricKeyDetails?.namedCurve === 'secp384r1'
    ? { oid: '1.2.840.10045.4.3.3', bytes: sign('sha384', bytes, key), nullParameters: false }
    : { oid: '1.2.840.10045.4.3.2', bytes: sign('sha256', bytes, key), nullParameters: false }
}
