import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { ip, type SocketAddress } from '#base'
import type { WorkloadCertificate } from '#identity'

export type Figures = Readonly<{
  rss: number
  heapUsed: number
  external: number
  /** Our own account of what waits for slow readers. */
  waiting: number
  /** The same of what peers have not taken. */
  unsent: number
  handles: number
  fds: number
}>
export type Order =
  | Readonly<{
      kind: 'start'
      role: 'server' | 'client'
      own: WorkloadCertificate
      peer: WorkloadCertificate
      to: number
      bufferBytes?: number
    }>
  | Readonly<{ kind: 'measure' }>
type Report = { kind: 'listening'; port: number } | { kind: 'figures'; figures: Figures }

export type Victim = Readonly<{
  address: SocketAddress
  process: ChildProcess
  /** After a garbage collection. */
  measure(): Promise<Figures>
}>

/** Starts a proxy of ours in a process of its own. */
export async function startVictim(
  t: Test,
  order: Omit<Extract<Order, { kind: 'start' }>, 'kind'>,
): Promise<Victim> {
  const child = fork(fileURLToPath(new URL('h2-victim.ts', import.meta.url)), {
    execArgv: ['--expose-gc'],
    serialization: 'advanced',
  })
  t.teardown(() => void child.kill('SIGKILL'))
  const ask = async (what: Order): Promise<Report> => {
    child.send(what)
    const [report]: Report[] = await once(child, 'message')
    if (!report) throw new Error('no report')
    return report
  }
  const started = await ask({ kind: 'start', ...order })
  if (started.kind !== 'listening') throw new Error('did not listen')
  return {
    address: { address: ip('127.0.0.1'), port: started.port },
    process: child,
    measure: async () => {
      const report = await ask({ kind: 'measure' })
      if (report.kind !== 'figures') throw new Error('no figures')
      return report.figures
    },
  }
}

export const kib = (bytes: number): number => Math.round(bytes / 102.4) / 10
export const mib = (bytes: number): number => Math.round(bytes / (1 << 20) / 0.01) / 100
