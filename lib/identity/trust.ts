import type { X509Certificate } from 'node:crypto'
import { MeshError } from '#base'
import { type Chain, chainOf, isAnchored } from './chain.ts'
import type { IdentityMetrics, Reporter } from './metrics.ts'
import type { Revocations } from './revocations.ts'
import type { SpiffeId } from './spiffe.ts'
import type { KeyExchange } from './tls.ts'
import type { WorkloadCertificate } from './workload-certificate.ts'

/** Why a peer was not let in. */
export type Refusal =
  | 'handshake'
  | 'timeout'
  | 'no-certificate'
  | 'untrusted'
  | 'expired'
  | 'not-yet-valid'
  | 'revoked'
  | 'not-a-workload'
  | 'unexpected-identity'
  | 'protocol'

/** What every connection of a proxy is judged by, at its handshake and for as long as it is open. */
export type Trust = Readonly<{
  /** The certificate that `id` shows now: a connection that was made with another one is drained. */
  current?: (id: SpiffeId) => WorkloadCertificate | undefined
  revocations?: Revocations | undefined
  keyExchange?: KeyExchange | undefined
  metrics?: Pick<IdentityMetrics, 'refused' | 'revoked' | 'untracked'> | undefined
}>

/** What is to become of an open connection. */
export type Standing =
  | { kind: 'good' }
  | { kind: 'drain'; reason: string }
  | { kind: 'end'; error: MeshError }

/** The standing of an authenticated peer while its connection is open. */
export type Peer = Readonly<{
  id: SpiffeId
  standing(graceMs: number): Standing
  /** Calls `listener` when the standing may have changed before the next look at it. */
  onChange(listener: () => void): Disposable
}>

type PeerFacts = Readonly<{
  id: SpiffeId
  leaf: X509Certificate
  own: WorkloadCertificate
  reporter: Reporter
}>

const end = (code: 'tls-failed' | 'cert-revoked', message: string): Standing => ({
  kind: 'end',
  error: new MeshError(code, { message }),
})

/**
 * The peer of a finished handshake, or that its certificate is revoked, or that nobody could find out: where there are
 * lists, a chain that we cannot follow is refused. OpenSSL has followed it, so somebody has gone to some length.
 */
export function admitPeer(
  { id, leaf, own, reporter }: PeerFacts,
  { current, revocations, metrics }: Trust,
  clock: Readonly<{ now(): number; monotonic(): number }> = systemTime,
): Peer | 'revoked' | 'untracked' {
  const chain = chainOf(leaf, own)
  const isRevoked = () => revocations?.isRevoked(chain) === true
  if (isRevoked()) {
    metrics?.revoked(reporter)
    return 'revoked'
  }
  if (revocations && !chain.complete) {
    metrics?.untracked()
    return 'untracked'
  }
  const expiresAt = clock.monotonic() + lifeLeft(leaf, clock.now())
  const standing = (graceMs: number): Standing => {
    if (isRevoked()) {
      metrics?.revoked(reporter)
      return end('cert-revoked', 'certificate of the peer has been revoked')
    }
    const over = clock.monotonic() - expiresAt
    if (over > graceMs) return end('tls-failed', 'certificate of the peer has expired')
    const next = current?.(own.id)
    if (next && !believes(next, own, chain))
      return end('tls-failed', "the root of the peer's certificate is not trusted any more")
    if (over > 0) return { kind: 'drain', reason: 'certificate of the peer has expired' }
    if (next && !sameLeaf(next, own)) return { kind: 'drain', reason: 'our certificate has been renewed' }
    return { kind: 'good' }
  }
  return { id, standing, onChange: (listener) => revocations?.onChange(listener) ?? nothing }
}

/** TLS has verified the chain with the roots of `own`; a chain that we cannot follow ends with any change of them. */
const believes = (next: WorkloadCertificate, own: WorkloadCertificate, chain: Chain): boolean =>
  next === own || sameRoots(next, own) || isAnchored(chain, next)

/** By content: a worker thread holds copies. */
const sameLeaf = (a: WorkloadCertificate, b: WorkloadCertificate): boolean =>
  a === b || a.chainPem[0] === b.chainPem[0]

const sameRoots = (a: WorkloadCertificate, b: WorkloadCertificate): boolean =>
  a.rootsPem.length === b.rootsPem.length && a.rootsPem.every((pem, i) => pem === b.rootsPem[i])

/**
 * Counted on from the handshake, so that a jump of the clock neither ends a connection nor keeps it alive; a clock that
 * was wrong at the handshake adds at most the certificate's own lifetime.
 */
function lifeLeft({ validFromDate, validToDate }: X509Certificate, now: number): number {
  const life = validToDate.getTime() - validFromDate.getTime()
  return Math.min(life, validToDate.getTime() - now)
}

const nothing: Disposable = { [Symbol.dispose]: () => undefined }
const systemTime = { now: Date.now, monotonic: () => performance.now() }
