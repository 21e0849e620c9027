import { type Collection, keyOf, type Kind, type KubeClient, type KubeObject, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import type { Writer } from './lead.ts'
import { timeOf, writeStatus } from './write-status.ts'

export type StatusWriterOptions<T extends KubeObject> = Readonly<{
  client: KubeClient
  kind: Kind<T>
  objects: Collection<T>
  /** What `patchOf` reads besides; its keys are those of the objects. */
  also: Readonly<{ subscribe(listener: (changes: readonly Readonly<{ key: string }>[]) => void): Disposable }>
  /** Which objects are ours to write to; all of them when absent. */
  scope?: (object: T) => boolean
  fieldManager: string
  log: Logger
  now?: () => Date
}>

/** What of the status is to be written at this time; undefined where it says so already. */
type PatchOf<T> = (object: T, key: string, time: string) => Readonly<Record<string, unknown>> | undefined

/** Keeps one part of the status of all objects of a kind as it is wanted. */
export const statusWriter =
  <T extends KubeObject>(part: string, patchOf: PatchOf<T>, options: StatusWriterOptions<T>): Writer =>
  async (signal) => {
    const { client, kind, objects, also, fieldManager, log, now = () => new Date() } = options
    await using queue = workQueue({
      name: `${kind.kind} ${part}`,
      signal,
      log,
      reconcile: async (key, stop) => {
        const object = objects.get(key)
        if (object === undefined || object.metadata.deletionTimestamp !== undefined) return
        if (options.scope?.(object) === false) return
        const status = patchOf(object, key, timeOf(now()))
        if (status) await writeStatus(object, status, { client, kind, fieldManager, signal: stop })
      },
    })
    using _objects = objects.subscribe((changes) => {
      for (const { row } of changes) if (row !== undefined) queue.add(keyOf(row))
    })
    using _also = also.subscribe((changes) => {
      for (const { key } of changes) queue.add(key)
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
