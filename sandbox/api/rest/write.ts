import { randomUUID } from 'node:crypto'
import { admit } from '../admission/index.ts'
import {
  apiVersionOf,
  type FieldError,
  type FieldValidation,
  type KindType,
  prepare,
  recordUpdate,
} from '../types/index.ts'
import { type Api, subjectOf, type Target } from './api.ts'
import { generateName, nameFault } from './names.ts'
import { asObject, type KubeObject, recordAt, sameJson, timestamp, withMetadata } from './object.ts'
import {
  alreadyExists,
  badRequest,
  type Cause,
  conflict,
  invalid,
  isRefusal,
  notFound,
  type Refusal,
  refuse,
} from './refusal.ts'

export type WriteOptions = Readonly<{
  dryRun: boolean
  fieldManager: string
  fieldValidation: FieldValidation
  /** Server-side apply has written managedFields already; every other write records itself. */
  applied?: boolean
}>
type Written = Readonly<{ object: KubeObject; warnings: readonly string[]; created: boolean }>

const maxNameTries = 8

/** Creates an object: names it, checks, defaults and admits it, and stores it unless this is a dry run. */
export function insert(api: Api, target: Target, body: KubeObject, options: WriteOptions): Written | Refusal {
  const named = nameNew(api, target, body)
  if (isRefusal(named)) return named
  const { kind, resource } = target
  const now = timestamp(api.now())
  const draft = withMetadata(withoutStatus(kind, named), {
    uid: randomUUID(),
    creationTimestamp: now,
    generation: hasGeneration(kind, named) ? 1 : undefined,
    resourceVersion: undefined,
    deletionTimestamp: undefined,
    deletionGracePeriodSeconds: undefined,
    selfLink: undefined,
    ...(options.applied === true ? {} : { managedFields: undefined }),
  })
  const checked = check(api, target, draft, undefined, options)
  if (isRefusal(checked)) return checked
  const object = record(checked.object, undefined, target, options, now)
  const stored = options.dryRun ? object : api.store.save(resource, toStorage(api, kind, object))
  return { object: served(kind, stored), warnings: checked.warnings, created: true }
}

function nameNew(api: Api, target: Target, body: KubeObject): KubeObject | Refusal {
  const { kind, resource } = target
  const { metadata } = body
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== '')
    return badRequest('resourceVersion should not be set on objects to be created')
  const namespace = kind.namespaced ? target.namespace : undefined
  const prefix = metadata.generateName ?? ''
  let name = metadata.name ?? ''
  const taken = (candidate: string) => api.store.get(resource, namespace ?? '', candidate) !== undefined
  for (let tries = 0; (metadata.name ?? '') === '' && prefix !== '' && tries < maxNameTries; tries++) {
    name = generateName(prefix, api.random)
    if (!taken(name)) break
  }
  if (name === '')
    return invalid(kind, '', [
      {
        reason: 'FieldValueRequired',
        field: 'metadata.name',
        message: 'Required value: name or generateName is required',
      },
    ])
  const fault = nameFault(kind, name)
  if (fault !== undefined) return invalid(kind, name, [fault])
  if (taken(name)) return alreadyExists({ ...subjectOf(target), name })
  return withMetadata(body, { name, namespace })
}

/** Replaces `live` by `body`: the main resource leaves the status alone, the status subresource all the rest. */
export function replace(
  api: Api,
  target: Target,
  live: KubeObject,
  body: KubeObject,
  options: WriteOptions,
): Written | Refusal {
  const { kind, subresource } = target
  const stale = staleness(target, live, body)
  if (stale !== undefined) return stale
  const draft = subresource === 'status' ? statusOnly(kind, live, body) : mainOnly(kind, live, body)
  const added = addedFinalizer(live, draft)
  if (added !== undefined) return invalid(kind, live.metadata.name ?? '', [added])
  const checked = check(api, target, draft, live, options)
  if (isRefusal(checked)) return checked
  const now = timestamp(api.now())
  const generated = withGeneration(kind, live, checked.object)
  if (sameContent(live, generated, options.applied === true))
    return { object: served(kind, live), warnings: checked.warnings, created: false }
  const object = record(generated, live, target, options, now)
  return {
    object: served(kind, commit(api, target, object, options)),
    warnings: checked.warnings,
    created: false,
  }
}

/** Stores, or removes what was only waiting for its last finalizer. */
function commit(
  api: Api,
  { kind, resource }: Target,
  object: KubeObject,
  { dryRun }: WriteOptions,
): KubeObject {
  if (dryRun) return object
  if (isFinished(object)) return api.store.remove(resource, toStorage(api, kind, object))
  return api.store.save(resource, toStorage(api, kind, object))
}

/** Nothing holds it back any more: it was deleted, has no grace left and no finalizer. */
export function isFinished({ kind, metadata, spec }: KubeObject): boolean {
  if (metadata.deletionTimestamp === undefined || (metadata.deletionGracePeriodSeconds ?? 0) > 0) return false
  const own = kind === 'Namespace' ? recordAt({ spec }, 'spec')['finalizers'] : undefined
  if (Array.isArray(own) && own.length > 0) return false
  return (metadata.finalizers ?? []).length === 0
}

function staleness(target: Target, live: KubeObject, { metadata }: KubeObject): Refusal | undefined {
  const { resourceVersion = '', uid = '' } = metadata
  if (uid !== '' && uid !== live.metadata.uid)
    return conflict(
      subjectOf(target),
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${live.metadata.uid ?? ''}`,
    )
  if (resourceVersion !== '' && resourceVersion !== live.metadata.resourceVersion)
    return conflict(subjectOf(target))
  return undefined
}

/** Metadata that only the server writes. */
const owned = (live: KubeObject) => ({
  name: live.metadata.name,
  namespace: live.metadata.namespace,
  uid: live.metadata.uid,
  creationTimestamp: live.metadata.creationTimestamp,
  deletionTimestamp: live.metadata.deletionTimestamp,
  deletionGracePeriodSeconds: live.metadata.deletionGracePeriodSeconds,
  generateName: live.metadata.generateName,
  generation: live.metadata.generation,
  resourceVersion: live.metadata.resourceVersion,
  selfLink: undefined,
})

function mainOnly(kind: KindType, live: KubeObject, body: KubeObject): KubeObject {
  const draft = withMetadata(body, owned(live))
  if (!kind.status) return draft
  const { status: _status, ...rest } = draft
  return { ...rest, ...(live['status'] === undefined ? {} : { status: live['status'] }) }
}

/** A custom object's status write changes nothing else; a built-in one's may also label and annotate, as kubelets do. */
function statusOnly(kind: KindType, live: KubeObject, body: KubeObject): KubeObject {
  const { status } = body
  const { labels, annotations, managedFields } = body.metadata
  const metadata = kind.custom ? { managedFields } : { labels, annotations, managedFields }
  const { status: _old, ...rest } = withMetadata(live, metadata)
  return { ...rest, ...(status === undefined ? {} : { status }) }
}

function addedFinalizer(live: KubeObject, draft: KubeObject): Cause | undefined {
  if (live.metadata.deletionTimestamp === undefined) return undefined
  const before = live.metadata.finalizers ?? []
  const added = (draft.metadata.finalizers ?? []).filter((finalizer) => !before.includes(finalizer))
  if (added.length === 0) return undefined
  return {
    reason: 'FieldValueForbidden',
    field: 'metadata.finalizers',
    message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
  }
}

/** Schema, then admission. */
function check(
  api: Api,
  target: Target,
  draft: KubeObject,
  live: KubeObject | undefined,
  { fieldValidation }: WriteOptions,
): Readonly<{ object: KubeObject; warnings: readonly string[] }> | Refusal {
  const { kind, subresource } = target
  const name = draft.metadata.name ?? ''
  const old = live === undefined ? {} : { old: served(kind, live) }
  const prepared = prepare(kind, { ...draft, apiVersion: apiVersionOf(kind) }, { fieldValidation, ...old })
  if (fieldValidation === 'Strict' && prepared.unknown.length > 0)
    return badRequest(
      `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: strict decoding error: ${prepared.unknown.join(', ')}`,
    )
  if (prepared.errors.length > 0) return invalid(kind, name, prepared.errors.map(causeOf))
  const object = asObject(prepared.object)
  const unknown = fieldValidation === 'Warn' ? prepared.unknown : []
  const deprecated = kind.deprecationWarning === undefined ? [] : [kind.deprecationWarning]
  if (subresource === 'status') return { object, warnings: [...deprecated, ...unknown] }
  const admitted = admit(api, target, object, live)
  if (isRefusal(admitted)) return admitted
  return { object: admitted.object, warnings: [...deprecated, ...unknown, ...admitted.warnings] }
}

const causeOf = ({ field, reason, message }: FieldError): Cause => ({ reason, message, field })

function record(
  object: KubeObject,
  before: KubeObject | undefined,
  { kind, subresource = '' }: Target,
  { fieldManager, applied }: WriteOptions,
  now: string,
): KubeObject {
  if (applied === true) return object
  const request = { kind, before, after: object, manager: fieldManager, subresource, now }
  return asObject(recordUpdate(request))
}

/** Does the kind count changes of its spec? All custom kinds do, and of the built-in ones those that have controllers. */
const hasGeneration = (kind: KindType, object: KubeObject): boolean =>
  kind.custom || (object['spec'] !== undefined && (kind.group !== '' || kind.plural === 'pods'))

function withGeneration(kind: KindType, live: KubeObject, object: KubeObject): KubeObject {
  if (!hasGeneration(kind, object)) return object
  const content = ({ metadata: _metadata, apiVersion: _version, status, ...rest }: KubeObject) =>
    kind.status ? rest : { ...rest, status }
  if (sameJson(content(live), content(object))) return object
  return withMetadata(object, { generation: (live.metadata.generation ?? 0) + 1 })
}

/** Nothing changed but who wrote it. Owners count when an apply, or the client itself, has set them. */
function sameContent(live: KubeObject, object: KubeObject, applied: boolean): boolean {
  const owners = applied || (object.metadata.managedFields ?? []).length > 0
  const content = (value: KubeObject) => ({
    ...value,
    apiVersion: '',
    metadata: {
      ...value.metadata,
      managedFields: owners ? untimed(value.metadata.managedFields) : undefined,
    },
  })
  return sameJson(content(live), content(object))
}

/** Who owns what, without when. */
const untimed = (entries: readonly unknown[] | undefined): unknown =>
  (entries ?? []).map((entry) => ({ ...recordAt({ entry }, 'entry'), time: undefined }))

/** Statuses given at creation do not count, save a node's: kubelets register with theirs. */
function withoutStatus(kind: KindType, object: KubeObject): KubeObject {
  if (!kind.status || (kind.group === '' && kind.plural === 'nodes')) return object
  const { status: _status, ...rest } = object
  return rest
}

/** Objects are kept in their storage version; no version converts but by its name. */
function toStorage(api: Api, kind: KindType, object: KubeObject): KubeObject {
  const storage = api.kinds.stored().find((k) => k.group === kind.group && k.plural === kind.plural) ?? kind
  return { ...object, apiVersion: apiVersionOf(storage) }
}

/** The stored object in the version that was asked for. */
export function served(kind: KindType, object: KubeObject): KubeObject {
  const apiVersion = apiVersionOf(kind)
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion }
}

/** The stored object of a target, or 404. */
export function find(api: Api, target: Target): KubeObject | Refusal {
  const found = api.store.get(target.resource, target.namespace ?? '', target.name ?? '')
  return found ?? notFound(subjectOf(target))
}

/** 405 for verbs that a resource does not have. */
export const notAllowed = (): Refusal =>
  refuse(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource')
