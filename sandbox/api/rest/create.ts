import { apiVersionOf } from '../types/index.ts'
import type { Answer, Api, ApiRequest, Target } from './api.ts'
import { decodeObject } from './body.ts'
import { type KubeObject, parseObject, withMetadata } from './object.ts'
import { writeOptions } from './options.ts'
import { badRequest, isRefusal, type Refusal } from './refusal.ts'
import { find, insert, replace } from './write.ts'

/** POST to a collection. */
export function handleCreate(api: Api, request: ApiRequest, target: Target): Answer {
  const options = writeOptions(request)
  if (isRefusal(options)) return options
  const body = bodyFor(request, target)
  if (isRefusal(body)) return body
  const written = insert(api, target, body, options)
  return isRefusal(written) ? written : { code: 201, body: written.object, warnings: written.warnings }
}

/** PUT of an object or its status. */
export function handleUpdate(api: Api, request: ApiRequest, target: Target): Answer {
  const options = writeOptions(request)
  if (isRefusal(options)) return options
  const body = bodyFor(request, target)
  if (isRefusal(body)) return body
  const live = find(api, target)
  if (isRefusal(live)) return live
  const written = replace(api, target, live, body, options)
  return isRefusal(written) ? written : { code: 200, body: written.object, warnings: written.warnings }
}

/** The object of the body, of the kind and at the place that the path says. */
function bodyFor({ body, headers }: ApiRequest, target: Target): KubeObject | Refusal {
  const decoded = decodeObject(body, headers['content-type'])
  if (isRefusal(decoded)) return decoded
  const parsed = parseObject({ apiVersion: apiVersionOf(target.kind), kind: target.kind.kind, ...decoded })
  if (!parsed.ok) return badRequest(parsed.reason)
  return placed(parsed.object, target)
}

/** Kind, namespace and name must agree with the path; what is missing is taken from there. */
export function placed(object: KubeObject, target: Target): KubeObject | Refusal {
  const { kind } = target
  const { metadata } = object
  if (object.apiVersion !== apiVersionOf(kind))
    return badRequest(
      `the API version in the data (${object.apiVersion}) does not match the expected API version (${apiVersionOf(kind)})`,
    )
  if (object.kind !== kind.kind)
    return badRequest(`the kind in the data (${object.kind}) does not match the expected kind (${kind.kind})`)
  const { namespace = '', name = '' } = metadata
  if (kind.namespaced && namespace !== '' && namespace !== target.namespace)
    return badRequest('the namespace of the provided object does not match the namespace sent on the request')
  if (target.name !== undefined && name !== '' && name !== target.name)
    return badRequest(`the name of the object (${name}) does not match the name on the URL (${target.name})`)
  return withMetadata(object, {
    namespace: kind.namespaced ? target.namespace : undefined,
    ...(target.name === undefined ? {} : { name: target.name }),
  })
}
