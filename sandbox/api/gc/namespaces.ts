import { messageOf } from '#base'
import { type Api, targetOf } from '../rest/api.ts'
import { deleteObject } from '../rest/delete.ts'
import { resourceOf } from '../rest/kinds.ts'
import { type KubeObject, recordAt } from '../rest/object.ts'
import { isFinished } from '../rest/write.ts'
import { batches } from './batches.ts'

const noWishes = {
  dryRun: false,
  propagation: 'Background',
  gracePeriodSeconds: undefined,
  uid: undefined,
  resourceVersion: undefined,
} as const

/** Empties namespaces that are being deleted and lets them go when nothing is left in them. */
export function startNamespaceCleaner(api: Api): Disposable {
  const queue = batches<string>(
    (name) => clean(api, name),
    (error) => api.log.error('emptying a namespace failed', { error: messageOf(error) }),
  )
  const terminating = (name: string) =>
    api.store.get('namespaces', '', name)?.metadata.deletionTimestamp !== undefined
  const following = api.store.subscribe(({ type, resource, object }) => {
    const { name = '', namespace } = object.metadata
    if (resource === 'namespaces' && type !== 'DELETED' && terminating(name)) queue.add(name)
    if (type === 'DELETED' && namespace !== undefined && terminating(namespace)) queue.add(namespace)
  })
  for (const { metadata } of api.store.list('namespaces'))
    if (metadata.deletionTimestamp !== undefined) queue.add(metadata.name ?? '')
  return {
    [Symbol.dispose]: () => {
      following[Symbol.dispose]()
      queue[Symbol.dispose]()
    },
  }
}

function clean(api: Api, name: string): void {
  const namespace = api.store.get('namespaces', '', name)
  if (namespace?.metadata.deletionTimestamp === undefined) return
  let left = 0
  for (const kind of api.kinds.stored().filter((candidate) => candidate.namespaced))
    for (const object of api.store.list(resourceOf(kind), name)) {
      if (object.metadata.deletionTimestamp === undefined)
        deleteObject(api, targetOf(kind, name, object.metadata.name), object, noWishes)
      if (api.store.get(resourceOf(kind), name, object.metadata.name ?? '') !== undefined) left++
    }
  if (left === 0) release(api, namespace)
}

function release(api: Api, namespace: KubeObject): void {
  const freed = { ...namespace, spec: { ...recordAt(namespace, 'spec'), finalizers: [] } }
  if (isFinished(freed)) api.store.remove('namespaces', freed)
}
