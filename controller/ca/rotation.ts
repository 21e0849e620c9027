import { X509Certificate } from 'node:crypto'
import { splitPem } from '#identity'
import type { Authority } from './authority.ts'

/** What is different. */
export type Change = 'issuer' | 'roots' | 'revocations' | 'secret'
/** What to do with a CA Secret that has changed. */
export type Rotation =
  | Readonly<{ step: 'none' }>
  | Readonly<{ step: 'adopt'; change: Change }>
  | Readonly<{ step: 'refuse'; reason: 'root-in-use-missing' | 'root-not-published' }>

/** What an operator should do about it. */
export const rotationHints = {
  'root-in-use-missing':
    'root-cert.pem does not hold the root of the certificates in use; keep it there until all of them are renewed',
  'root-not-published':
    'the new issuer leads to a root that nobody trusts yet; first put that root into root-cert.pem beside the old one, and wait until all certificates are renewed',
} as const

const sameList = (a: readonly string[], b: readonly string[]) => a.join('') === b.join('')

/**
 * May `next` take over from `current` without cutting peers off from each other? Workloads learn of roots when their
 * certificates are renewed, so a root must be published before anything is signed under it, and outlast what was.
 */
export function rotationOf(current: Authority, next: Authority): Rotation {
  const issuer =
    current.issuer.certPem !== next.issuer.certPem ||
    current.issuer.keyPem !== next.issuer.keyPem ||
    !sameList(current.intermediates, next.intermediates)
  const roots = current.rootPem !== next.rootPem
  if (!issuer && !roots) {
    if (current.crlPem !== next.crlPem) return { step: 'adopt', change: 'revocations' }
    return current.source === next.source ? { step: 'none' } : { step: 'adopt', change: 'secret' }
  }
  if (!holds(next.rootPem, current.anchorPem)) return { step: 'refuse', reason: 'root-in-use-missing' }
  if (!holds(current.rootPem, next.anchorPem)) return { step: 'refuse', reason: 'root-not-published' }
  return { step: 'adopt', change: issuer ? 'issuer' : 'roots' }
}

/** The same name and key are the same root to whoever verifies with it, however long it lives. */
function holds(rootPem: string, anchorPem: string): boolean {
  const anchor = new X509Certificate(anchorPem)
  return splitPem(rootPem).some((pem) => {
    const root = new X509Certificate(pem)
    return root.subject === anchor.subject && root.publicKey.equals(anchor.publicKey)
  })
}
