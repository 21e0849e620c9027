import {
  type Collection,
  isStatus,
  type KubeClient,
  type KubeObject,
  keyOf,
  type Kind,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import { conditionsOf, mergedConditions, type Wanted } from './conditions.ts'
import type { Writer } from './lead.ts'

type ConditionWriterOptions<T extends KubeObject> = Readonly<{
  client: KubeClient
  kind: Kind<T>
  objects: Collection<T>
  /** What the object's status shall say now. */
  wanted: (object: T, key: string) => Wanted
  /** What `wanted` reads besides; its keys are those of the objects. */
  also: Readonly<{ subscribe(listener: (changes: readonly Readonly<{ key: string }>[]) => void): Disposable }>
  /** Which objects are ours to write to; all of them when absent. */
  scope?: (object: T) => boolean
  fieldManager: string
  log: Logger
  now?: () => Date
}>

/** Keeps our conditions on the objects of one kind as they are wanted. */
export const conditionWriter =
  <T extends KubeObject & Readonly<{ status?: unknown }>>(options: ConditionWriterOptions<T>): Writer =>
  async (signal) => {
    const { client, kind, objects, also, fieldManager, log, now = () => new Date() } = options
    await using queue = workQueue({
      name: `${kind.kind} conditions`,
      signal,
      log,
      reconcile: async (key, stop) => {
        const object = objects.get(key)
        if (object === undefined || object.metadata.deletionTimestamp !== undefined) return
        if (options.scope?.(object) === false) return
        const { name = '', namespace = '', generation, resourceVersion } = object.metadata
        const conditions = mergedConditions(
          conditionsOf(object.status),
          options.wanted(object, key),
          generation,
          now()
            .toISOString()
            .replace(/\.\d+Z$/, 'Z'),
        )
        if (conditions === undefined) return
        // The version makes the write fail if somebody changed the status since we looked.
        const patch = { metadata: { resourceVersion }, status: { conditions } }
        await client
          .mergePatch({ kind, name, namespace }, patch, { subresource: 'status', fieldManager, signal: stop })
          .catch((error: unknown) => {
            if (!isStatus(error, 404)) throw error
          })
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
