import { z } from 'zod'
import { MeshError } from '#base'
import type { BackendChoice } from '../rules/index.ts'

const flag = z.enum(['true', 'false']).transform((text) => text === 'true')
const port = z.coerce.number().int().min(0).max(65_535)
const milliseconds = z.coerce.number().int().min(0).max(600_000)
const path = z.string().startsWith('/')
const names = z.string().transform((text) =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== ''),
)

/** Istio's names where Istio has one. */
const Env = z.object({
  NODE_NAME: z.string().min(1),
  POD_NAMESPACE: z.string().default('istio-system'),
  EXCLUDE_NAMESPACES: names.default(['kube-system']),
  ZTUNNEL_UDS_ADDRESS: path.default('/var/run/ztunnel/ztunnel.sock'),
  CNI_AGENT_RUN_DIR: path.default('/var/run/istio-cni'),
  AMBIENT_IPV6: flag.default(true),
  AMBIENT_DNS_CAPTURE: flag.default(false),
  NATIVE_NFTABLES: flag.default(false),
  FORCE_IPTABLES_BINARY: z.enum(['nft', 'legacy']).optional(),
  HOST_PROC: path.default('/host/proc'),
  HOST_NETNS: path.optional(),
  HOST_ROOT: z.string().default('/host'),
  CNI_BINARY: path.default('/opt/lateen/.build/istio-cni'),
  CNI_BIN_DIR: path.default('/host/opt/cni/bin'),
  CNI_NET_DIR: path.default('/host/etc/cni/net.d'),
  CNI_INSTALL: flag.default(true),
  CNI_LOG_LEVEL: z.string().default('info'),
  LOG_FORMAT: z.enum(['plain', 'json']).default('plain'),
  MONITORING_PORT: port.default(15014),
  HEALTH_PORT: port.default(8000),
  LATEEN_CNI_SETTLE_MS: milliseconds.default(1_000),
  LATEEN_CNI_DRAIN_MS: milliseconds.default(5_000),
  LATEEN_CNI_JOIN_MS: milliseconds.default(5_000),
  LATEEN_CNI_VERIFY_MS: milliseconds.min(100).default(30_000),
})

/** How this agent runs, in our own units. */
export type Config = Readonly<{
  nodeName: string
  /** The agent's own namespace: its pods pass the plugin unasked. */
  agentNamespace: string
  excludedNamespaces: readonly string[]
  zdsPath: string
  runDir: string
  ipv6: boolean
  dnsCapture: boolean
  backend: BackendChoice
  hostProc: string
  /** The node's network namespace, when this process is in another (as Istio's ALLOW_SWITCH_TO_HOST_NS). */
  hostNetns: string | undefined
  /** Where the node's root is mounted; netns paths of the runtime are below it. */
  hostRoot: string
  install: Readonly<{ binary: string; binDir: string; netDir: string }> | undefined
  log: Readonly<{ filter: string; format: 'plain' | 'json' }>
  ports: Readonly<{ monitoring: number; health: number }>
  times: Times
}>

type Times = Readonly<{
  /** Between taking the annotation away and touching the rules, so that controllers have told the peers. */
  settleMs: number
  /** At most, for connections in flight, after nothing new is captured any more. */
  drainMs: number
  /** How long connections older than the capture of a running pod are spared a reset. */
  joinMs: number
  /** Between two comparisons of all pods with the kernel. */
  verifyMs: number
}>

/** Environment → configuration; throws `bad-config` with one line that names every bad variable. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  const parsed = Env.safeParse(given)
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`)
    throw new MeshError('bad-config', { message: `bad environment: ${problems.join('; ')}` })
  }
  const e = parsed.data
  return {
    nodeName: e.NODE_NAME,
    agentNamespace: e.POD_NAMESPACE,
    excludedNamespaces: e.EXCLUDE_NAMESPACES,
    zdsPath: e.ZTUNNEL_UDS_ADDRESS,
    runDir: e.CNI_AGENT_RUN_DIR,
    ipv6: e.AMBIENT_IPV6,
    dnsCapture: e.AMBIENT_DNS_CAPTURE,
    backend: { nativeNftables: e.NATIVE_NFTABLES, iptables: e.FORCE_IPTABLES_BINARY },
    hostProc: e.HOST_PROC,
    hostNetns: e.HOST_NETNS,
    hostRoot: e.HOST_ROOT,
    install: e.CNI_INSTALL
      ? { binary: e.CNI_BINARY, binDir: e.CNI_BIN_DIR, netDir: e.CNI_NET_DIR }
      : undefined,
    log: { filter: e.CNI_LOG_LEVEL, format: e.LOG_FORMAT },
    ports: { monitoring: e.MONITORING_PORT, health: e.HEALTH_PORT },
    times: {
      settleMs: e.LATEEN_CNI_SETTLE_MS,
      drainMs: e.LATEEN_CNI_DRAIN_MS,
      joinMs: e.LATEEN_CNI_JOIN_MS,
      verifyMs: e.LATEEN_CNI_VERIFY_MS,
    },
  }
}
