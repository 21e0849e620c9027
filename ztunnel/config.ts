import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { MeshError, parseAddress } from '#base'
import type { HboneLimits } from '#hbone'
import { headersOf } from './credentials.ts'
import { meshConfig } from './mesh-config.ts'
import type { Tuning } from './proxy/index.ts'
import { fromProxyConfig } from './proxy-config.ts'
import type { PodName } from './state/index.ts'

/** `5m`, `30s`, `500ms` as milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h)$/, 'expected a duration such as 30s or 5m')
  .transform((text) => {
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[text.replace(/^\d+/, '')] ?? 1
    return Number.parseInt(text, 10) * unit
  })
/** Shorter is an error in the making, longer than the whole set-up of a connection (60 s) means nothing. */
const inWaits = (ms: number) => ms >= 50 && ms <= 60_000
const waits = 'expected 50ms to 60s'
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max)
const flag = z.enum(['true', 'false']).transform((text) => text === 'true')
const port = count(0, 65_535)
/** A number, `N%` of the processors, or 0 for all of them. */
const threads = z.string().regex(/^\d{1,3}%?$/, 'expected a number or a percentage')
/** `host:port`, with or without a scheme. */
const target = z
  .string()
  .transform((text) => text.replace(/^https?:\/\//, '').replace(/\/$/, ''))
  .refine((text) => /^.+:\d+$/.test(text), 'expected host:port')

/** An IP address with a port, or `localhost` with one. */
const listenAddress = z.string().transform((text, context) => {
  const address = parseAddress(text.replace(/^localhost:/, '127.0.0.1:'))
  if (!address) context.addIssue('expected an IP address with a port')
  return address ?? z.NEVER
})

/** `namespace/name/serviceaccount`. */
const workloadName = z.string().transform((text, context) => {
  const [namespace = '', name = '', serviceAccount = '', ...rest] = text.split('/')
  const whole = [namespace, name, serviceAccount].every((part) => part !== '') && rest.length === 0
  if (!whole) context.addIssue('expected namespace/name/serviceaccount')
  return { namespace, name, serviceAccount }
})

const istiod = 'istiod.istio-system.svc:15012'
const Env = z.object({
  PROXY_MODE: z.enum(['shared', 'dedicated']).default('shared'),
  /** Of the one workload that a dedicated ztunnel serves. */
  PROXY_WORKLOAD_INFO: workloadName.optional(),
  NODE_NAME: z.string().default(''),
  POD_NAME: z.string().default(''),
  POD_NAMESPACE: z.string().default(''),
  SERVICE_ACCOUNT: z.string().default(''),
  INSTANCE_IP: z.string().default('1.1.1.1'),
  CLUSTER_ID: z.string().default('Kubernetes'),
  NETWORK: z.string().default(''),
  XDS_ADDRESS: target.default(istiod),
  CA_ADDRESS: target.default(istiod),
  XDS_ROOT_CA: z.string().default('/var/run/secrets/istio/root-cert.pem'),
  CA_ROOT_CA: z.string().default('/var/run/secrets/istio/root-cert.pem'),
  ALT_XDS_HOSTNAME: z.string().optional(),
  ALT_CA_HOSTNAME: z.string().optional(),
  AUTH_TOKEN: z.string().default('/var/run/secrets/tokens/istio-token'),
  SECRET_TTL: duration.default(24 * 3_600_000),
  CRL_PATH: z.string().optional(),
  TLS12_ENABLED: flag.refine((wanted) => !wanted, 'TLS 1.2 is not spoken here').optional(),
  COMPLIANCE_POLICY: z.enum(['pqc']).optional(),
  /** Ours: how long a tunnel may go on after the certificate of its peer has expired. */
  PEER_EXPIRY_GRACE: duration.optional(),
  INPOD_UDS: z.string().default('/var/run/ztunnel/ztunnel.sock'),
  PACKET_MARK: count(1, 0xffff_ffff).optional(),
  ENABLE_ORIG_SRC: flag.optional(),
  CLUSTER_DOMAIN: z.string().default('cluster.local'),
  IPV6_ENABLED: flag.default(true),
  PREFERED_SERVICE_NAMESPACE: z.string().optional(),
  /** As Istio's proxy metadata, so also under its name with `ISTIO_META_`. */
  DNS_CAPTURE: flag.default(true),
  DNS_PROXY_ADDR: listenAddress.optional(),
  /** Ours: MeshConfig as YAML, out of ConfigMap istio. */
  MESH_CONFIG: meshConfig.optional(),
  /** Ours: what becomes of destinations that nobody has told us about; goes before MeshConfig's. */
  OUTBOUND_TRAFFIC_POLICY: z.enum(['ALLOW_ANY', 'REGISTRY_ONLY']).optional(),
  HTTP2_STREAM_WINDOW_SIZE: count(65_535, 1 << 30).optional(),
  HTTP2_CONNECTION_WINDOW_SIZE: count(65_535, 1 << 30).optional(),
  HTTP2_FRAME_SIZE: count(16_384, (1 << 24) - 1).optional(),
  /** What all workers together may keep for slow readers and slow peers. */
  HBONE_BUFFER_MB: count(16, 65_536).default(256),
  POOL_MAX_STREAMS_PER_CONNECTION: count(1, 65_535).optional(),
  POOL_UNUSED_RELEASE_TIMEOUT: duration.optional(),
  KEEPALIVE_ENABLED: flag.default(true),
  KEEPALIVE_TIME: duration.default(180_000),
  KEEPALIVE_INTERVAL: duration.default(180_000),
  KEEPALIVE_RETRIES: count(1, 127).default(9),
  USER_TIMEOUT_ENABLED: flag.default(false),
  LOCALHOST_APP_TUNNEL: flag.default(true),
  ENABLE_RESPONSE_BAGGAGE: flag.default(true),
  /** Ours: a connection on which nothing moves for so long is ended; by default never. */
  CONNECTION_IDLE_TIMEOUT: duration.default(0),
  /** Ours: ztunnel's fixed ten and five seconds. */
  CONNECT_TIMEOUT: duration.refine(inWaits, waits).default(10_000),
  WORKLOAD_TIMEOUT: duration.refine(inWaits, waits).default(5_000),
  CONNECTION_TERMINATION_DEADLINE: duration.optional(),
  TERMINATION_GRACE_PERIOD_SECONDS: count(0, 86_400).optional(),
  ZTUNNEL_WORKER_THREADS: threads.optional(),
  ZTUNNEL_RESOURCE_CPU_LIMIT: count(1, 1_024).optional(),
  /** Ours: megabytes of JavaScript heap after which a data worker is ended and replaced. */
  WORKER_HEAP_MB: count(16, 65_536).optional(),
  /** Ours: how long a released pod is still served. */
  RELEASE_GRACE: duration.default(3_000),
  RUST_LOG: z.string().default('info'),
  LOG_FORMAT: z.enum(['plain', 'json']).default('plain'),
  AUTHZ_POLICY_INFO_LOGGING: flag.default(false),
  ADMIN_PORT: port.default(15000),
  STATS_PORT: port.default(15020),
  READINESS_PORT: port.default(15021),
})
type Env = z.infer<typeof Env>

type Environment = Readonly<Record<string, string | undefined>>

/** How this ztunnel runs, in our own units. */
export type Config = Readonly<ReturnType<typeof parseConfig>>

/** Environment → configuration; throws `bad-config` with one line that names every bad variable. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>) {
  const set = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  )
  const given: Environment = { ...fromProxyConfig(set), ...set }
  const metadata = Object.fromEntries(
    ['DNS_CAPTURE', 'DNS_PROXY_ADDR'].map((name) => [name, given[`ISTIO_META_${name}`] ?? given[name]]),
  )
  const parsed = Env.safeParse({ ...given, ...metadata })
  const issues = parsed.success ? [] : parsed.error.issues
  const problems = [
    ...missing(given),
    ...unsupported(given),
    ...issues.map(({ path, message }) => `${path.join('.')}: ${message}`),
  ]
  if (!parsed.success || problems.length > 0)
    throw new MeshError('bad-config', { message: `bad environment: ${problems.join('; ')}` })
  const e = parsed.data
  const clusterId = given['ISTIO_META_CLUSTER_ID'] ?? e.CLUSTER_ID
  return {
    nodeName: e.NODE_NAME,
    clusterId,
    network: e.NETWORK,
    xds: {
      address: e.XDS_ADDRESS,
      root: e.XDS_ROOT_CA,
      serverName: e.ALT_XDS_HOSTNAME,
      headers: headersOf(given, 'XDS_HEADER_'),
    },
    ca: {
      address: e.CA_ADDRESS,
      root: e.CA_ROOT_CA,
      serverName: e.ALT_CA_HOSTNAME,
      headers: headersOf(given, 'CA_HEADER_'),
    },
    token: e.AUTH_TOKEN,
    certificateTtlMs: e.SECRET_TTL,
    crlPath: e.CRL_PATH,
    keyExchange: e.COMPLIANCE_POLICY ?? ('any' as const),
    agentSocket: e.INPOD_UDS,
    place: placeOf(e),
    mark: e.PACKET_MARK ?? (isShared(e) ? 0x539 : 0),
    // What it takes, NET_ADMIN and rules that bring answers back, a sidecar has only if somebody saw to it.
    keepSource: e.ENABLE_ORIG_SRC ?? isShared(e),
    ipv6: e.IPV6_ENABLED,
    registryOnly: registryOnly(e),
    dns: dnsOf(e),
    hbone: hboneLimits(e),
    tuning: tuningOf(e),
    drainMs: drainMs(e),
    workers: workerCount(e.ZTUNNEL_WORKER_THREADS, e.ZTUNNEL_RESOURCE_CPU_LIMIT),
    workerHeapMb: e.WORKER_HEAP_MB,
    bufferBytes: e.HBONE_BUFFER_MB * 2 ** 20, // a shift would be negative from 2 GiB on
    releaseMs: e.RELEASE_GRACE,
    log: { filter: e.RUST_LOG, format: e.LOG_FORMAT },
    policyInfoLogs: e.AUTHZ_POLICY_INFO_LOGGING,
    ports: { admin: e.ADMIN_PORT, stats: e.STATS_PORT, readiness: e.READINESS_PORT },
    node: nodeOf(e, clusterId, given),
    version: given['ISTIO_META_ISTIO_VERSION'] ?? 'unknown',
  }
}

/** Who we are to the control plane (ztunnel: xds/client.rs). */
const nodeOf = (e: Env, clusterId: string, given: Environment) => ({
  id: `ztunnel~${e.INSTANCE_IP}~${e.POD_NAME}.${e.POD_NAMESPACE}~${e.POD_NAMESPACE}.svc.cluster.local`,
  metadata: {
    NAME: e.POD_NAME,
    NAMESPACE: e.POD_NAMESPACE,
    INSTANCE_IPS: e.INSTANCE_IP,
    NODE_NAME: e.NODE_NAME,
    CLUSTER_ID: clusterId,
    ...istioMeta(given),
    ...istioMetaJson(given),
  },
})

/** Istio's settings that we have not; each with the only value that we can honour. */
const fixed: Readonly<Record<string, string | undefined>> = {
  ENABLE_PROXY: 'true',
  INPOD_PORT_REUSE: 'true', // the data workers share each port
  XDS_ON_DEMAND: 'false',
  TLS12_ENABLED: 'false',
  UNSTABLE_ENABLE_SOCKS5: 'false',
  FAKE_CA: 'false',
  LOCAL_XDS_PATH: undefined,
  LOCAL_XDS: undefined,
}

const unsupported = (given: Environment): readonly string[] =>
  Object.entries(fixed)
    .filter(([name, only]) => given[name] !== undefined && given[name] !== only)
    .map(([name, only]) => `${name}: not supported${only === undefined ? '' : ` but for ${only}`}`)

/** What only one of the two modes needs. */
function missing(given: Environment): readonly string[] {
  const needed = given['PROXY_MODE'] === 'dedicated' ? 'PROXY_WORKLOAD_INFO' : 'NODE_NAME'
  return given[needed] === undefined ? [`${needed}: needed in this PROXY_MODE`] : []
}

const isShared = (e: Env) => e.PROXY_MODE === 'shared'

/** Who this ztunnel works for. */
export type Place =
  | Readonly<{ kind: 'node' /** Our own pod, where we are told which it is. */; own: PodName | undefined }>
  | Readonly<{ kind: 'sidecar'; workload: PodName }>

function placeOf(e: Env): Place {
  if (e.PROXY_WORKLOAD_INFO && !isShared(e)) return { kind: 'sidecar', workload: e.PROXY_WORKLOAD_INFO }
  const own = { name: e.POD_NAME, namespace: e.POD_NAMESPACE, serviceAccount: e.SERVICE_ACCOUNT }
  const isKnown = Object.values(own).every((part) => part !== '')
  return { kind: 'node', own: isKnown ? own : undefined }
}

/** The DNS proxy of every pod; undefined where none is wanted. */
const dnsOf = (e: Env) =>
  e.DNS_CAPTURE
    ? {
        domain: e.CLUSTER_DOMAIN.toLowerCase().replace(/\.$/, ''),
        preferredNamespace: e.PREFERED_SERVICE_NAMESPACE,
        ipv6: e.IPV6_ENABLED,
        address: e.DNS_PROXY_ADDR,
        ownSearch: !isShared(e),
      }
    : undefined

const istioMeta = (given: Environment) =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([name]) => name.startsWith('ISTIO_META_'))
      .map(([name, value]) => [name.slice('ISTIO_META_'.length), value]),
  )

const jsonPrefix = 'ISTIO_METAJSON_'

/** The structured ones. */
const istioMetaJson = (given: Environment) =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([name]) => name.startsWith(jsonPrefix))
      .map(([name, value]) => [name.slice(jsonPrefix.length), parseJson(name, value)]),
  )

function parseJson(name: string, text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch {
    throw new MeshError('bad-config', { message: `bad environment: ${name}: not JSON` })
  }
}

const registryOnly = ({ OUTBOUND_TRAFFIC_POLICY: own, MESH_CONFIG: mesh }: Env): boolean =>
  own === undefined ? (mesh?.registryOnly ?? false) : own === 'REGISTRY_ONLY'

function hboneLimits(e: Env): Partial<HboneLimits> {
  const wanted = {
    streamWindow: e.HTTP2_STREAM_WINDOW_SIZE,
    connectionWindow: e.HTTP2_CONNECTION_WINDOW_SIZE,
    maxFrameBytes: e.HTTP2_FRAME_SIZE,
    maxPooledStreams: e.POOL_MAX_STREAMS_PER_CONNECTION,
    unusedReleaseMs: e.POOL_UNUSED_RELEASE_TIMEOUT,
    peerExpiryGraceMs: e.PEER_EXPIRY_GRACE,
  }
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined))
}

const tuningOf = (e: Env): Tuning => ({
  baggage: e.ENABLE_RESPONSE_BAGGAGE,
  loopbackTunnel: e.LOCALHOST_APP_TUNNEL,
  idleMs: e.CONNECTION_IDLE_TIMEOUT,
  dialMs: e.CONNECT_TIMEOUT,
  workloadMs: e.WORKLOAD_TIMEOUT,
  keepAlive: e.KEEPALIVE_ENABLED ? keepAliveOf(e) : undefined,
})

/** A user timeout is as long as silence may last (ztunnel: config.rs). */
const keepAliveOf = (e: Env) => {
  const { KEEPALIVE_TIME: idleMs, KEEPALIVE_INTERVAL: intervalMs, KEEPALIVE_RETRIES: probes } = e
  return {
    idleMs,
    intervalMs,
    probes,
    userTimeoutMs: e.USER_TIMEOUT_ENABLED ? idleMs + probes * intervalMs : 0,
  }
}

/** Beyond four a node's traffic seldom gains, and each worker has its own copy of the mesh. */
const maxDefaultWorkers = 4
/** What nobody asks for on purpose. */
const maxWorkers = 128

/**
 * One data worker per two processors unless somebody knows better: applications want processors too, and on two of them
 * a second worker was measured to cost a fifth of the new connections (`npm run bench`), since each warms up by itself.
 */
function workerCount(wanted: string | undefined, limit = Number.POSITIVE_INFINITY): number {
  const processors = availableParallelism()
  if (wanted === undefined) return Math.min(Math.ceil(processors / 2), limit, maxDefaultWorkers)
  const number = Number.parseInt(wanted, 10)
  const workers = wanted.endsWith('%') ? Math.ceil((processors * number) / 100) : number || processors
  return Math.min(Math.max(workers, 1), maxWorkers)
}

/** The kubelet kills after the grace period; we want to be done a little earlier (ztunnel: config.rs). */
function drainMs(e: Env): number {
  if (e.CONNECTION_TERMINATION_DEADLINE !== undefined) return e.CONNECTION_TERMINATION_DEADLINE
  const grace = e.TERMINATION_GRACE_PERIOD_SECONDS
  if (grace === undefined) return 5_000
  return (grace > 10 ? grace - 5 : Math.max(grace - 1, 1)) * 1_000
}
