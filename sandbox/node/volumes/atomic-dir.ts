import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join, normalize } from 'node:path'
import { MeshError } from '#base'
import type { Payload } from './payload.ts'

/** The link to the generation that readers see, as the kubelet names it. */
const current = '..data'

/**
 * Makes `dir` hold exactly these files: written beside, then swapped in by one rename, so a reader sees the old set or
 * the new one. Does nothing when nothing changed. Returns whether it did.
 */
export async function writeAtomically(dir: string, payload: Payload): Promise<boolean> {
  for (const path of payload.keys())
    if (path === '' || path.startsWith('/') || normalize(path).startsWith('..'))
      throw new MeshError('bad-config', { message: `volume file path must stay inside the volume: ${path}` })
  await mkdir(dir, { recursive: true })
  const old = await readlink(join(dir, current)).catch(() => undefined)
  if (old !== undefined && (await holds(join(dir, old), payload))) return false
  const generation = await mkdtemp(join(dir, '..v'))
  for (const [path, { content, mode }] of payload) {
    await mkdir(join(generation, dirname(path)), { recursive: true, mode: 0o755 })
    await writeFile(join(generation, path), content, { mode })
  }
  await chmod(generation, 0o755) // mkdtemp makes it private; a container that is not root must read it too
  await rm(join(dir, `${current}.tmp`), { force: true }) // of a writer that was killed right here
  await symlink(basename(generation), join(dir, `${current}.tmp`))
  await rename(join(dir, `${current}.tmp`), join(dir, current))
  await linkTop(dir, payload)
  if (old !== undefined) await rm(join(dir, old), { recursive: true, force: true })
  return true
}

/** Each top-level name is a link through `..data`; names that are gone lose theirs. */
async function linkTop(dir: string, payload: Payload): Promise<void> {
  const names = new Set([...payload.keys()].map((path) => normalize(path).split('/')[0] ?? path))
  const existing = new Set((await readdir(dir)).filter((name) => !name.startsWith('..')))
  for (const name of names) if (!existing.has(name)) await symlink(join(current, name), join(dir, name))
  for (const name of existing) if (!names.has(name)) await rm(join(dir, name), { force: true })
}

async function holds(dir: string, payload: Payload): Promise<boolean> {
  const files = (await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])).filter(
    (entry) => entry.isFile(),
  )
  if (files.length !== payload.size) return false
  for (const [path, { content }] of payload) {
    const held = await readFile(join(dir, path)).catch(() => undefined)
    if (!held?.equals(content)) return false
  }
  return true
}
