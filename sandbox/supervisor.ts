/** The detached process behind a sandbox that is up: starts API, controllers and node agents and restarts what ends. */
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { coalesce, destroying, messageOf, retry, within } from '#base'
import { startLogging } from '#telemetry'
import { Child } from './child.ts'
import { compileCache } from './compile-cache.ts'
import { type NodeConfig, type SandboxConfig, sandboxConfig } from './config.ts'
import { netnsPath, partVariable } from './net/index.ts'
import { identify } from './node/runtime/process.ts'
import { writeRunState } from './run-state.ts'

const log = startLogging({ filter: process.env['RUST_LOG'] ?? 'info' }).root('supervisor')
const here = import.meta.dirname

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      name: { type: 'string' },
      nodes: { type: 'string', default: '2' },
      port: { type: 'string', default: '0' },
    },
  })
  const config = sandboxConfig(values.name, Number(values.nodes))
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  process.on('SIGHUP', () => undefined) // the terminal that started us may go
  await mkdir(`${config.runDir}/logs`, { recursive: true })
  await supervise(config, Number(values.port), stop.signal)
}

type Part = Readonly<{ name: string; command: readonly string[]; kubeconfig?: string }>

/** How long we wait before the controllers are started anyway. */
const acceptTimeoutMs = 30_000

/** Waits until something listens on a loopback port. */
const accepting = (port: number, signal: AbortSignal): Promise<void> =>
  retry(
    async () => {
      const socket = connect({ host: '127.0.0.1', port })
      using _socket = destroying(socket)
      await once(socket, 'connect')
    },
    {
      signal: within(acceptTimeoutMs, signal),
      attempts: Infinity,
      baseMs: 50,
      capMs: 100,
      retryable: () => true,
    },
  )

/** Everything that runs outside of pods. The API server keeps its port when it is restarted. */
const partsOf = (config: SandboxConfig, apiPort: number): readonly Part[] => {
  const nodes = String(config.nodes.length)
  const kubeconfigs = `${config.stateDir}/kubeconfigs`
  return [
    { name: 'api', command: nodeScript('api/main.ts', '--port', String(apiPort), '--nodes', nodes) },
    {
      name: 'controllers',
      command: nodeScript('controllers/main.ts'),
      kubeconfig: `${kubeconfigs}/controllers.conf`,
    },
    ...config.nodes.map((node) => ({
      name: node.name,
      command: agent(config, node),
      kubeconfig: `${kubeconfigs}/${node.name}.conf`,
    })),
  ]
}

async function supervise(config: SandboxConfig, apiPort: number, signal: AbortSignal): Promise<void> {
  const children: Child[] = []
  const self = identify(process.pid)
  const tell = coalesce(async () => {
    if (!self) return
    const states = children.map(({ state }) => state)
    await writeRunState(config, { supervisor: self, nodes: config.nodes.length, apiPort, children: states })
  })
  const onChange = () =>
    void tell().catch((error: unknown) => log.warn('status not written', { error: messageOf(error) }))
  for (const { name, command, kubeconfig } of partsOf(config, apiPort)) {
    if (name === 'controllers') await accepting(apiPort, signal).catch(() => undefined)
    if (signal.aborted) break
    const env = environment(config, name, kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig })
    const logFile = `${config.runDir}/logs/${name}.log`
    children.push(new Child({ name, command, env, logFile, log, signal, onChange }))
  }
  onChange()
  if (!signal.aborted) await once(signal, 'abort')
  await Promise.all(children.map((child) => child.end()))
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
  NODE_COMPILE_CACHE: compileCache,
  ...env,
})

main().catch((error: unknown) => {
  log.error('the supervisor cannot run', { error: messageOf(error) })
  process.exitCode = 1
})
