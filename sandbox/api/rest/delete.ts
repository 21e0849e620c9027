import { crdFinalizer } from '../admission/index.ts'
import { type Answer, type Api, type ApiRequest, subjectOf, type Target, targetOf } from './api.ts'
import { decodeOptional } from './body.ts'
import { type KubeObject, numberAt, recordAt, textAt, timestamp, withMetadata } from './object.ts'
import { type DeleteOptions, deleteOptions } from './options.ts'
import { selectorOf } from './read.ts'
import { badRequest, conflict, deleted, forbidden, isRefusal, type Refusal } from './refusal.ts'
import { find, isFinished, served } from './write.ts'

/** Finalizers by which the garbage collector knows what to do with dependents. */
export const foregroundFinalizer = 'foregroundDeletion'
export const orphanFinalizer = 'orphan'

const defaultGraceSeconds = 30
/** Kubernetes: NamespaceLifecycle. */
const eternalNamespaces = ['default', 'kube-system', 'kube-public']

/** `remains`: marked, waiting for grace or finalizers. */
type Deletion = Readonly<{ kind: 'gone' | 'remains'; object: KubeObject }>

/** Marks an object deleted, or removes it when nothing holds it back. The one way by which anything goes. */
export function deleteObject(
  api: Api,
  target: Target,
  live: KubeObject,
  options: DeleteOptions,
): Deletion | Refusal {
  const { uid, resourceVersion } = options
  if (target.resource === 'namespaces' && eternalNamespaces.includes(target.name ?? ''))
    return forbidden(subjectOf(target), 'this namespace may not be deleted')
  const precondition = (what: string, wanted: string, is: string | undefined) =>
    conflict(
      subjectOf(target),
      `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${is ?? ''}`,
    )
  if (uid !== undefined && uid !== live.metadata.uid) return precondition('UID', uid, live.metadata.uid)
  if (resourceVersion !== undefined && resourceVersion !== live.metadata.resourceVersion)
    return precondition('ResourceVersion', resourceVersion, live.metadata.resourceVersion)
  const marked = mark(api, target, live, options)
  if (marked === live) return { kind: 'remains', object: live }
  if (options.dryRun) return { kind: isFinished(marked) ? 'gone' : 'remains', object: marked }
  if (isFinished(marked)) return { kind: 'gone', object: api.store.remove(target.resource, marked) }
  return { kind: 'remains', object: api.store.save(target.resource, marked) }
}

/** What deletion makes of the object; the same object when it is deleted already and nothing gets shorter. */
function mark(api: Api, target: Target, live: KubeObject, options: DeleteOptions): KubeObject {
  const before = live.metadata.deletionTimestamp
  const grace = graceOf(target, live, options)
  const finalizers = finalizersFor(target, live, options)
  const sameFinalizers = finalizers.join() === (live.metadata.finalizers ?? []).join()
  const earlier = live.metadata.deletionGracePeriodSeconds ?? 0
  if (
    before !== undefined &&
    sameFinalizers &&
    grace >= earlier &&
    !(earlier === 0 && finalizers.length === 0)
  )
    return live
  const seconds = before === undefined ? grace : Math.min(grace, earlier)
  const marked = withMetadata(live, {
    finalizers: finalizers.length === 0 ? undefined : finalizers,
    deletionGracePeriodSeconds: seconds,
    deletionTimestamp:
      before !== undefined && seconds === earlier ? before : timestamp(api.now() + seconds * 1000),
  })
  return target.resource === 'namespaces'
    ? { ...marked, status: { ...recordAt(marked, 'status'), phase: 'Terminating' } }
    : marked
}

/** Only pods leave gracefully, and only those that a node may be running. */
function graceOf({ resource }: Target, live: KubeObject, { gracePeriodSeconds }: DeleteOptions): number {
  if (resource !== 'pods') return 0
  const phase = textAt(live, 'status', 'phase')
  const running =
    (textAt(live, 'spec', 'nodeName') ?? '') !== '' && phase !== 'Succeeded' && phase !== 'Failed'
  if (!running) return 0
  return gracePeriodSeconds ?? numberAt(live, 'spec', 'terminationGracePeriodSeconds') ?? defaultGraceSeconds
}

function finalizersFor(
  { resource }: Target,
  live: KubeObject,
  { propagation }: DeleteOptions,
): readonly string[] {
  const given = live.metadata.finalizers ?? []
  const crd =
    resource === 'customresourcedefinitions.apiextensions.k8s.io' &&
    live.metadata.deletionTimestamp === undefined
  const own = crd && !given.includes(crdFinalizer) ? [...given, crdFinalizer] : given
  if (propagation === undefined) return own
  const others = own.filter((finalizer) => finalizer !== foregroundFinalizer && finalizer !== orphanFinalizer)
  if (propagation === 'Foreground') return [...others, foregroundFinalizer]
  return propagation === 'Orphan' ? [...others, orphanFinalizer] : others
}

/** DELETE of one object. */
export function handleDelete(api: Api, request: ApiRequest, target: Target): Answer {
  const options = optionsOf(request)
  if (isRefusal(options)) return options
  const live = find(api, target)
  if (isRefusal(live)) return live
  const deletion = deleteObject(api, target, live, options)
  if (isRefusal(deletion)) return deletion
  const object = served(target.kind, deletion.object)
  // Pods come back as they were (Kubernetes: ReturnDeletedObject); the rest is a Status once it is gone.
  if (deletion.kind === 'remains' || target.resource === 'pods') return { code: 200, body: object }
  return { code: 200, body: deleted(subjectOf(target), object.metadata.uid) }
}

/** DELETE of a collection: each selected object by itself. */
export function handleDeleteCollection(api: Api, request: ApiRequest, target: Target): Answer {
  const options = optionsOf(request)
  if (isRefusal(options)) return options
  const selector = selectorOf(request.query, target)
  if (isRefusal(selector)) return selector
  if (target.kind.namespaced && target.namespace === undefined)
    return badRequest('deletecollection needs a namespace')
  const items = api.store.list(target.resource, target.namespace).filter(selector)
  for (const object of items) {
    const { namespace, name } = object.metadata
    const outcome = deleteObject(api, targetOf(target.kind, namespace, name), object, options)
    if (isRefusal(outcome)) return outcome
  }
  return {
    code: 200,
    body: {
      apiVersion:
        target.kind.group === '' ? target.kind.version : `${target.kind.group}/${target.kind.version}`,
      kind: target.kind.listKind,
      metadata: { resourceVersion: String(api.store.version) },
      items: items.map((object) => served(target.kind, object)),
    },
  }
}

function optionsOf(request: ApiRequest): DeleteOptions | Refusal {
  const body = decodeOptional(request.body, request.headers['content-type'])
  return isRefusal(body) ? body : deleteOptions(request, body)
}
