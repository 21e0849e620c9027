import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type SandboxConfig, sandboxConfig } from './config.ts'
import { down, leftovers, restartApi, supervisorOf, up } from './lifecycle.ts'

const usage = `usage: sandbox <verb> [--name X] [--nodes N]
  up [--fresh]      start a cluster and wait until it is ready; --fresh forgets its old objects first
  down [--purge]    stop it and remove everything that it made; --purge also removes its objects and keys
  status            its processes, or what is left of it
  kubeconfig        print the kubeconfig
  restart-api       stop the API server and wait until it is back`

process.stdout.on('error', () => undefined) // the reader went away; the cluster comes up all the same
const say = (line: string) => process.stdout.write(`${line}\n`)

/** Executes one command line and returns the exit status. */
export async function runCommand(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      nodes: { type: 'string', default: '2' },
      fresh: { type: 'boolean', default: false },
      purge: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const swallowed = optionsThatNpmTook(process.env)
  if (swallowed.length > 0) {
    say(
      `npm took ${swallowed.join(' ')} for itself: write \`npm run sandbox -- <verb> ${swallowed.join(' ')} …\``,
    )
    return 2
  }
  const config = sandboxConfig(values.name, Number(values.nodes))
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))
  if (values.help) return help(0)
  switch (positionals[0]) {
    case 'up':
      return bringUp(config, values.fresh, stop.signal)
    case 'down':
      await down(config, values)
      say(`sandbox ${config.name} is down`)
      return 0
    case 'status':
      return status(config)
    case 'kubeconfig':
      process.stdout.write(readFileSync(config.kubeconfig, 'utf8'))
      return 0
    case 'restart-api':
      await restartApi(config, stop.signal)
      say('the API server is back')
      return 0
    default:
      return help(2)
  }
}

/**
 * Without `--`, npm keeps the options after a script's name and passes only the words: `npm run sandbox down --name x`
 * would take down another instance than the one named.
 */
export const optionsThatNpmTook = (env: NodeJS.ProcessEnv): readonly string[] =>
  ['name', 'nodes', 'fresh', 'purge']
    .filter((option) => env[`npm_config_${option}`] !== undefined)
    .map((option) => `--${option}`)

function help(code: number): number {
  say(usage)
  return code
}

async function bringUp(config: SandboxConfig, fresh: boolean, signal: AbortSignal): Promise<number> {
  const { kubeconfig, apiUrl, upMs, wasUp } = await up(config, { signal, fresh })
  const [node] = config.nodes
  say(
    wasUp
      ? `sandbox ${config.name} was up already at ${apiUrl}`
      : `sandbox ${config.name} is up at ${apiUrl} after ${(upMs / 1000).toFixed(1)} s`,
  )
  say(`  export KUBECONFIG=${kubeconfig}`)
  say('  kubectl get nodes -o wide')
  say(`  kubectl run hello --image busybox --command -- sleep 3600`)
  say(`  nsenter --net=/run/netns/${node?.netns} bash   # a shell in the network of ${node?.name}`)
  return 0
}

/** 0 = up, 1 = down, 3 = neither: something is left that `down` would remove. */
function status(config: SandboxConfig): number {
  const state = supervisorOf(config)
  if (state) {
    say(`sandbox ${config.name} is up: API at https://127.0.0.1:${state.apiPort}, ${state.nodes} nodes`)
    for (const { name, pid, restarts, lastEnd } of state.children)
      say(
        `  ${name}\tpid ${pid ?? '-'}\trestarts ${restarts}${lastEnd === undefined ? '' : ` (last: ${lastEnd})`}`,
      )
    return 0
  }
  const left = leftovers(config)
  say(
    left.length === 0
      ? `sandbox ${config.name} is down`
      : `sandbox ${config.name} has no supervisor; left of it:`,
  )
  for (const line of left) say(`  ${line}`)
  return left.length === 0 ? 1 : 3
}
