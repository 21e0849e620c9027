import { messageOf } from '#base'
import type { Api } from '../rest/api.ts'
import { targetOf } from '../rest/api.ts'
import { deleteObject, foregroundFinalizer, orphanFinalizer } from '../rest/delete.ts'
import { groupVersionOf, type KubeObject, type OwnerReference, withMetadata } from '../rest/object.ts'
import type { Propagation } from '../rest/options.ts'
import { isFinished } from '../rest/write.ts'
import type { StoreEvent } from '../store/index.ts'
import { batches } from './batches.ts'
import { Ownership, type Place } from './ownership.ts'

/** What to do with an object because of its owners. */
export type Verdict =
  | Readonly<{ kind: 'keep' }>
  | Readonly<{ kind: 'disown'; keep: readonly OwnerReference[] }>
  | Readonly<{ kind: 'delete'; propagation: Propagation }>

/** How an owner stands: there, gone, or deleted in the foreground and waiting for its dependents. */
export type OwnerState = 'solid' | 'gone' | 'waiting'

/** Pure: Kubernetes' rule (garbagecollector.go attemptToDeleteItem). */
export function judge({ metadata }: KubeObject, stateOf: (owner: OwnerReference) => OwnerState): Verdict {
  const owners = metadata.ownerReferences ?? []
  if (owners.length === 0) return { kind: 'keep' }
  const solid = owners.filter((owner) => stateOf(owner) === 'solid')
  if (solid.length === owners.length) return { kind: 'keep' }
  if (solid.length > 0) return { kind: 'disown', keep: solid }
  if (metadata.deletionTimestamp !== undefined) return { kind: 'keep' }
  const finalizers = metadata.finalizers ?? []
  if (owners.some((owner) => stateOf(owner) === 'waiting'))
    return { kind: 'delete', propagation: 'Foreground' }
  if (finalizers.includes(orphanFinalizer)) return { kind: 'delete', propagation: 'Orphan' }
  return {
    kind: 'delete',
    propagation: finalizers.includes(foregroundFinalizer) ? 'Foreground' : 'Background',
  }
}

/** Deletes what its owners left behind, and completes foreground and orphaning deletions. */
export function startCollector(api: Api): Disposable {
  const ownership = new Ownership()
  const queue = batches<string>(
    (uid) => examine(api, ownership, uid, queue.add),
    (error) => api.log.error('garbage collection failed', { error: messageOf(error) }),
  )
  const enqueue = (object: KubeObject) => {
    const { uid = '', ownerReferences = [], deletionTimestamp } = object.metadata
    if (ownerReferences.length > 0 || deletionTimestamp !== undefined) queue.add(uid)
  }
  const onEvent = ({ type, resource, object }: StoreEvent) => {
    const { uid = '' } = object.metadata
    const touched =
      type === 'DELETED' ? ownership.remove(uid) : ownership.put(placeOf(resource, object), object)
    for (const other of touched) queue.add(other)
    if (type !== 'DELETED') enqueue(object)
  }
  for (const resource of api.store.resources())
    for (const object of api.store.list(resource)) {
      ownership.put(placeOf(resource, object), object)
      enqueue(object)
    }
  const following = api.store.subscribe(onEvent)
  return {
    [Symbol.dispose]: () => {
      following[Symbol.dispose]()
      queue[Symbol.dispose]()
    },
  }
}

const placeOf = (resource: string, { metadata }: KubeObject): Place => ({
  resource,
  namespace: metadata.namespace ?? '',
  name: metadata.name ?? '',
})

function examine(api: Api, ownership: Ownership, uid: string, add: (uid: string) => void): void {
  const place = ownership.place(uid)
  const object = place && api.store.get(place.resource, place.namespace, place.name)
  if (place === undefined || object === undefined || object.metadata.uid !== uid) return
  if (object.metadata.deletionTimestamp !== undefined && complete(api, ownership, place, object, add)) return
  const verdict = judge(object, (owner) => stateOf(api, ownership, owner))
  switch (verdict.kind) {
    case 'keep':
      return
    case 'disown':
      api.store.save(place.resource, withMetadata(object, { ownerReferences: verdict.keep }))
      return
    case 'delete':
      remove(api, place, object, verdict.propagation)
  }
}

function stateOf(api: Api, ownership: Ownership, owner: OwnerReference): OwnerState {
  const place = ownership.place(owner.uid)
  if (place === undefined) {
    // An owner of a kind that is not served cannot be looked up: it is left alone.
    const [group, version] = groupVersionOf(owner.apiVersion)
    return api.kinds.byKind(group, version, owner.kind) === undefined ? 'solid' : 'gone'
  }
  const metadata = api.store.get(place.resource, place.namespace, place.name)?.metadata
  const foreground = (metadata?.finalizers ?? []).includes(foregroundFinalizer)
  return metadata?.deletionTimestamp !== undefined && foreground ? 'waiting' : 'solid'
}

/** Works off the finalizers that are ours; true when the object has changed. */
function complete(
  api: Api,
  ownership: Ownership,
  place: Place,
  object: KubeObject,
  add: (uid: string) => void,
): boolean {
  const { uid = '', finalizers = [] } = object.metadata
  if (finalizers.includes(orphanFinalizer)) {
    for (const dependent of ownership.dependents(uid)) disown(api, ownership, dependent, uid)
    finish(api, place, object, orphanFinalizer)
    return true
  }
  if (!finalizers.includes(foregroundFinalizer)) return false
  const dependents = ownership.dependents(uid)
  const blocking = dependents.filter((dependent) => blocks(api, ownership, dependent, uid))
  for (const dependent of dependents) add(dependent)
  if (blocking.length > 0) return false
  finish(api, place, object, foregroundFinalizer)
  return true
}

function blocks(api: Api, ownership: Ownership, dependent: string, owner: string): boolean {
  const place = ownership.place(dependent)
  const object = place && api.store.get(place.resource, place.namespace, place.name)
  return (object?.metadata.ownerReferences ?? []).some(
    (ref) => ref.uid === owner && ref.blockOwnerDeletion === true,
  )
}

function disown(api: Api, ownership: Ownership, dependent: string, owner: string): void {
  const place = ownership.place(dependent)
  const object = place && api.store.get(place.resource, place.namespace, place.name)
  if (place === undefined || object === undefined) return
  const ownerReferences = (object.metadata.ownerReferences ?? []).filter((ref) => ref.uid !== owner)
  const left = ownerReferences.length === 0 ? undefined : ownerReferences
  api.store.save(place.resource, withMetadata(object, { ownerReferences: left }))
}

function finish(api: Api, place: Place, object: KubeObject, finalizer: string): void {
  const left = (object.metadata.finalizers ?? []).filter((other) => other !== finalizer)
  const freed = withMetadata(object, { finalizers: left.length === 0 ? undefined : left })
  if (isFinished(freed)) api.store.remove(place.resource, freed)
  else api.store.save(place.resource, freed)
}

function remove(api: Api, place: Place, object: KubeObject, propagation: Propagation): void {
  const kind = api.kinds.ofResource(place.resource)
  if (kind === undefined) return
  const target = targetOf(kind, object.metadata.namespace, place.name)
  const options = {
    dryRun: false,
    gracePeriodSeconds: undefined,
    resourceVersion: undefined,
    uid: object.metadata.uid,
  }
  deleteObject(api, target, object, { ...options, propagation })
}
