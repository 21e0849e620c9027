import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** True when a program of this name can be started. */
export function installed(tool: string): boolean {
  try {
    execFileSync('which', [tool])
    return true
  } catch {
    return false
  }
}

/** Starts a program that does not outlive us; with `core` it runs on that processor alone. */
export function start(
  command: readonly string[],
  o: Readonly<{
    core?: number | undefined
    stdio?: 'ignore' | ['ignore', 'ignore' | 'pipe', 'inherit' | 'pipe', ...'ipc'[]]
    env?: NodeJS.ProcessEnv
  }> = {},
): ChildProcess {
  const pinned = o.core === undefined ? [] : ['taskset', '-c', `${o.core}`]
  const [first, ...rest] = ['setpriv', '--pdeathsig', 'KILL', ...pinned, ...command]
  return spawn(first, rest, { stdio: o.stdio ?? 'ignore', ...(o.env ? { env: o.env } : {}) })
}

export async function stop(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address ? address.port : 0
}

/** Waits until somebody listens. */
export async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const socket = connect({ port, host: '127.0.0.1' })
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
    await delay(50)
  }
  throw new Error(`nobody listens on ${port}`)
}

/** CPU that a process has used, all its threads included, in seconds; the kernel counts in hundredths. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** What a process has in memory. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024
}
