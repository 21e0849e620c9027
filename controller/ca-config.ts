import { z } from 'zod'
import { duration, flag } from './variables.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** A leaf that lives longer than Istio's longest could not be got rid of without revocation lists. */
const maxWorkloadMs = 90 * dayMs
/** Clocks differ by two minutes and proxies renew at half-life: shorter ones would be renewed all the time. */
const minWorkloadMs = 60_000
const maxRootMs = 20 * 365 * dayMs

const between = (least: number, most: number, words: string) =>
  duration.refine((ms) => ms >= least && ms <= most, `must be ${words}`)
const notDone = (why: string) =>
  z
    .string()
    .refine((text) => text === '', why)
    .optional()

/** What the CA is told by the environment; names and defaults as Istio's. */
export const caVariables = {
  DEFAULT_WORKLOAD_CERT_TTL: between(minWorkloadMs, maxWorkloadMs, 'from 1m to 2160h').default(dayMs),
  MAX_WORKLOAD_CERT_TTL: between(minWorkloadMs, maxWorkloadMs, 'from 1m to 2160h').optional(),
  CITADEL_SELF_SIGNED_CA_CERT_TTL: between(dayMs, maxRootMs, 'from 24h to 175200h').default(87_600 * hourMs),
  CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL: between(60_000, dayMs, 'from 1m to 24h').default(hourMs),
  CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE: z.coerce.number().int().min(1).max(90).default(20),
  CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR: flag.optional(),
  CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: z.string().optional(),
  USE_CACERTS_FOR_SELF_SIGNED_CA: flag.default(false),
  ENABLE_CLUSTER_TRUST_BUNDLE_API: flag.default(false),
  PILOT_CA_CERT_CONFIGMAP: z.string().default('istio-ca-root-cert'),
  PILOT_CRL_CONFIGMAP: z.string().default('istio-ca-crl'),
  EXTERNAL_CA: notDone('certificates are signed here and by nobody else; unset it'),
}

const Variables = z.object(caVariables)
type Given = z.infer<typeof Variables>

/** How long certificates live, and when the self-signed root is renewed; throws nothing. */
export const caSettings = (e: Given) => ({
  /** Whoever asks for more than `maxMs` gets that much. */
  workload: {
    defaultMs: Math.min(e.DEFAULT_WORKLOAD_CERT_TTL, e.MAX_WORKLOAD_CERT_TTL ?? maxWorkloadMs),
    maxMs: e.MAX_WORKLOAD_CERT_TTL ?? Math.max(dayMs, e.DEFAULT_WORKLOAD_CERT_TTL),
  },
  root: {
    lifetimeMs: e.CITADEL_SELF_SIGNED_CA_CERT_TTL,
    checkMs: e.CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL,
    renewalPart: e.CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE / 100,
  },
  unheeded: unheeded(e),
})

/** Variables of Istio's that ask for what is done in another way here; said in the log, once. */
function unheeded(e: Given): readonly string[] {
  const said: readonly (readonly [boolean, string])[] = [
    [
      e.DEFAULT_WORKLOAD_CERT_TTL > (e.MAX_WORKLOAD_CERT_TTL ?? maxWorkloadMs),
      'DEFAULT_WORKLOAD_CERT_TTL: longer than MAX_WORKLOAD_CERT_TTL, which holds',
    ],
    [
      e.CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR === true,
      'CITADEL_ENABLE_JITTER_FOR_ROOT_CERT_ROTATOR: not needed; only the leader renews the root',
    ],
    [
      e.CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE !== undefined,
      'CITADEL_SELF_SIGNED_CA_RSA_KEY_SIZE: our own roots have P-256 keys; plug in a CA for another',
    ],
    [
      e.USE_CACERTS_FOR_SELF_SIGNED_CA,
      'USE_CACERTS_FOR_SELF_SIGNED_CA: our own root is kept in Secret istio-ca-secret; cacerts is used if it exists',
    ],
    [
      e.ENABLE_CLUSTER_TRUST_BUNDLE_API,
      'ENABLE_CLUSTER_TRUST_BUNDLE_API: roots are published in ConfigMaps only, which every Istio data plane mounts',
    ],
    [
      e.PILOT_CA_CERT_CONFIGMAP !== 'istio-ca-root-cert',
      'PILOT_CA_CERT_CONFIGMAP: roots are published as istio-ca-root-cert',
    ],
    [e.PILOT_CRL_CONFIGMAP !== 'istio-ca-crl', 'PILOT_CRL_CONFIGMAP: lists are published as istio-ca-crl'],
  ]
  return said.filter(([isAsked]) => isAsked).map(([, sentence]) => sentence)
}
