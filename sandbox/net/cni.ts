import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isRecord, MeshError, messageOf } from '#base'
import type { NodeConfig } from '../config.ts'
import { netnsPath } from './sweep.ts'
import { quote, run } from './run.ts'

/** A port of the node that leads to one of a pod. */
export type PortMapping = Readonly<{
  hostPort: number
  containerPort: number
  protocol: 'tcp' | 'udp'
  hostIP?: string
}>

/** One pod's attachment. `netns` is the name of its file in the node's /var/run/netns. */
export type Attachment = Readonly<{
  containerId: string
  netns: string
  podName: string
  podNamespace: string
  podUid: string
  portMappings: readonly PortMapping[]
}>

type NetworkConfig = Readonly<Record<string, unknown>>
/** A plugin's result, handed on as it came: each plugin may add to it. */
type Result = Readonly<Record<string, unknown>>
type Chain = Readonly<{ name: string; cniVersion: string; plugins: readonly NetworkConfig[] }>
/** What a DEL needs to undo exactly what its ADD did, whatever the configuration says by then. */
type Cached = Readonly<{ attachment: Attachment; chain: Chain; result?: Result }>
type Command = 'ADD' | 'DEL'

/** Pod start waits for this; the mesh's plugin itself gives up much earlier. */
const addTimeoutMs = 60_000
const delTimeoutMs = 30_000
/** Debian's containernetworking-plugins. */
const systemPlugins = '/usr/lib/cni'
const loopback: Chain = { name: 'cni-loopback', cniVersion: '1.0.0', plugins: [{ type: 'loopback' }] }

const confDir = (node: NodeConfig) => `${node.root}/etc/cni/net.d`
const cacheFile = (node: NodeConfig, containerId: string) => `${node.root}/run/cni/cache/${containerId}.json`

/** The node's network: routed (ptp), without masquerade, or cross-node traffic would lose its source address. */
export const nodeConflist = (node: NodeConfig): Chain => ({
  cniVersion: '1.0.0',
  name: 'lateen-sandbox',
  plugins: [
    {
      type: 'ptp',
      ipMasq: false,
      mtu: 1500,
      ipam: {
        type: 'host-local',
        dataDir: '/run/cni/ipam',
        ranges: node.podCidrs.map((subnet) => [{ subnet }]),
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
})

/** Writes the node's network configuration, as a cluster's network provider does; others may chain themselves into it. */
export async function writeNodeConflist(node: NodeConfig): Promise<void> {
  await mkdir(confDir(node), { recursive: true })
  await writeJson(`${confDir(node)}/10-lateen.conflist`, nodeConflist(node))
}

/**
 * Attaches the pod's namespace: loopback, then every plugin of the node's chain as it is configured now. The
 * result's addresses come back, IPv4 first. After a failure `cniDel` must be called, as a container runtime does.
 */
export async function cniAdd(
  node: NodeConfig,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<{ readonly ips: readonly string[] }> {
  const chain = await readChain(node)
  await cache(node, { attachment, chain })
  await exec(
    node,
    'ADD',
    { attachment, chain: loopback, plugin: loopback.plugins[0] ?? {}, ifname: 'lo' },
    signal,
  )
  let result: Result | undefined
  for (const plugin of chain.plugins)
    result = await exec(
      node,
      'ADD',
      { attachment, chain, plugin, prevResult: result, ifname: 'eth0' },
      signal,
    )
  await cache(node, { attachment, chain, ...(result && { result }) })
  return { ips: addressesOf(result) }
}

/** Detaches it with what its ADD used, last plugin first. Unknown ids are fine; the first failure is thrown at the end. */
export async function cniDel(node: NodeConfig, containerId: string, signal: AbortSignal): Promise<void> {
  const cached = await readCached(node, containerId)
  if (!cached) return
  const { attachment, chain, result: prevResult } = cached
  const failures: unknown[] = []
  for (const plugin of chain.plugins.toReversed())
    await exec(node, 'DEL', { attachment, chain, plugin, prevResult, ifname: 'eth0' }, signal).catch(
      (error: unknown) => failures.push(error),
    )
  if (failures.length > 0) throw failures[0]
  await rm(cacheFile(node, containerId), { force: true })
}

/** The ids of the attachments that were made on this node and not undone. */
export async function attachedIds(node: NodeConfig): Promise<readonly string[]> {
  const names = await readdir(`${node.root}/run/cni/cache`).catch(() => [])
  return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length))
}

/** As libcni: the first file by name decides; a single plugin's .conf is a chain of one. */
async function readChain(node: NodeConfig): Promise<Chain> {
  const names = await readdir(confDir(node)).catch(() => [])
  for (const name of names.filter((each) => /\.(conflist|conf|json)$/.test(each)).sort()) {
    const chain = parseChain(await readFile(`${confDir(node)}/${name}`, 'utf8'))
    if (chain) return chain
  }
  throw new MeshError('unavailable', {
    message: `cni plugin not initialized: no valid configuration in /etc/cni/net.d`,
  })
}

/** undefined for anything that is no network configuration: another file may be valid. */
export function parseChain(text: string): Chain | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(parsed) || typeof parsed['name'] !== 'string') return undefined
  const cniVersion = typeof parsed['cniVersion'] === 'string' ? parsed['cniVersion'] : '0.3.1'
  const plugins = Array.isArray(parsed['plugins']) ? parsed['plugins'] : [parsed]
  const valid = plugins.filter(
    (each: unknown): each is NetworkConfig => isRecord(each) && typeof each['type'] === 'string',
  )
  if (valid.length === 0 || valid.length < plugins.length) return undefined
  return { name: parsed['name'], cniVersion, plugins: valid }
}

type Call = Readonly<{
  attachment: Attachment
  chain: Chain
  plugin: NetworkConfig
  prevResult?: Result | undefined
  ifname: string
}>

/** What the plugin reads on stdin. Capabilities get their runtimeConfig on DEL too: portmap would leave rules behind. */
export function pluginInput({ attachment, chain, plugin, prevResult }: Call): NetworkConfig {
  const { capabilities, ...rest } = plugin
  const wantsPorts = isRecord(capabilities) && capabilities['portMappings'] === true
  return {
    ...rest,
    name: chain.name,
    cniVersion: chain.cniVersion,
    ...(wantsPorts &&
      attachment.portMappings.length > 0 && { runtimeConfig: { portMappings: attachment.portMappings } }),
    ...(prevResult && { prevResult }),
  }
}

async function exec(
  node: NodeConfig,
  command: Command,
  call: Call,
  signal: AbortSignal,
): Promise<Result | undefined> {
  const { attachment, plugin, ifname } = call
  const type = String(plugin['type'])
  const ran = await run(onNode(node, type), {
    signal,
    timeoutMs: command === 'ADD' ? addTimeoutMs : delTimeoutMs,
    input: JSON.stringify(pluginInput(call)),
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerId,
      CNI_NETNS: `/var/run/netns/${attachment.netns}`,
      CNI_IFNAME: ifname,
      CNI_PATH: `/run/cni/bin:${systemPlugins}`,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${attachment.podNamespace};K8S_POD_NAME=${attachment.podName};K8S_POD_INFRA_CONTAINER_ID=${attachment.containerId};K8S_POD_UID=${attachment.podUid}`,
    },
  })
  if (ran.code !== 0)
    throw new MeshError('unavailable', {
      message: `plugin type="${type}" failed (${command.toLowerCase()}): ${saidBy(ran.stdout, ran.stderr)}`,
    })
  return parseResult(type, ran.stdout)
}

/**
 * The plugin as a node would run it: in the node's network, with the node's own /run, so that `/var/run/netns/x` and
 * the agent's socket under /var/run mean what they mean on a real node. Everything is exec'd, nothing stays behind.
 */
const onNode = (node: NodeConfig, type: string): readonly string[] => [
  'nsenter',
  `--net=${netnsPath(node.netns)}`,
  'unshare',
  '--mount',
  '--propagation=slave',
  'sh',
  '-ec',
  `mount --bind ${quote(`${node.root}/opt/cni/bin`)} ${quote(`${node.root}/run/cni/bin`)}
   mount --rbind ${quote(`${node.root}/run`)} /run
   for dir in /run/cni/bin ${systemPlugins}; do [ ! -x "$dir/$0" ] || exec "$dir/$0"; done
   echo "failed to find plugin \\"$0\\" in path [/opt/cni/bin ${systemPlugins}]" >&2
   exit 1`,
  type,
]

/** CNI errors are JSON on stdout: `msg` and `details`; otherwise whatever the plugin printed. */
export function saidBy(stdout: string, stderr: string): string {
  try {
    const error: unknown = JSON.parse(stdout)
    if (isRecord(error) && typeof error['msg'] === 'string')
      return [error['msg'], error['details']]
        .filter((part) => typeof part === 'string' && part !== '')
        .join('; ')
  } catch {
    // not JSON: fall through to the text
  }
  return stderr.trim() || stdout.trim() || 'no message'
}

function parseResult(type: string, stdout: string): Result | undefined {
  if (stdout.trim() === '') return undefined
  try {
    const parsed: unknown = JSON.parse(stdout)
    if (isRecord(parsed)) return parsed
  } catch (cause) {
    throw new MeshError('unavailable', {
      cause,
      message: `plugin type="${type}" printed no JSON: ${messageOf(cause)}`,
    })
  }
  throw new MeshError('unavailable', { message: `plugin type="${type}" printed no result` })
}

/** `10.244.1.5/24` → `10.244.1.5`, IPv4 before IPv6. */
function addressesOf(result: Result | undefined): readonly string[] {
  const ips: readonly unknown[] = Array.isArray(result?.['ips']) ? result['ips'] : []
  return ips
    .flatMap((each) => (isRecord(each) && typeof each['address'] === 'string' ? [each['address']] : []))
    .map((address) => address.split('/')[0] ?? address)
    .sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')))
}

async function cache(node: NodeConfig, cached: Cached): Promise<void> {
  await mkdir(`${node.root}/run/cni/cache`, { recursive: true })
  await writeJson(cacheFile(node, cached.attachment.containerId), cached)
}

async function readCached(node: NodeConfig, containerId: string): Promise<Cached | undefined> {
  const text = await readFile(cacheFile(node, containerId), 'utf8').catch(() => undefined)
  // Only this file's own `cache` writes it, whole, so its shape is known.
  return text === undefined ? undefined : (JSON.parse(text) as Cached)
}

/** Readers see the old file or the new one. */
async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.tmp`, JSON.stringify(value, undefined, 1))
  await rename(`${path}.tmp`, path)
}
