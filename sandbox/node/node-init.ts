import { spawn } from 'node:child_process'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { MeshError } from '#base'
import type { NodeConfig, SandboxConfig } from '../config.ts'
import { netnsPath } from '../net/index.ts'
import { identify, isAlive, type ProcessId } from './runtime/process.ts'

/**
 * The node's first process: it does nothing but hold the node's namespace where others look for it. A container that
 * mounts the machine's /proc sees it as process 1, so `/host/proc/1/ns/net` is the node's network and not the
 * machine's. It outlives node agents; the sweep ends it.
 */
export async function ensureNodeInit(config: SandboxConfig, node: NodeConfig): Promise<number> {
  const file = `${config.runDir}/nodes/${node.name}/init.json`
  const kept = await readKept(file)
  if (kept && isAlive(kept)) return kept.pid
  const child = spawn('nsenter', [`--net=${netnsPath(node.netns)}`, 'sleep', 'infinity'], {
    cwd: '/',
    detached: true,
    stdio: 'ignore',
  })
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject))
  child.unref()
  const id = child.pid === undefined ? undefined : identify(child.pid)
  if (!id) throw new MeshError('syscall-failed', { message: 'the first process of the node ended at once' })
  await writeFile(`${file}.tmp`, JSON.stringify(id))
  await rename(`${file}.tmp`, file)
  return id.pid
}

async function readKept(file: string): Promise<ProcessId | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ProcessId // only `ensureNodeInit` writes it
  } catch {
    return undefined
  }
}
