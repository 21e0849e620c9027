import { parse } from 'yaml'
import { z } from 'zod'
import { isRecord, MeshError } from '#base'

const port = z.number().int().min(0).max(65_535)

/** What of Istio's ProxyConfig a ztunnel heeds (ztunnel: config.rs construct_proxy_config); the rest is for sidecars. */
const ProxyConfig = z.object({
  discoveryAddress: z.string().optional(),
  proxyAdminPort: port.optional(),
  statsPort: port.optional(),
  /** Threads; 0 is all processors. */
  concurrency: z.number().int().min(0).max(999).nullish(),
  proxyMetadata: z.record(z.string(), z.string()).optional(),
})

/**
 * The settings in `PROXY_CONFIG` and, behind them, in the `defaultConfig` of MeshConfig, under the names that they have
 * in the environment. What the environment itself says goes before both.
 */
export function fromProxyConfig(
  given: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const mesh = given['MESH_CONFIG'] === undefined ? undefined : read('MESH_CONFIG', given['MESH_CONFIG'])
  const base = isRecord(mesh) && isRecord(mesh['defaultConfig']) ? mesh['defaultConfig'] : {}
  const own = given['PROXY_CONFIG'] === undefined ? {} : read('PROXY_CONFIG', given['PROXY_CONFIG'])
  return { ...settingsOf('MESH_CONFIG defaultConfig', base), ...settingsOf('PROXY_CONFIG', own ?? {}) }
}

function settingsOf(where: string, value: unknown): Readonly<Record<string, string>> {
  const parsed = ProxyConfig.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw bad(`${where}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unreadable'}`)
  }
  const { discoveryAddress, proxyAdminPort, statsPort, concurrency, proxyMetadata = {} } = parsed.data
  const settings = {
    XDS_ADDRESS: discoveryAddress,
    ADMIN_PORT: proxyAdminPort,
    STATS_PORT: statsPort,
    ZTUNNEL_WORKER_THREADS: concurrency ?? undefined,
  }
  const metadata = Object.entries(proxyMetadata).map(
    ([name, text]) => [name.startsWith('ISTIO_META') ? name : `ISTIO_META_${name}`, text] as const,
  )
  const known = Object.entries(settings).flatMap(([name, setting]) =>
    setting === undefined ? [] : [[name, `${setting}`] as const],
  )
  return Object.fromEntries([...known, ...metadata])
}

function read(where: string, text: string): unknown {
  try {
    return parse(text)
  } catch {
    throw bad(`${where}: not YAML`)
  }
}

const bad = (message: string) => new MeshError('bad-config', { message: `bad environment: ${message}` })
