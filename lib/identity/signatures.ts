import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { type Element, readSequence, tags } from './der.ts'

/** Signature algorithms that we believe, by the DER of their OID in hex. No SHA-1, no MD5, no bare RSA-PSS parameters. */
const digests: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
}

/** The digest of an AlgorithmIdentifier; undefined for one that we do not believe. */
export function digestOf(algorithm: Element | undefined): string | undefined {
  const method = algorithm && readSequence(algorithm.raw)?.[0]
  return method?.tag === tags.oid ? digests[method.value.toString('hex')] : undefined
}

/** Has the holder of `spki` signed `bytes`? Never throws. */
export function isSignedBy(
  bytes: Buffer,
  digest: string,
  signature: Buffer,
  spki: Buffer | KeyObject,
): boolean {
  try {
    const key = Buffer.isBuffer(spki) ? createPublicKey({ key: spki, type: 'spki', format: 'der' }) : spki
    return verify(
      digest,
      bytes,
      key.asymmetricKeyType === 'rsa' ? { key, padding: constants.RSA_PKCS1_PADDING } : key,
      signature,
    )
  } catch {
    return false
  }
}
