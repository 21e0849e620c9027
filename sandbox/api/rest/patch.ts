import { isRecord } from '#base'
import { apiVersionOf, jsonPatch, mergePatch, serverSideApply, strategicMergePatch } from '../types/index.ts'
import { type Answer, type Api, type ApiRequest, subjectOf, type Target } from './api.ts'
import { decodePatch, maxBodyBytes, mediaType } from './body.ts'
import { placed } from './create.ts'
import { type KubeObject, parseObject, timestamp } from './object.ts'
import { writeOptions } from './options.ts'
import { applyConflict, badRequest, invalid, isRefusal, notFound, type Refusal, refuse } from './refusal.ts'
import { insert, replace, served, type WriteOptions } from './write.ts'

const applyType = 'application/apply-patch+yaml'
const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  applyType,
]

/** Is this PATCH a server-side apply, which may create? */
export const isApply = ({ headers }: ApiRequest): boolean => mediaType(headers['content-type']) === applyType

/** PATCH of an object or its status, in any of the four patch languages. */
export function handlePatch(api: Api, request: ApiRequest, target: Target): Answer {
  const options = writeOptions(request)
  if (isRefusal(options)) return options
  const type = mediaType(request.headers['content-type'])
  if (!patchTypes.includes(type)) return unsupported()
  const patch = decodePatch(request.body, type)
  if (isRefusal(patch)) return patch
  if (type === applyType) return apply(api, request, target, patch, options)
  const live = api.store.get(target.resource, target.namespace ?? '', target.name ?? '')
  if (live === undefined) return notFound(subjectOf(target))
  const patched = patchedObject(target, served(target.kind, live), type, patch)
  if (isRefusal(patched)) return patched
  const written = tooLarge(patched) ?? replace(api, target, live, patched, options)
  return isRefusal(written) ? written : { code: 200, body: written.object, warnings: written.warnings }
}

function patchedObject(target: Target, live: KubeObject, type: string, patch: unknown): KubeObject | Refusal {
  const outcome = applyPatch(target, live, type, patch)
  if (isRefusal(outcome)) return outcome
  const parsed = parseObject(outcome)
  return parsed.ok ? placed(parsed.object, target) : badRequest(parsed.reason)
}

/** What a body may bring at once is what an object may be: small patches must not make it grow for ever (etcd: 1.5 MiB). */
function tooLarge(object: KubeObject): Refusal | undefined {
  if (JSON.stringify(object).length <= maxBodyBytes) return undefined
  return refuse(413, 'RequestEntityTooLarge', `the object would be larger than ${maxBodyBytes} bytes`)
}

/** The patched JSON, whatever it is now. */
function applyPatch(
  { kind }: Target,
  live: KubeObject,
  type: string,
  patch: unknown,
): Readonly<Record<string, unknown>> | Refusal {
  const unfit = (reason: string) =>
    invalid(kind, live.metadata.name ?? '', [
      { reason: 'FieldValueInvalid', field: 'patch', message: reason },
    ])
  if (type === 'application/json-patch+json') {
    const outcome = jsonPatch(live, patch)
    return 'reject' in outcome ? unfit(outcome.reject) : outcome.object
  }
  if (!isRecord(patch)) return badRequest('the patch must be an object')
  if (type === 'application/merge-patch+json') {
    const outcome = mergePatch(live, patch)
    return 'reject' in outcome ? badRequest(outcome.reject) : outcome.object
  }
  // kubectl and client-go fall back to a merge patch on exactly this answer.
  if (kind.custom) return unsupported()
  const outcome = strategicMergePatch(kind, live, patch)
  return 'reject' in outcome ? badRequest(outcome.reject) : outcome.object
}

const unsupported = (): Refusal =>
  refuse(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
  )

function apply(
  api: Api,
  { query }: ApiRequest,
  target: Target,
  patch: unknown,
  options: WriteOptions,
): Answer {
  const manager = query.get('fieldManager') ?? ''
  if (manager === '')
    return badRequest(
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    )
  const parsed = parseObject(patch)
  if (!parsed.ok) return badRequest(parsed.reason)
  if (parsed.object.metadata.managedFields !== undefined && parsed.object.metadata.managedFields.length > 0)
    return badRequest('metadata.managedFields must be nil')
  const applied = placed(parsed.object, target)
  if (isRefusal(applied)) return applied
  const live = api.store.get(target.resource, target.namespace ?? '', target.name ?? '')
  if (live === undefined && target.subresource !== undefined) return notFound(subjectOf(target))
  const outcome = serverSideApply({
    kind: target.kind,
    live: live === undefined ? undefined : { ...live, apiVersion: apiVersionOf(target.kind) },
    applied,
    manager,
    force: query.get('force') === 'true',
    subresource: target.subresource ?? '',
    now: timestamp(api.now()),
  })
  if ('reject' in outcome) return badRequest(outcome.reject)
  if ('conflicts' in outcome)
    return applyConflict(
      subjectOf(target),
      outcome.conflicts.map(({ field, message }) => ({ reason: 'FieldManagerConflict', message, field })),
    )
  const merged = parseObject(outcome.object)
  if (!merged.ok) return badRequest(merged.reason)
  const how = { ...options, applied: true }
  const written =
    tooLarge(merged.object) ??
    (live === undefined
      ? insert(api, target, merged.object, how)
      : replace(api, target, live, merged.object, how))
  if (isRefusal(written)) return written
  return { code: written.created ? 201 : 200, body: written.object, warnings: written.warnings }
}
