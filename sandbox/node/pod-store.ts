import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { type NodePod, parsePod } from './pod/pod.ts'
import type { ContainerRecord } from './pod/records.ts'
import type { PodSandbox } from './runtime/pod-sandbox.ts'

/** All that an agent must know to go on with a pod that an earlier one ran. */
export type SavedPod = Readonly<{
  pod: NodePod
  sandbox?: PodSandbox
  startTime: number
  records: readonly ContainerRecord[]
}>

/** Writes it beside the pod's files; a reader sees the old state or the new one. */
export async function savePod(dir: string, saved: SavedPod): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o755 })
  await writeFile(`${dir}/pod.json.tmp`, JSON.stringify(saved), { mode: 0o600 })
  await rename(`${dir}/pod.json.tmp`, `${dir}/pod.json`)
}

/** The pods of a node that are on disk. What cannot be read is removed: it can be made anew from the API. */
export async function loadPods(podsDir: string): Promise<readonly SavedPod[]> {
  const names = await readdir(podsDir).catch(() => [])
  const loaded: SavedPod[] = []
  for (const name of names) {
    const saved = await readSaved(`${podsDir}/${name}/pod.json`)
    if (saved) loaded.push(saved)
    else await rm(`${podsDir}/${name}`, { recursive: true, force: true })
  }
  return loaded
}

async function readSaved(path: string): Promise<SavedPod | undefined> {
  try {
    // Only `savePod` writes it, whole. The pod is parsed again: a newer agent may want more of it.
    const saved = JSON.parse(await readFile(path, 'utf8')) as SavedPod
    const pod = parsePod(saved.pod)
    return 'reject' in pod ? undefined : { ...saved, pod }
  } catch {
    return undefined
  }
}
