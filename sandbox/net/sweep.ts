import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { MeshError } from '#base'
import type { SandboxConfig } from '../config.ts'
import { must } from './run.ts'

const netnsDir = '/run/netns'
/** Where `ip netns add` binds a namespace. */
export const netnsPath = (name: string): string => `${netnsDir}/${name}`

/** Set for the sandbox's own processes to `<instance>/<role>`, so that a sweep finds them without any record. */
export const partVariable = 'LATEEN_SANDBOX_PART'

/** How long killed processes may take to vanish. A process in an uninterruptible wait is reported, not waited for. */
const exitDeadlineMs = 5_000

/** What of a cluster is still there. */
export type Leftovers = Readonly<{
  processes: readonly Readonly<{ pid: number; command: string }>[]
  /** Deepest first, so that they can be unmounted in this order. */
  mounts: readonly string[]
  netns: readonly string[]
  directories: readonly string[]
}>

/** Everything of the instance that exists on the machine now, found from the kernel's view and not from records. */
export function findLeftovers(config: Pick<SandboxConfig, 'name' | 'runDir'>): Leftovers {
  const netns = readdirOrEmpty(netnsDir).filter((name) => isNetnsOf(config.name, name))
  const mounts = mountsBelow(config.runDir)
  const inodes = new Set([...netns.map(netnsPath), ...mounts].flatMap(netnsInode))
  return {
    processes: processesOf(config, inodes),
    mounts,
    netns,
    directories: existsSync(config.runDir) ? [config.runDir] : [],
  }
}

/** Ends every process of the instance and removes its mounts, namespaces and run directory. Nothing there is fine. */
export async function sweep(config: Pick<SandboxConfig, 'name' | 'runDir'>): Promise<void> {
  await killProcesses(config)
  const { mounts, netns } = findLeftovers(config)
  if (mounts.length > 0) await must(['umount', '-l', ...mounts])
  for (const name of netns) await must(['ip', 'netns', 'del', name])
  // Never delete through a mount: what is mounted below may be somebody else's directory.
  const still = mountsBelow(config.runDir)
  if (still.length > 0)
    throw new MeshError('syscall-failed', { message: `still mounted: ${still.join(' ')}` })
  await rm(config.runDir, { recursive: true, force: true, maxRetries: 3 })
}

/** A killed supervisor's child may just have been started, so we look again until there is nobody. */
async function killProcesses(config: Pick<SandboxConfig, 'name' | 'runDir'>): Promise<void> {
  const deadline = Date.now() + exitDeadlineMs
  for (;;) {
    const { processes } = findLeftovers(config)
    if (processes.length === 0) return
    if (Date.now() > deadline) {
      const who = processes.map(({ pid, command }) => `${pid} (${command})`).join(', ')
      throw new MeshError('timeout', { message: `processes survive SIGKILL: ${who}` })
    }
    for (const { pid } of processes) kill(pid)
    await delay(20)
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}

const isNetnsOf = (instance: string, name: string): boolean =>
  name.startsWith(`${instance}-`) && /^(fabric|node-\d+)$/.test(name.slice(instance.length + 1))

function netnsInode(path: string): bigint[] {
  try {
    const { ino, dev } = statSync(path, { bigint: true })
    return dev === statSync('/proc/self/ns/net', { bigint: true }).dev ? [ino] : []
  } catch {
    return []
  }
}

/** Mount points below `dir` in the caller's mount namespace, deepest first. */
function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
    )
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .reverse()
}

/** Ours are: who carries the mark, who lives in one of our namespaces, and the shells above a container. */
function processesOf({ name, runDir }: Pick<SandboxConfig, 'name' | 'runDir'>, netns: ReadonlySet<bigint>) {
  const own = readlinkSync('/proc/self/ns/net')
  return readdirOrEmpty('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      const inode = readOr(() => readlinkSync(`/proc/${entry}/ns/net`))
      if (inode === '') return [] // a zombie, a kernel thread, or gone
      const args = readOr(() => readFileSync(`/proc/${entry}/cmdline`, 'utf8')).split('\0')
      const ours =
        (inode !== own && netns.has(BigInt(/\d+/.exec(inode)?.[0] ?? 0))) ||
        readOr(() => readFileSync(`/proc/${entry}/environ`, 'utf8'))
          .split('\0')
          .some((variable) => variable.startsWith(`${partVariable}=${name}/`)) ||
        args.some((arg) => arg.startsWith(`${runDir}/nodes/`) && arg.endsWith('.sh'))
      return ours ? [{ pid: Number(entry), command: args.join(' ').slice(0, 80).trim() }] : []
    })
}

function readOr(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}

function readdirOrEmpty(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}
