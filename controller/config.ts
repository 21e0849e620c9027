import { hostname } from 'node:os'
import { z } from 'zod'
import { MeshError, parseCidr } from '#base'
import { caSettings, caVariables } from './ca-config.ts'
import { classOptions, gatewayVariables } from './gateway-config.ts'
import { duration, flag } from './variables.ts'

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
)
const port = z.coerce.number().int().min(0).max(65_535)
const block = (length: number) =>
  z.string().transform((text, ctx) => {
    const range = parseCidr(text)
    if (range !== undefined && range.bytes.length === length) return range
    ctx.addIssue(`not a block of IPv${length === 4 ? 4 : 6} addresses`)
    return z.NEVER
  })
const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)

const Env = z.object({
  POD_NAMESPACE: name.default('istio-system'),
  POD_NAME: z.string().min(1).optional(),
  CLUSTER_ID: z.string().min(1).default('Kubernetes'),
  TRUST_DOMAIN: name.optional(),
  DOMAIN_SUFFIX: name.default('cluster.local'),
  TOKEN_AUDIENCES: list.default(['istio-ca']),
  CA_TRUSTED_NODE_ACCOUNTS: list.optional(),
  PILOT_DEBOUNCE_AFTER: duration.default(100),
  PILOT_DEBOUNCE_MAX: duration.default(10_000),
  AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY: flag.default(false),
  PILOT_AUTO_ALLOW_WAYPOINT_POLICY: flag.default(false),
  PILOT_IP_AUTOALLOCATE_IPV4_PREFIX: block(4).prefault('240.240.0.0/16'),
  PILOT_IP_AUTOALLOCATE_IPV6_PREFIX: block(16).prefault('2001:2::/48'),
  ISTIOD_CUSTOM_HOST: list.default([]),
  XDS_PORT: port.default(15_012),
  XDS_PLAINTEXT_PORT: port.optional(),
  WEBHOOK_PORT: port.default(15_017),
  MONITORING_PORT: port.default(15_014),
  READINESS_PORT: port.default(8080),
  REVISION: name.or(z.literal('')).default('default'),
  WAYPOINT_IMAGE: z.string().min(1).default('lateen:dev'),
  CA_ADDR: z.string().min(1).optional(),
  ...caVariables,
  ...gatewayVariables,
  LEASE_DURATION: duration.refine((ms) => ms >= 1000, 'at least 1s').default(15_000),
  LOG_LEVEL: z.string().default('info'),
  LOG_FORMAT: z.enum(['plain', 'json']).default('plain'),
})

export type Config = Readonly<ReturnType<typeof parseConfig>>

/** Istio's charts give the revision without a name an empty one. */
const revisionOf = (revision: string) => revision || 'default'
const serviceOf = (revision: string) => (revisionOf(revision) === 'default' ? 'istiod' : `istiod-${revision}`)

/** The environment, once and completely; throws one error that names every bad variable. */
export function parseConfig(env: NodeJS.ProcessEnv) {
  const parsed = Env.safeParse(env)
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    throw new MeshError('bad-config', { message: `bad environment: ${problems.join('; ')}` })
  }
  const e = parsed.data
  return {
    namespace: e.POD_NAMESPACE,
    podName: e.POD_NAME ?? hostname(),
    clusterId: e.CLUSTER_ID,
    /** Undefined: as the mesh ConfigMap says. */
    trustDomain: e.TRUST_DOMAIN,
    domain: e.DOMAIN_SUFFIX,
    audiences: e.TOKEN_AUDIENCES,
    ca: caSettings(e),
    trustedAccounts: e.CA_TRUSTED_NODE_ACCOUNTS ?? [`${e.POD_NAMESPACE}/ztunnel`],
    debounceMs: e.PILOT_DEBOUNCE_AFTER,
    debounceMaxMs: e.PILOT_DEBOUNCE_MAX,
    dryRunPolicies: e.AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY,
    allowWaypoints: e.PILOT_AUTO_ALLOW_WAYPOINT_POLICY,
    /** Where the addresses of ServiceEntries come from. */
    vipRanges: { v4: e.PILOT_IP_AUTOALLOCATE_IPV4_PREFIX, v6: e.PILOT_IP_AUTOALLOCATE_IPV6_PREFIX },
    customHosts: e.ISTIOD_CUSTOM_HOST,
    ports: {
      xds: e.XDS_PORT,
      /** Undefined: not served. Istio's is 15010. */
      plaintextXds: e.XDS_PLAINTEXT_PORT,
      webhook: e.WEBHOOK_PORT,
      monitoring: e.MONITORING_PORT,
      readiness: e.READINESS_PORT,
    },
    /** Which Gateways are ours; see gateways/revision.ts. */
    revision: revisionOf(e.REVISION),
    waypointImage: e.WAYPOINT_IMAGE,
    gatewayClasses: classOptions(e),
    copiesWords: e.PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS,
    /** Where waypoints find us. */
    caAddress: e.CA_ADDR ?? `${serviceOf(e.REVISION)}.${e.POD_NAMESPACE}.svc:15012`,
    /** For how long one who leads is believed without a renewal. */
    lease: { leaseMs: e.LEASE_DURATION, retryMs: e.LEASE_DURATION / 5 },
    log: { filter: e.LOG_LEVEL, format: e.LOG_FORMAT },
  }
}
