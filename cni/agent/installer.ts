import { type FSWatcher, watch } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord, messageOf, sleep } from '#base'
import type { Logger } from '#telemetry'
import type { Metrics } from './metrics.ts'

/** The plugin's name: its `type`, and its file in the node's directory of plugins. */
const pluginType = 'istio-cni'
/** How often the node's configuration is looked at if nothing is heard of a change. */
const checkMs = 2_000
/** Files are written in several steps; one look for all of them. */
const settleMs = 20

export type PluginSettings = Readonly<{
  /** On the node, where the plugin runs. */
  runDir: string
  agentNamespace: string
  excludedNamespaces: readonly string[]
  nativeNftables: boolean
  logLevel: string
}>
type InstallOptions = Readonly<{
  binary: string
  binDir: string
  netDir: string
  settings: PluginSettings
  log: Logger
  metrics: Metrics
  signal: AbortSignal
}>

/** What is to be written where, or why nothing. */
type ConfPlan =
  | Readonly<{ kind: 'write'; file: string; text: string; remove: string | undefined }>
  | Readonly<{ kind: 'installed' }>
  | Readonly<{ kind: 'wait'; reason: string }>

/** The plugin's part of the chain; keys are Istio's. */
const pluginConfig = ({
  runDir,
  agentNamespace,
  excludedNamespaces,
  nativeNftables,
  logLevel,
}: PluginSettings) => ({
  type: pluginType,
  name: pluginType,
  plugin_log_level: logLevel,
  cni_agent_run_dir: runDir,
  ambient_enabled: true,
  exclude_namespaces: excludedNamespaces,
  pod_namespace: agentNamespace,
  native_nftables: nativeNftables,
})

/** Which file decides on this node (the first by name, as for every runtime), and how it must read with us in it. */
export function planConf(files: ReadonlyMap<string, string>, settings: PluginSettings): ConfPlan {
  const names = [...files.keys()].filter((name) => /\.(conflist|conf|json)$/.test(name)).sort()
  for (const name of names) {
    const parsed = parseConf(files.get(name) ?? '')
    if (!parsed) continue
    const plugins = Array.isArray(parsed['plugins']) ? parsed['plugins'] : undefined
    const others = (plugins ?? [single(parsed)]).filter((each) => !isOurs(each))
    if (others.length === 0) continue // no network: runtimes pass it over too, and we alone would make none
    const wanted = [...others, pluginConfig(settings)]
    if (plugins && JSON.stringify(plugins) === JSON.stringify(wanted)) return { kind: 'installed' }
    const { name: network, cniVersion } = parsed
    const list = plugins ? { ...parsed, plugins: wanted } : { cniVersion, name: network, plugins: wanted }
    const file = name.replace(/\.(conf|json)$/, '.conflist')
    const text = `${JSON.stringify(list, undefined, 2)}\n`
    return { kind: 'write', file, text, remove: file === name ? undefined : name }
  }
  return { kind: 'wait', reason: 'the node has no network configuration yet' }
}

const isOurs = (plugin: unknown) => isRecord(plugin) && plugin['type'] === pluginType
const single = (conf: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(conf).filter(([key]) => key !== 'cniVersion' && key !== 'name'))

function parseConf(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return isRecord(parsed) && typeof parsed['name'] === 'string' ? parsed : undefined
  } catch {
    return undefined
  }
}

/**
 * Keeps the plugin in the node's chain until `signal` fires. Nothing is taken back at the end: with the plugin in place
 * and no agent, new pods wait. Taking it out would let them start uncaptured during every restart and upgrade of ours.
 */
export async function keepInstalled(options: InstallOptions, onReady: () => void): Promise<void> {
  const { log, metrics, signal, netDir } = options
  using changes = changesIn(netDir)
  let last = ''
  for (;;) {
    const outcome = await install(options).catch((error: unknown) => `failed: ${messageOf(error)}`)
    const ready = outcome === 'installed'
    metrics.installReady.set(ready ? 1 : 0)
    if (outcome.startsWith('failed')) metrics.installs.inc({ result: 'FAILURE' })
    if (outcome !== last) log.info('CNI plugin', { state: outcome })
    last = outcome
    if (ready) onReady()
    await changes.next(signal)
  }
}

/**
 * What happens in the node's configuration: a network provider that restarts rewrites its own without us, and until we
 * are back in it pods start uncaptured. Without notifications there is still the clock.
 */
function changesIn(dir: string): Disposable & { next(signal: AbortSignal): Promise<void> } {
  let changed = false
  let wake = () => {}
  const watcher = tryWatch(dir, () => {
    changed = true
    wake()
  })
  return {
    async next(signal) {
      const early = new AbortController()
      wake = () => early.abort()
      if (!changed)
        await sleep(checkMs, AbortSignal.any([signal, early.signal])).catch(() => signal.throwIfAborted())
      if (changed) await sleep(settleMs, signal)
      changed = false // before the next look, so that what happens during it is looked at too
    },
    [Symbol.dispose]: () => watcher?.close(),
  }
}

function tryWatch(dir: string, onChange: () => void): FSWatcher | undefined {
  try {
    return watch(dir, { persistent: false }, onChange).on('error', () => undefined)
  } catch {
    return undefined // it does not exist yet, or the node is out of watches
  }
}

/** One look and what it calls for; how it ended. */
export async function install({
  binary,
  binDir,
  netDir,
  settings,
  metrics,
  log,
}: InstallOptions): Promise<string> {
  await installBinary(binary, binDir)
  const plan = planConf(await readFiles(netDir), settings)
  switch (plan.kind) {
    case 'installed':
      return 'installed'
    case 'wait':
      return plan.reason
    case 'write':
      await replace(join(netDir, plan.file), plan.text)
      // The runtime must not find the old file first, and not find neither.
      if (plan.remove !== undefined) await rm(join(netDir, plan.remove), { force: true })
      metrics.installs.inc({ result: 'SUCCESS' })
      log.info('CNI plugin inserted', { file: plan.file })
      return 'installed'
  }
}

async function installBinary(binary: string, binDir: string): Promise<void> {
  await mkdir(binDir, { recursive: true })
  const target = join(binDir, pluginType)
  const [wanted, found] = await Promise.all([readFile(binary), readFile(target).catch(() => undefined)])
  if (found?.equals(wanted)) return
  // Renamed into place: the runtime may be starting the old one right now.
  await copyFile(binary, `${target}.tmp`)
  await chmod(`${target}.tmp`, 0o755)
  await rename(`${target}.tmp`, target)
}

async function readFiles(dir: string): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(dir).catch(() => [])
  const files = new Map<string, string>()
  for (const name of names) {
    const text = await readFile(join(dir, name), 'utf8').catch(() => undefined)
    if (text !== undefined) files.set(name, text)
  }
  return files
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.istio-tmp`, text, { mode: 0o644 })
  await rename(`${file}.istio-tmp`, file)
}
