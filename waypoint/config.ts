import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { MeshError, parseIp } from '#base'
import { spiffeId } from '#identity'

/** `5m`, `30s`, `500ms` as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h)$/, 'expected a duration such as 30s or 5m')
  .transform((text) => {
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[text.replace(/^\d+/, '')] ?? 1
    return Number.parseInt(text, 10) * unit
  })
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const port = count(0, 65_535)
const name = z.string().min(1)
/** `host:port`, with or without a scheme. */
const target = z
  .string()
  .transform((text) => text.replace(/^https?:\/\//, '').replace(/\/$/, ''))
  .refine((text) => /^.+:\d+$/.test(text), 'expected host:port')

/** Names are Istio's where it has one (facts: controlplane.md §2.3). */
const Env = z.object({
  POD_NAME: name,
  POD_NAMESPACE: name,
  SERVICE_ACCOUNT: name,
  INSTANCE_IP: z.string().refine((text) => parseIp(text) !== undefined, 'expected an IP address'),
  ISTIO_META_NODE_NAME: z.string().default(''),
  ISTIO_META_CLUSTER_ID: z.string().default('Kubernetes'),
  ISTIO_META_NETWORK: z.string().default(''),
  /** Of the Deployment; the Gateway's own name is a label of the pod. */
  ISTIO_META_WORKLOAD_NAME: z.string().default(''),
  TRUST_DOMAIN: z.string().default('cluster.local'),
  DOMAIN_SUFFIX: z.string().default('cluster.local'),
  CA_ADDR: target.default('istiod.istio-system.svc:15012'),
  /** The same as the CA's where it is not given. */
  XDS_ADDRESS: target.optional(),
  /** Ours: the roots of the control plane's certificate. */
  ROOT_CA: z.string().default('/var/run/secrets/istio/root-cert.pem'),
  ALT_XDS_HOSTNAME: z.string().optional(),
  AUTH_TOKEN: z.string().default('/var/run/secrets/tokens/istio-token'),
  POD_LABELS_FILE: z.string().default('/etc/istio/pod/labels'),
  SECRET_TTL: duration.default(24 * 3_600_000),
  CRL_PATH: z.string().optional(),
  COMPLIANCE_POLICY: z.enum(['pqc']).optional(),
  /** Ours: how long a client may say nothing before it is taken for one whose server speaks first. */
  PROTOCOL_DETECTION_TIMEOUT: duration
    .refine((ms) => ms >= 1 && ms <= 10_000, 'expected 1ms to 10s')
    .default(200),
  /**
   * Ours: how long a request may stand still, both ways; 0s is for ever. Istio sets no limit where Envoy has five minutes;
   * what is quiet for as long as a connection may be (1 h) is taken for lost.
   */
  STREAM_IDLE_TIMEOUT: duration.default(3_600_000),
  TERMINATION_GRACE_PERIOD_SECONDS: count(2, 86_400).default(30),
  /** Ours: how long connections of those who have not heard that we leave are still taken. */
  TERMINATION_LINGER: duration.refine((ms) => ms <= 60_000, 'expected at most 60s').default(2_000),
  /** Ours: in place of what the control plane says of access logs. */
  ACCESS_LOG_FORMAT: z.enum(['text', 'json', 'off']).optional(),
  RUST_LOG: z.string().default('info'),
  LOG_FORMAT: z.enum(['plain', 'json']).default('plain'),
  HBONE_PORT: port.default(15008),
  ADMIN_PORT: port.default(15000),
  STATS_PORT: port.default(15020),
  READINESS_PORT: port.default(15021),
  ENVOY_PROMETHEUS_PORT: port.default(15090),
})

type Environment = Readonly<Record<string, string | undefined>>

/** How this waypoint runs, in our own units. */
export type Config = Readonly<ReturnType<typeof parseConfig>>

/** Environment → configuration; throws `bad-config` with one line that names every bad variable. */
export function parseConfig(env: Environment) {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = Env.safeParse(given)
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    throw new MeshError('bad-config', { message: `bad environment: ${problems.join('; ')}` })
  }
  const e = parsed.data
  const pod = { name: e.POD_NAME, namespace: e.POD_NAMESPACE, serviceAccount: e.SERVICE_ACCOUNT }
  const { namespace, serviceAccount } = pod
  return {
    pod,
    address: e.INSTANCE_IP,
    identity: spiffeId({ trustDomain: e.TRUST_DOMAIN, namespace, serviceAccount }),
    gateway: { namespace, name: gatewayName(e) },
    nodeName: e.ISTIO_META_NODE_NAME,
    clusterId: e.ISTIO_META_CLUSTER_ID,
    network: e.ISTIO_META_NETWORK,
    domain: e.DOMAIN_SUFFIX,
    xds: { address: e.XDS_ADDRESS ?? e.CA_ADDR, serverName: e.ALT_XDS_HOSTNAME },
    ca: { address: e.CA_ADDR, root: e.ROOT_CA },
    token: e.AUTH_TOKEN,
    certificateTtlMs: e.SECRET_TTL,
    crlPath: e.CRL_PATH,
    keyExchange: e.COMPLIANCE_POLICY ?? ('any' as const),
    detectionMs: e.PROTOCOL_DETECTION_TIMEOUT,
    streamIdleMs: e.STREAM_IDLE_TIMEOUT,
    drainMs: drainMs(e.TERMINATION_GRACE_PERIOD_SECONDS),
    lingerMs: e.TERMINATION_LINGER,
    accessLog: e.ACCESS_LOG_FORMAT,
    log: { filter: e.RUST_LOG, format: e.LOG_FORMAT },
    ports: {
      hbone: e.HBONE_PORT,
      admin: e.ADMIN_PORT,
      stats: e.STATS_PORT,
      readiness: e.READINESS_PORT,
      envoyStats: e.ENVOY_PROMETHEUS_PORT,
    },
    node: nodeOf(e),
    version: given['ISTIO_META_ISTIO_VERSION'] ?? 'unknown',
  }
}

/** The kubelet kills after the grace period; we want to be done a little earlier. */
const drainMs = (graceSeconds: number) => (graceSeconds > 10 ? graceSeconds - 5 : graceSeconds - 1) * 1_000

/** Who we are to the control plane; the kind of a node is the first part of its id (Istio). */
const nodeOf = (e: z.infer<typeof Env>) => ({
  id: `waypoint~${e.INSTANCE_IP}~${e.POD_NAME}.${e.POD_NAMESPACE}~${e.POD_NAMESPACE}.svc.${e.DOMAIN_SUFFIX}`,
  metadata: {
    NAME: e.POD_NAME,
    NAMESPACE: e.POD_NAMESPACE,
    SERVICE_ACCOUNT: e.SERVICE_ACCOUNT,
    INSTANCE_IPS: e.INSTANCE_IP,
    CLUSTER_ID: e.ISTIO_META_CLUSTER_ID,
    NETWORK: e.ISTIO_META_NETWORK,
    WORKLOAD_NAME: e.ISTIO_META_WORKLOAD_NAME,
  },
})

const gatewayLabel = 'gateway.networking.k8s.io/gateway-name'

/** A Gateway's pods may have another name than it (`gateway.istio.io/name-override`); their label tells. */
function gatewayName(e: z.infer<typeof Env>): string {
  const labels = textOf(e.POD_LABELS_FILE)
  const line = labels.split('\n').find((one) => one.startsWith(`${gatewayLabel}="`))
  return line?.slice(gatewayLabel.length + 2, -1) ?? e.ISTIO_META_WORKLOAD_NAME
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
