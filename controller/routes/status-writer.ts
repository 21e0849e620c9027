import {
  type Collection,
  type Custom,
  isStatus,
  keyOf,
  type Kind,
  type KubeClient,
  type KubeObject,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import type { Writer } from '../reconcile/index.ts'
import type { RouteStatus } from './gateway-api-status.ts'
import { mergedParents } from './parent-statuses.ts'

type RouteStatusWriterOptions = Readonly<{
  client: KubeClient
  kind: Kind<Custom>
  objects: Collection<Custom>
  statuses: Pick<Collection<RouteStatus>, 'get' | 'subscribe'>
  /** Which of them are ours to write to. */
  scope: (object: KubeObject) => boolean
  log: Logger
  now?: () => Date
}>

const fieldManager = 'istio-gateway-status'

/** Keeps our entries among the parents of the routes of one kind. */
export const routeStatusWriter =
  ({
    client,
    kind,
    objects,
    statuses,
    scope,
    log,
    now = () => new Date(),
  }: RouteStatusWriterOptions): Writer =>
  async (signal) => {
    await using queue = workQueue({
      name: `${kind.kind} parents`,
      signal,
      log,
      reconcile: async (key, stop) => {
        const object = objects.get(key)
        if (object === undefined || object.metadata.deletionTimestamp !== undefined || !scope(object)) return
        const wanted = statuses.get(key)
        if (wanted === undefined) return // somebody else's, in a namespace that we do not look at
        const { name = '', namespace = '', generation, resourceVersion } = object.metadata
        const at = now()
          .toISOString()
          .replace(/\.\d+Z$/, 'Z')
        const parents = mergedParents(object.status, wanted, generation, at)
        if (parents === undefined) return
        // The version makes the write fail if somebody changed the status since we looked.
        const patch = { metadata: { resourceVersion }, status: { parents } }
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
    using _statuses = statuses.subscribe((changes) => {
      for (const { key } of changes) queue.add(key)
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
