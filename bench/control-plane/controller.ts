import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { isRecord } from '#base'

/** What a process has used so far, all of its threads. */
export type Usage = Readonly<{ cpuSeconds: number; rssBytes: number; peakBytes: number }>

/** A controller as its Deployment starts it. Dispose ends it. */
export type Controller = AsyncDisposable &
  Readonly<{
    pid: number
    port: number
    usage: () => Usage
    metrics: () => Promise<string>
    /** False once it has ended. */
    isRunning: () => boolean
    log: () => string
  }>

const main = new URL('../../controller/main.ts', import.meta.url).pathname
const manifest = new URL('../../manifests/istiod/deployment.yaml', import.meta.url)

const Deployment = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        containers: z.tuple([
          z.object({ env: z.array(z.object({ name: z.string(), value: z.string().optional() })) }),
        ]),
      }),
    }),
  }),
})

/** What its Deployment sets: the allocator's settings are among it. */
function deployedEnv(): Record<string, string> {
  const { env } = Deployment.parse(parse(readFileSync(manifest, 'utf8'))).spec.template.spec.containers[0]
  return Object.fromEntries(env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])))
}

export async function startController(
  apiPort: number,
  env: Readonly<Record<string, string>>,
): Promise<Controller> {
  const dir = mkdtempSync(join(tmpdir(), 'lateen-bench-'))
  const kubeconfig = join(dir, 'kubeconfig')
  writeFileSync(kubeconfig, kubeconfigFor(apiPort))
  const [xds = 0, webhook = 0, monitoring = 0, readiness = 0] = await freePorts(4)
  const logFile = join(dir, 'log')
  const log = openSync(logFile, 'w')
  const child = spawn(process.execPath, ['--disable-sigusr1', main], {
    stdio: ['ignore', log, log],
    env: {
      ...deployedEnv(),
      PATH: process.env['PATH'],
      KUBECONFIG: kubeconfig,
      POD_NAME: 'istiod-1',
      POD_NAMESPACE: 'istio-system',
      XDS_PORT: String(xds),
      WEBHOOK_PORT: String(webhook),
      MONITORING_PORT: String(monitoring),
      READINESS_PORT: String(readiness),
      ...env,
    },
  })
  closeSync(log)
  const kill = () => child.kill('SIGKILL') // also when this process is ended in the middle
  process.once('exit', kill)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  const ended = once(child, 'exit')
  const pid = child.pid ?? 0
  return {
    pid,
    port: xds,
    usage: () => usageOf(pid),
    metrics: async () => (await fetch(`http://127.0.0.1:${monitoring}/metrics`)).text(),
    isRunning: () => child.exitCode === null && child.signalCode === null,
    log: () => readFileSync(logFile, 'utf8'),
    async [Symbol.asyncDispose]() {
      kill()
      await ended
      process.off('exit', kill)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Linux counts processor time in these. */
const ticksPerSecond = 100

function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from the state, which is the third
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN)
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    rssBytes: kib('VmRSS') * 1024,
    peakBytes: kib('VmHWM') * 1024,
  }
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => {
    const address: unknown = server.address()
    return isRecord(address) ? Number(address['port']) : 0
  })
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

const kubeconfigFor = (port: number) => `apiVersion: v1
kind: Config
current-context: bench
contexts: [{ name: bench, context: { cluster: bench, user: bench } }]
clusters: [{ name: bench, cluster: { server: "http://127.0.0.1:${port}" } }]
users: [{ name: bench, user: { token: bench } }]
`
