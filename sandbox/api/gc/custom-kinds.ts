import { messageOf } from '#base'
import { crdFinalizer } from '../admission/index.ts'
import { type Api, targetOf } from '../rest/api.ts'
import { deleteObject } from '../rest/delete.ts'
import { type KubeObject, textAt, withMetadata } from '../rest/object.ts'
import { isFinished } from '../rest/write.ts'
import { kindsOfCrd } from '../types/index.ts'
import { batches } from './batches.ts'

const crds = 'customresourcedefinitions.apiextensions.k8s.io'

/** Serves the kinds of the CRDs that there are, and deletes the objects of a CRD that goes. */
export function startCustomKinds(api: Api): Disposable {
  const queue = batches<string>(
    (name) => clean(api, name),
    (error) => api.log.error('deleting custom objects failed', { error: messageOf(error) }),
  )
  for (const crd of api.store.list(crds)) {
    serve(api, crd)
    if (crd.metadata.deletionTimestamp !== undefined) queue.add(crd.metadata.name ?? '')
  }
  const following = api.store.subscribe(({ type, resource, object }) => {
    const { name = '', deletionTimestamp } = object.metadata
    if (resource === crds) {
      if (type === 'DELETED') api.kinds.removeCustom(name)
      else serve(api, object)
      if (type !== 'DELETED' && deletionTimestamp !== undefined) queue.add(name)
      // Objects of a custom kind are stored under the name of its CRD.
    } else if (
      type === 'DELETED' &&
      api.store.get(crds, '', resource)?.metadata.deletionTimestamp !== undefined
    )
      queue.add(resource)
  })
  return {
    [Symbol.dispose]: () => {
      following[Symbol.dispose]()
      queue[Symbol.dispose]()
    },
  }
}

function serve(api: Api, crd: KubeObject): void {
  const parsed = kindsOfCrd(crd)
  // Only a CRD that was stored by another release of this server can be unfit here.
  if ('reject' in parsed) api.log.warn('a stored CRD cannot be served', { crd: crd.metadata.name })
  else api.kinds.setCustom(crd.metadata.name ?? '', parsed.kinds)
}

function clean(api: Api, name: string): void {
  const crd = api.store.get(crds, '', name)
  if (crd?.metadata.deletionTimestamp === undefined) return
  const kind = api.kinds.ofResource(
    `${textAt(crd, 'spec', 'names', 'plural') ?? ''}.${textAt(crd, 'spec', 'group') ?? ''}`,
  )
  const options = {
    dryRun: false,
    propagation: undefined,
    gracePeriodSeconds: undefined,
    uid: undefined,
    resourceVersion: undefined,
  }
  for (const object of api.store.list(name))
    if (kind !== undefined && object.metadata.deletionTimestamp === undefined)
      deleteObject(api, targetOf(kind, object.metadata.namespace, object.metadata.name), object, options)
  if (api.store.list(name).length > 0) return
  const left = (crd.metadata.finalizers ?? []).filter((finalizer) => finalizer !== crdFinalizer)
  const freed = withMetadata(crd, { finalizers: left.length === 0 ? undefined : left })
  if (isFinished(freed)) api.store.remove(crds, freed)
  else if (left.length !== (crd.metadata.finalizers ?? []).length) api.store.save(crds, freed)
}
