import { Counter, Gauge, type Registry } from '#telemetry'
import type { Refusal } from './trust.ts'

export type Reporter = 'source' | 'destination'

/** The certificates of a node at one moment. */
export type HeldCertificates = Readonly<{
  available: number
  unavailable: number
  /** Not renewed with less than a quarter of their lives left. */
  late: number
  /** Infinity where there is none. */
  nextExpiryMs: number
}>

/** What the identity room counts. */
export type IdentityMetrics = Readonly<{
  renewed(): void
  renewalFailed(): void
  /** Not even queued: the node has too many identities. */
  notPrepared(): void
  skewed(seconds: number): void
  /** Where to look when somebody asks. */
  held(look: () => HeldCertificates): void
  crlFailed(): void
  refused(reporter: Reporter, reason: Refusal): void
  /** A peer whose certificate is revoked: not let in, or its connection ended. */
  revoked(reporter: Reporter): void
  /** A peer whose chain we could not follow, so that no list could end it; it is refused. */
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
    held: (look) => heldGauges(registry, look),
    crlFailed: () => crlFailed.inc(),
    refused: (reporter, reason) => refused.inc({ reporter, reason }),
    revoked: (reporter) => revoked.inc({ reporter }),
    untracked: () => untracked.inc(),
  }
}

function heldGauges(registry: Registry, look: () => HeldCertificates): void {
  const gauge = (name: string, help: string, value: (held: HeldCertificates) => number) => {
    const made: Gauge = new Gauge({
      name,
      help,
      registers: [registry],
      collect: () => made.set(value(look())),
    })
  }
  gauge('lateen_certificates_available', 'Identities with a good certificate (unstable)', (h) => h.available)
  gauge(
    'lateen_certificates_unavailable',
    'Identities without a good certificate (unstable)',
    (h) => h.unavailable,
  )
  gauge(
    'lateen_certificates_late',
    'Certificates not renewed with less than a quarter of their lives left; must be 0 (unstable)',
    (h) => h.late,
  )
  gauge(
    'lateen_certificate_next_expiry_timestamp_seconds',
    'When the first certificate expires, 0 if there is none (unstable)',
    ({ nextExpiryMs }) => (Number.isFinite(nextExpiryMs) ? nextExpiryMs / 1_000 : 0),
  )
}
