import type { Stats } from 'node:fs'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname, normalize } from 'node:path'
import { realPathInside } from './inside.ts'

type HostPath = Readonly<{ path: string; type: string }>
type Found = Readonly<{ kind: 'found'; source: string }> | Readonly<{ kind: 'missing'; message: string }>

/** Where a hostPath really is: the kernel's own /proc, anything else below the node's root. */
export function machinePath(nodeRoot: string, path: string): string {
  const clean = normalize(`/${path}`).replace(/(.)\/$/, '$1')
  return isInProc(clean) ? clean : `${nodeRoot}${clean === '/' ? '' : clean}`
}

const isInProc = (path: string) => path === '/proc' || path.startsWith('/proc/')

const checks: Readonly<Record<string, (stats: Stats) => boolean>> = {
  Directory: (stats) => stats.isDirectory(),
  DirectoryOrCreate: (stats) => stats.isDirectory(),
  File: (stats) => stats.isFile(),
  FileOrCreate: (stats) => stats.isFile(),
  Socket: (stats) => stats.isSocket(),
  CharDevice: (stats) => stats.isCharacterDevice(),
  BlockDevice: (stats) => stats.isBlockDevice(),
}

/**
 * The path, made first where its type allows; without a type the runtime makes a directory. Links are followed, but
 * never out of the node: not by what a pod has put there, and not by /proc/1/root.
 */
export async function findHostPath(nodeRoot: string, { path, type }: HostPath): Promise<Found> {
  const named = machinePath(nodeRoot, path)
  const at = await realPathInside(isInProc(named) ? '/proc' : nodeRoot, named)
  if (at === undefined) return { kind: 'missing', message: `hostPath ${path} leads out of the node` }
  const stats = await stat(at).catch(() => undefined)
  if (!stats && (type === '' || type === 'DirectoryOrCreate'))
    await mkdir(at, { recursive: true, mode: 0o755 })
  else if (!stats && type === 'FileOrCreate') {
    await mkdir(dirname(at), { recursive: true })
    await writeFile(at, '', { mode: 0o644 })
  } else if (!stats || checks[type]?.(stats) === false)
    return { kind: 'missing', message: `hostPath type check failed: ${path} is not a ${type}` }
  return { kind: 'found', source: at }
}
