/** The detached process behind a sandbox that is up: starts API, controllers and node agents and restarts what ends. */
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { coalesce, isRecord, messageOf } from '#base'
import { startLogging } from '#telemetry'
import { kubeconfigFiles, writeKubeconfigs } from './api/auth/index.ts'
import { Child, type ChildOptions } from './child.ts'
import { type NodeConfig, type SandboxConfig, sandboxConfig } from './config.ts'
import { netnsPath, partVariable } from './net/index.ts'
import { identify } from './node/runtime/process.ts'
import { writeRunState } from './run-state.ts'

const log = startLogging({ filter: process.env['RUST_LOG'] ?? 'info' }).root('supervisor')
const here = import.meta.dirname

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { name: { type: 'string' }, nodes: { type: 'string', default: '2' } },
  })
  const config = sandboxConfig(values.name, Number(values.nodes))
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  process.on('SIGHUP', () => undefined) // the terminal that started us may go
  await mkdir(`${config.runDir}/logs`, { recursive: true })
  await supervise(config, stop.signal)
}

async function supervise(config: SandboxConfig, signal: AbortSignal): Promise<void> {
  const children: Child[] = []
  let apiPort: number | undefined
  const self = identify(process.pid)
  const tell = coalesce(async () => {
    if (!self) return
    const nodes = config.nodes.length
    await writeRunState(config, {
      supervisor: self,
      nodes,
      ...(apiPort !== undefined && { apiPort }),
      children: children.map(({ state }) => state),
    })
  })
  const onChange = () =>
    void tell().catch((error: unknown) => log.warn('status not written', { error: messageOf(error) }))
  const start = (
    name: string,
    command: () => readonly string[],
    env: NodeJS.ProcessEnv,
    onLine?: ChildOptions['onLine'],
  ) => {
    const options = {
      name,
      command,
      env: environment(config, name, env),
      logFile: `${config.runDir}/logs/${name}.log`,
    }
    children.push(new Child({ ...options, log, signal, onChange, ...(onLine && { onLine }) }))
  }
  const serving = Promise.withResolvers<number>()
  // A restarted API server keeps its port: kubeconfigs in people's hands stay good.
  const api = () =>
    nodeScript('api/main.ts', '--port', String(apiPort ?? 0), '--nodes', String(config.nodes.length))
  start('api', api, {}, (line) => {
    apiPort = portOf(line) ?? apiPort
    if (apiPort !== undefined) serving.resolve(apiPort)
  })
  const stopped = once(signal, 'abort')
  const port = await Promise.race([serving.promise, stopped])
  if (typeof port === 'number') {
    writeKubeconfigs(config, port)
    const files = kubeconfigFiles(config)
    start('controllers', () => nodeScript('controllers/main.ts'), { KUBECONFIG: files.controllers })
    for (const node of config.nodes)
      start(node.name, () => agent(config, node), { KUBECONFIG: files.node(node.name) })
    onChange()
    await stopped
  }
  // Only the API server has something to finish, its database; the others could but report what is about to vanish.
  const [server, ...others] = children
  await Promise.all(others.map((child) => child.end('kill')))
  await server?.end('ask')
}

const nodeScript = (script: string, ...args: readonly string[]): readonly string[] => [
  process.execPath,
  resolve(here, script),
  ...args,
]

const agent = (config: SandboxConfig, node: NodeConfig): readonly string[] => [
  'nsenter',
  `--net=${netnsPath(node.netns)}`,
  ...nodeScript('node/main.ts', '--node', node.name, '--nodes', String(config.nodes.length)),
]

const environment = (config: SandboxConfig, name: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...process.env,
  LATEEN_SANDBOX: config.name,
  [partVariable]: `${config.name}/${name}`,
  NODE_COMPILE_CACHE: `${config.stateDir}/compile-cache`,
  ...env,
})

/** The API server's one line on stdout. */
function portOf(line: string): number | undefined {
  try {
    const said: unknown = JSON.parse(line)
    return isRecord(said) && typeof said['port'] === 'number' ? said['port'] : undefined
  } catch {
    return undefined
  }
}

main().catch((error: unknown) => {
  log.error('the supervisor cannot run', { error: messageOf(error) })
  process.exitCode = 1
})
