import { Counter, Gauge, type Registry } from '#telemetry'
import type { Refusal } from './trust.ts'

export type Reporter = 'source' | 'destination'

/** What the identity room counts. */
export type IdentityMetrics = Readonly<{
  renewed(): void
  renewalFailed(): void
  /** Not even queued: the node has too many identities. */
  notPrepared(): void
  skewed(seconds: number): void
  crlFailed(): void
  crlEntries(entries: number): void
  refused(reporter: Reporter, reason: Refusal): void
  /** A peer whose certificate is revoked: not let in, or its connection ended. */
  revoked(reporter: Reporter): void
  /** A connection whose chain we could not follow, so that no list can end it. */
  untracked(): void
}>

/** Identity metrics; those with `istio_` are ztunnel's. */
export function identityMetrics(registry: Registry): IdentityMetrics {
  const registers = [registry]
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ name, help, labelNames, registers })
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers })
  const renewed = counter('lateen_certificate_renewals_total', 'Certificates received from the CA (unstable)')
  const renewalFailed = counter(
    'lateen_certificate_renewal_failures_total',
    'Requests to the CA that gave no certificate (unstable)',
  )
  const notPrepared = counter(
    'lateen_certificates_not_prepared_total',
    'Identities beyond the limit of a node, not prepared ahead of need (unstable)',
  )
  const skew = gauge(
    'lateen_clock_skew_seconds',
    'Least difference between our clock and the CA that the last certificate shows, 0 if none (unstable)',
  )
  const crlFailed = counter(
    'lateen_crl_load_failures_total',
    'Revocation lists that could not be loaded (unstable)',
  )
  const crlEntries = gauge('lateen_crl_entries', 'Revoked certificates in the lists held (unstable)')
  const refused = counter(
    'lateen_peers_refused_total',
    'Handshakes refused because of the peer (unstable)',
    'reporter',
    'reason',
  )
  const revoked = counter(
    'istio_crl_policy_rejections_total',
    'The total number of connections rejected or ended because of a revoked certificate (unstable)',
    'reporter',
  )
  const untracked = counter(
    'istio_crl_untracked_connections_total',
    'The total number of connections that cannot be checked for revocation again (unstable)',
  )
  return {
    renewed: () => renewed.inc(),
    renewalFailed: () => renewalFailed.inc(),
    notPrepared: () => notPrepared.inc(),
    skewed: (seconds) => skew.set(seconds),
    crlFailed: () => crlFailed.inc(),
    crlEntries: (entries) => crlEntries.set(entries),
    refused: (reporter, reason) => refused.inc({ reporter, reason }),
    revoked: (reporter) => revoked.inc({ reporter }),
    untracked: () => untracked.inc(),
  }
}
