import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expand } from '../pod/env.ts'
import type { PodFacts } from '../pod/fields.ts'
import type { NodePod, PodContainer, PodVolume } from '../pod/pod.ts'
import { machineRoot, type Mount } from '../runtime/init-script.ts'
import { writeAtomically } from './atomic-dir.ts'
import { findHostPath } from './host-path.ts'
import { realPathInside } from './inside.ts'
import { type Contentful, payloadOf, sourcesOf } from './payload.ts'

/** A directory or file of the machine for each volume by name. */
export type Prepared = ReadonlyMap<string, Readonly<{ source: string; readOnly: boolean }>>
type Preparation =
  | Readonly<{ kind: 'ready'; volumes: Prepared }>
  | Readonly<{ kind: 'waiting'; message: string }>

type VolumeContext = Readonly<{
  pod: NodePod
  facts: PodFacts
  /** The directory that holds the pod's own volumes. */
  dir: string
  nodeRoot: string
  contents: Contentful
}>

/** Makes the pod's volumes, or brings those made of objects up to date. */
export async function prepareVolumes(context: VolumeContext): Promise<Preparation> {
  const volumes = new Map<string, { source: string; readOnly: boolean }>()
  for (const volume of context.pod.spec.volumes) {
    const outcome = await prepareVolume(volume, context)
    if (outcome.kind === 'missing')
      return {
        kind: 'waiting',
        message: `MountVolume.SetUp failed for volume "${volume.name}": ${outcome.message}`,
      }
    volumes.set(volume.name, outcome)
  }
  return { kind: 'ready', volumes }
}

type Outcome =
  | Readonly<{ kind: 'found'; source: string; readOnly: boolean }>
  | Readonly<{ kind: 'missing'; message: string }>

async function prepareVolume(volume: PodVolume, context: VolumeContext): Promise<Outcome> {
  const { pod, facts, nodeRoot, contents } = context
  const own = join(context.dir, volume.name)
  if (volume.hostPath) {
    const found = await findHostPath(nodeRoot, volume.hostPath)
    // The machine's processes are there to be looked at, never to be changed through a mount.
    return found.kind === 'missing' ? found : { ...found, readOnly: found.source.startsWith('/proc') }
  }
  if (volume.emptyDir) {
    // Not by mkdir's mode, which the umask cuts: a container may run as any user.
    if ((await mkdir(own, { recursive: true })) !== undefined) await chmod(own, 0o777)
    return { kind: 'found', source: own, readOnly: false }
  }
  const sources = sourcesOf(volume)
  if (!sources)
    return { kind: 'missing', message: `the sandbox has no such kind of volume: ${kindOf(volume)}` }
  const outcome = await payloadOf(pod, facts, sources, contents)
  if (outcome.kind === 'missing') return outcome
  await writeAtomically(own, outcome.payload)
  return { kind: 'found', source: own, readOnly: true }
}

const kindOf = (volume: PodVolume) =>
  Object.keys(volume).find((key) => key !== 'name' && volume[key] !== undefined) ?? 'none'

type Mounting =
  | Readonly<{ kind: 'mounts'; mounts: readonly Mount[] }>
  | Readonly<{ kind: 'invalid'; message: string }>

/**
 * The container's volume mounts, outer ones first. `nodeInit` is the node's first process: where a container sees the
 * machine's /proc, process 1 must be the node's, or its network namespace would be the machine's.
 */
export async function mountsOf(
  container: PodContainer,
  volumes: Prepared,
  env: Readonly<Record<string, string>>,
  nodeInit: number,
): Promise<Mounting> {
  const mounts: Mount[] = []
  for (const mount of container.volumeMounts) {
    const volume = volumes.get(mount.name)
    if (!volume) return { kind: 'invalid', message: `volumeMount "${mount.name}" names no volume` }
    const sub = mount.subPath || expand(mount.subPathExpr, env)
    const source = await inside(volume.source, sub)
    if (source === undefined)
      return {
        kind: 'invalid',
        message: `subPath "${sub}" of volume "${mount.name}" leaves the volume or does not exist`,
      }
    const target = join('/', mount.mountPath)
    if (target === machineRoot || target.startsWith(`${machineRoot}/`))
      return { kind: 'invalid', message: `mountPath ${target} is not available in the sandbox` }
    const kind = (await stat(source)).isDirectory() ? 'dir' : 'file'
    const propagation = mount.mountPropagation === 'None' ? 'private' : 'slave'
    const readOnly = volume.readOnly || mount.readOnly
    mounts.push({ source, target, kind, readOnly, propagation })
    if (source === '/proc')
      mounts.push({
        source: `/proc/${nodeInit}`,
        target: join(target, '1'),
        kind: 'dir',
        readOnly,
        propagation,
      })
  }
  return { kind: 'mounts', mounts: mounts.sort((a, b) => depth(a.target) - depth(b.target)) }
}

const depth = (path: string) => path.split('/').length

/** A subPath that does not exist becomes a directory; one that leads out of the volume is undefined. */
async function inside(source: string, sub: string): Promise<string | undefined> {
  if (sub === '') return source
  const found = await realPathInside(source, join(source, sub))
  if (found === undefined) return undefined
  const exists = await stat(found).catch(() => mkdir(found, { recursive: true }).catch(() => undefined))
  return exists === undefined ? undefined : found
}
