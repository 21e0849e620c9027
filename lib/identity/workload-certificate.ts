import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { MeshError } from '#base'
import { checkPeer } from './check-peer.ts'
import { privateKeyPem } from './keys.ts'
import { splitPem } from './pem.ts'
import type { SpiffeId } from './spiffe.ts'

/** What a workload shows to its peers, and the roots that it believes in. */
export type WorkloadCertificate = Readonly<{
  id: SpiffeId
  privateKeyPem: string
  /** Leaf first, without the root. */
  chainPem: readonly string[]
  rootsPem: readonly string[]
  notBefore: Date
  notAfter: Date
}>

const fail = (message: string, cause?: unknown) => new MeshError('identity-unavailable', { message, cause })

/** Istio allows a few intermediates; more is not a chain but an attack or a mistake. */
const maxChain = 16

/** The certificate in a CA's answer (leaf, intermediates, roots last); throws `identity-unavailable` when it does not fit. */
export function parseCaAnswer(
  certChain: readonly string[],
  key: KeyObject,
  expected: SpiffeId,
): WorkloadCertificate {
  if (certChain.length < 2) throw fail('the CA sent no root certificate')
  const rootsPem = splitPem(certChain.at(-1) ?? '')
  const chainPem = certChain.slice(0, -1).flatMap(splitPem)
  const [leafPem] = chainPem
  if (leafPem === undefined || rootsPem.length === 0) throw fail('the CA sent an unreadable certificate')
  if (chainPem.length + rootsPem.length > maxChain) throw fail('the CA sent too many certificates')
  if (![...chainPem, ...rootsPem].every(isReadable)) throw fail('the CA sent an unreadable certificate')
  const leaf = readLeaf(leafPem, key)
  const peer = checkPeer(leaf.raw)
  if (peer.kind === 'reject') throw fail(`the CA sent an unfit certificate: ${peer.reason}`)
  if (peer.id !== expected) throw fail(`the CA sent a certificate of ${peer.id} for ${expected}`)
  const { validFromDate: notBefore, validToDate: notAfter } = leaf
  return { id: expected, privateKeyPem: privateKeyPem(key), chainPem, rootsPem, notBefore, notAfter }
}

/** What cannot be read now would fail every handshake later. */
function isReadable(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

function readLeaf(pem: string, key: KeyObject): X509Certificate {
  try {
    const leaf = new X509Certificate(pem)
    if (leaf.checkPrivateKey(createPrivateKey(privateKeyPem(key)))) return leaf
  } catch (cause) {
    throw fail('the CA sent an unreadable certificate', cause)
  }
  throw fail('the CA sent a certificate for another key')
}
