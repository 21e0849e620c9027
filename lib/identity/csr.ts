import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  algorithmOf,
  altNames,
  extension,
  integer,
  oid,
  sequence,
  set,
  signed,
  tagged,
  verbatim,
} from './asn1.ts'
import { maxDerBytes, readSequence, tags } from './der.ts'
import type { KeyPair } from './keys.ts'
import { firstDer, toPem } from './pem.ts'
import { digestOf, isSignedBy } from './signatures.ts'
import type { SpiffeId } from './spiffe.ts'

/** A request for `id` in ztunnel's shape: empty subject, one critical SAN with the id as its only URI. */
export function createCsr({ id, key }: { id: SpiffeId; key: KeyPair }): string {
  const names = extension('2.5.29.17', true, altNames({ uris: [id] }))
  const request = sequence(
    integer(Buffer.from([0])),
    sequence(),
    verbatim(key.publicKey.export({ type: 'spki', format: 'der' })),
    tagged(0, sequence(oid('1.2.840.113549.1.9.14'), set(sequence(names)))),
  )
  return toPem('CERTIFICATE REQUEST', signed(request, key.privateKey, algorithmOf(key.privateKey)))
}

const curves = ['prime256v1', 'secp384r1', 'secp521r1']
const minRsaBits = 2048
const maxRsaBits = 8192

/** What a request asks to have signed, or why it is none. */
export type CsrAnswer = { publicKey: KeyObject } | { reject: string }

/** The key of a request whose sender has proved to hold it. The names asked for are not even read. */
export function parseCsr(pem: string): CsrAnswer {
  if (pem.length > 2 * maxDerBytes) return { reject: 'request too long' }
  const der = firstDer(pem, 'CERTIFICATE REQUEST') ?? firstDer(pem, 'NEW CERTIFICATE REQUEST')
  if (der === undefined || der.length > maxDerBytes) return { reject: 'not a certificate request' }
  const [request, algorithm, signature] = readSequence(der) ?? []
  const spki = request && readSequence(request.raw)?.[2]
  if (!request || !spki || !algorithm || signature?.tag !== tags.bitString) {
    return { reject: 'malformed certificate request' }
  }
  const digest = digestOf(algorithm)
  if (digest === undefined) return { reject: 'unsupported signature algorithm' }
  return proven(request.raw, spki.raw, digest, signature.value.subarray(1))
}

function proven(request: Buffer, spki: Buffer, digest: string, signature: Buffer): CsrAnswer {
  try {
    const publicKey = createPublicKey({ key: spki, type: 'spki', format: 'der' })
    if (!isStrong(publicKey)) return { reject: 'key too weak or of an unsupported kind' }
    return isSignedBy(request, digest, signature, publicKey)
      ? { publicKey }
      : { reject: 'signature does not match the key' }
  } catch {
    return { reject: 'unreadable key or signature' }
  }
}

function isStrong(key: KeyObject): boolean {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') return namedCurve !== undefined && curves.includes(namedCurve)
  return key.asymmetricKeyType === 'rsa' && modulusLength >= minRsaBits && modulusLength <= maxRsaBits
}
