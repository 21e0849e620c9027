import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { MeshError, messageOf, sleep, within } from '#base'
import { KubeClient, kinds, loadCluster } from '#kube'
import { createPki, writeKubeconfigs } from './api/auth/index.ts'
import { chooseApiPort } from './api-port.ts'
import { compileCache } from './compile-cache.ts'
import type { SandboxConfig } from './config.ts'
import { exclusively } from './exclusively.ts'
import {
  createTopology,
  findLeftovers,
  partVariable,
  searchPath,
  sweep,
  writeNodeConflist,
} from './net/index.ts'
import { isAlive, signalProcess } from './node/runtime/process.ts'
import { preflight } from './preflight.ts'
import { readRunState, type RunState } from './run-state.ts'

/** How a cluster comes up. */
export type UpOptions = Readonly<{
  signal: AbortSignal
  /** Forget what an earlier cluster of this name kept on disk. */
  fresh?: boolean
  onProgress?: (step: string) => void
}>

/** A cluster that is up. */
export type Running = Readonly<{ kubeconfig: string; apiUrl: string; upMs: number; wasUp: boolean }>

/** A cluster that is not ready by then never will be; its logs say why. */
const readyTimeoutMs = 60_000
const pollMs = 100
const stopTimeoutMs = 15_000
/** With the growing pauses between them these take some six seconds. */
const maxApiFailures = 5

/**
 * Brings a cluster up and returns when it is ready; its processes stay when the caller ends. One that is up already
 * is left as it is. Throws MeshError('bad-config') with one sentence when this machine cannot run one.
 */
export async function up(config: SandboxConfig, options: UpOptions): Promise<Running> {
  const { signal, fresh = false, onProgress = () => undefined } = options
  const began = Date.now()
  const check = await preflight(signal)
  if (check.kind === 'missing') throw new MeshError('bad-config', { message: check.sentence })
  const wasUp = await exclusively(
    config.name,
    async () => {
      if (supervisorOf(config)) return true
      onProgress('network')
      await sweep(config)
      if (fresh) await rm(config.stateDir, { recursive: true, force: true })
      await make(config, signal, onProgress)
      return false
    },
    signal,
  )
  onProgress('ready')
  const apiUrl = await untilReady(config, within(readyTimeoutMs, signal), signal)
  return { kubeconfig: config.kubeconfig, apiUrl, upMs: Date.now() - began, wasUp }
}

async function make(
  config: SandboxConfig,
  signal: AbortSignal,
  onProgress: (step: string) => void,
): Promise<void> {
  await mkdir(`${config.runDir}/logs`, { recursive: true })
  await mkdir(config.stateDir, { recursive: true, mode: 0o700 })
  await createTopology(config, signal)
  await Promise.all(config.nodes.map(writeNodeConflist))
  createPki(config)
  const port = await chooseApiPort(config)
  writeKubeconfigs(config, port)
  onProgress('processes')
  await startSupervisor(config, port, signal)
}

/** Takes it down and removes everything that it made, also after anything of it was killed; `purge` forgets its state too. */
export function down(config: SandboxConfig, options: Readonly<{ purge?: boolean }> = {}): Promise<void> {
  const { signal } = new AbortController() // what is begun here is finished
  const takeDown = async () => {
    const running = supervisorOf(config)
    if (running) {
      signalProcess(running.supervisor, 'SIGTERM') // so that the API server closes its database in order
      const deadline = Date.now() + stopTimeoutMs
      while (isAlive(running.supervisor) && Date.now() < deadline) await sleep(pollMs / 4, signal)
    }
    await sweep(config)
    if (options.purge) await rm(config.stateDir, { recursive: true, force: true })
  }
  return exclusively(config.name, takeDown, signal)
}

/** Everything of the instance that exists on the machine now, one line each; state on disk is not counted. */
export function leftovers(config: Pick<SandboxConfig, 'name' | 'runDir'>): string[] {
  const { processes, mounts, netns, directories } = findLeftovers(config)
  return [
    ...processes.map(({ pid, command }) => `process ${pid} ${command}`),
    ...mounts.map((path) => `mount ${path}`),
    ...netns.map((name) => `netns ${name}`),
    ...directories.map((path) => `directory ${path}`),
  ]
}

/** Ends the API server; the supervisor starts it again on the same port. Returns when it is ready. */
export async function restartApi(config: SandboxConfig, signal: AbortSignal): Promise<void> {
  const before = supervisorOf(config)?.children.find(({ name }) => name === 'api')
  if (before?.pid === undefined)
    throw new MeshError('unavailable', { message: `sandbox ${config.name} is not up` })
  process.kill(before.pid, 'SIGTERM')
  const deadline = within(readyTimeoutMs, signal)
  for (;;) {
    const now = supervisorOf(config)?.children.find(({ name }) => name === 'api')
    if (now?.pid !== undefined && now.pid !== before.pid) break
    await sleep(pollMs, deadline)
  }
  await untilReady(config, deadline, signal)
}

/** What the supervisor last said, if it still runs. */
export function supervisorOf(config: Pick<SandboxConfig, 'runDir'>): RunState | undefined {
  const state = readRunState(config)
  return state && isAlive(state.supervisor) ? state : undefined
}

/** Returns when it has told that it runs: from then on another command finds it. */
async function startSupervisor(config: SandboxConfig, port: number, signal: AbortSignal): Promise<void> {
  const script = resolve(import.meta.dirname, 'supervisor.ts')
  const args = [script, '--name', config.name, '--nodes', String(config.nodes.length), '--port', String(port)]
  const out = openSync(`${config.runDir}/logs/supervisor.log`, 'a')
  const env = {
    ...process.env,
    PATH: searchPath(),
    [partVariable]: `${config.name}/supervisor`,
    NODE_COMPILE_CACHE: compileCache,
  }
  const child = spawn(process.execPath, args, { cwd: '/', detached: true, stdio: ['ignore', out, out], env })
  closeSync(out)
  await new Promise<void>((done, fail) => child.once('spawn', done).once('error', fail))
  const deadline = within(readyTimeoutMs, signal)
  while (supervisorOf(config)?.supervisor.pid !== child.pid) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new MeshError('unavailable', { message: await notReady(config, 'its supervisor ended at once') })
    await sleep(pollMs / 4, deadline)
  }
  child.unref()
}

/** Waits for the API server, every node and what a first pod needs. Returns the server's address. */
async function untilReady(
  config: SandboxConfig,
  deadline: AbortSignal,
  callers: AbortSignal,
): Promise<string> {
  using client = new KubeClient(loadCluster(config.kubeconfig))
  let why = 'the API server does not answer yet'
  for (;;) {
    try {
      const missing = await missingIn(client, config, deadline)
      if (missing === undefined) return client.cluster.server.href.replace(/\/$/, '')
      why = missing
    } catch (error) {
      if (!deadline.aborted) why = messageOf(error)
      const hopeless = whyHopeless(config)
      if (hopeless !== undefined)
        throw new MeshError('unavailable', { message: await notReady(config, hopeless) })
    }
    if (callers.aborted) throw callers.reason
    if (deadline.aborted) throw new MeshError('timeout', { message: await notReady(config, why) })
    await sleep(pollMs, deadline).catch(() => undefined)
  }
}

/** Why waiting for the API server is of no use, if it is not: some seconds of restarts change nothing, such as a taken port. */
function whyHopeless(config: SandboxConfig): string | undefined {
  const running = supervisorOf(config)
  if (!running) return 'its supervisor is gone'
  const api = running.children.find(({ name }) => name === 'api')
  return (api?.failures ?? 0) >= maxApiFailures
    ? `the API server on port ${running.apiPort} ends again and again (${api?.lastEnd})`
    : undefined
}

async function missingIn(
  client: KubeClient,
  config: SandboxConfig,
  signal: AbortSignal,
): Promise<string | undefined> {
  await client.request('GET', '/version', undefined, { signal })
  const { items } = await client.list(kinds.Node, {}, signal)
  const ready = items.filter(({ status }) =>
    status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
  )
  if (ready.length < config.nodes.length) return `${ready.length} of ${config.nodes.length} nodes are ready`
  const wanted = [
    { kind: kinds.ConfigMap, name: 'kube-root-ca.crt' },
    { kind: kinds.ServiceAccount, name: 'default' },
  ]
  for (const { kind, name } of wanted)
    if (!(await client.find({ kind, name, namespace: 'default' }, signal)))
      return `${kind.kind} default/${name} is missing`
  return undefined
}

/** The last words of each process, so that the one sentence says something. */
async function notReady(config: SandboxConfig, why: string): Promise<string> {
  const names = ['supervisor', 'api', 'controllers', ...config.nodes.map(({ name }) => name)]
  const last = await Promise.all(
    names.map(async (name) => {
      const text = await readFile(`${config.runDir}/logs/${name}.log`, 'utf8').catch(() => '')
      const line = text
        .trim()
        .split('\n')
        .findLast((each) => /error|warn/i.test(each))
      return line === undefined ? [] : [`${name}: ${line.slice(0, 300)}`]
    }),
  )
  return [`sandbox ${config.name} is not ready: ${why} (logs in ${config.runDir}/logs)`, ...last.flat()].join(
    '\n',
  )
}
