import { permit } from './access.ts'
import { type Answer, type Api, type ApiRequest, type Target } from './api.ts'
import { decodeObject } from './body.ts'
import { handleCreate, handleUpdate } from './create.ts'
import { deleteObject, handleDelete, handleDeleteCollection } from './delete.ts'
import { listAt, recordAt } from './object.ts'
import { deleteOptions } from './options.ts'
import { handlePatch, isApply } from './patch.ts'
import { handleGet, handleList } from './read.ts'
import { badRequest, isRefusal, noSuchPath } from './refusal.ts'
import { handleReview, handleTokenRequest } from './reviews.ts'
import { handleBinding, handleScale } from './scale.ts'
import { find, isFinished, notAllowed } from './write.ts'

/** Answers a request for a resource, apart from watches, logs and upgrades. */
export function answerResource(api: Api, request: ApiRequest, target: Target): Answer {
  const { kind, subresource, name, namespace } = target
  if (kind.namespaced && namespace === undefined && (name !== undefined || request.method === 'POST'))
    return badRequest('an empty namespace may not be set during creation')
  if (!kind.namespaced && namespace !== undefined) return noSuchPath()
  if (subresource !== undefined) return answerSubresource(api, request, target)
  if (kind.virtual)
    return request.method === 'POST' && name === undefined ? handleReview(api, request, target) : notAllowed()
  return name === undefined ? answerCollection(api, request, target) : answerObject(api, request, target)
}

function answerCollection(api: Api, request: ApiRequest, target: Target): Answer {
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return handleList(api, request, target)
    case 'POST':
      return handleCreate(api, request, target)
    case 'DELETE':
      return handleDeleteCollection(api, request, target)
    default:
      return notAllowed()
  }
}

function answerObject(api: Api, request: ApiRequest, target: Target): Answer {
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return handleGet(api, request, target)
    case 'PUT':
      return handleUpdate(api, request, target)
    case 'PATCH':
      return mayCreate(api, request, target) ?? handlePatch(api, request, target)
    case 'DELETE':
      return handleDelete(api, request, target)
    default:
      return notAllowed()
  }
}

/** An apply of what does not exist is a create, and needs that right too. */
function mayCreate(api: Api, request: ApiRequest, { kind, resource, namespace, name }: Target) {
  if (!isApply(request) || api.store.get(resource, namespace ?? '', name ?? '') !== undefined)
    return undefined
  return permit(api, request.user, {
    verb: 'create',
    group: kind.group,
    resource: kind.plural,
    namespace,
    name,
  })
}

function answerSubresource(api: Api, request: ApiRequest, target: Target): Answer {
  const { kind, resource, subresource } = target
  const { method } = request
  if (subresource === 'status' && kind.status) return answerStatus(api, request, target)
  if (subresource === 'scale' && kind.scale !== undefined)
    return ['GET', 'PUT', 'PATCH'].includes(method) ? handleScale(api, request, target) : notAllowed()
  if (resource === 'pods' && subresource === 'binding')
    return method === 'POST' ? handleBinding(api, request, target) : notAllowed()
  if (resource === 'pods' && subresource === 'eviction')
    return method === 'POST' ? evict(api, request, target) : notAllowed()
  if (resource === 'serviceaccounts' && subresource === 'token')
    return method === 'POST' ? handleTokenRequest(api, request, target) : notAllowed()
  if (resource === 'namespaces' && subresource === 'finalize')
    return method === 'PUT' ? finalize(api, request, target) : notAllowed()
  return noSuchPath()
}

function answerStatus(api: Api, request: ApiRequest, target: Target): Answer {
  switch (request.method) {
    case 'GET':
      return handleGet(api, request, target)
    case 'PUT':
      return handleUpdate(api, request, target)
    case 'PATCH':
      return handlePatch(api, request, target)
    default:
      return notAllowed()
  }
}

/** POST pods/x/eviction: a deletion that could be refused by a disruption budget; there is none here. */
function evict(api: Api, request: ApiRequest, target: Target): Answer {
  const body = decodeObject(request.body, request.headers['content-type'])
  if (isRefusal(body)) return body
  const options = deleteOptions(request, { ...recordAt(body, 'deleteOptions') })
  if (isRefusal(options)) return options
  const live = find(api, target)
  if (isRefusal(live)) return live
  const deletion = deleteObject(api, target, live, options)
  if (isRefusal(deletion)) return deletion
  return { code: 201, body: { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success', code: 201 } }
}

/** PUT namespaces/x/finalize: the one way to change a namespace's own finalizers. */
function finalize(api: Api, request: ApiRequest, target: Target): Answer {
  const body = decodeObject(request.body, request.headers['content-type'])
  if (isRefusal(body)) return body
  const live = find(api, target)
  if (isRefusal(live)) return live
  const finalizers = listAt(body, 'spec', 'finalizers').map(String)
  const changed = { ...live, spec: { ...recordAt(live, 'spec'), finalizers } }
  const object = isFinished(changed)
    ? api.store.remove(target.resource, changed)
    : api.store.save(target.resource, changed)
  return { code: 200, body: object }
}
