import { isRecord } from '#base'
import { labelSelectorText } from '../store/index.ts'
import { jsonPatch, mergePatch } from '../types/index.ts'
import { type Answer, type Api, type ApiRequest, subjectOf, type Target } from './api.ts'
import { decodeObject, decodePatch, mediaType } from './body.ts'
import { at, type KubeObject, numberAt, textAt, timestamp } from './object.ts'
import { writeOptions } from './options.ts'
import { badRequest, conflict, invalid, isRefusal, type Refusal, refuse } from './refusal.ts'
import { find, replace } from './write.ts'

type Paths = Readonly<{
  spec: readonly string[]
  status: readonly string[]
  selector: readonly string[] | undefined
}>

/** GET, PUT and PATCH of `/scale`: the number of replicas of whatever has one, as one kind. */
export function handleScale(api: Api, request: ApiRequest, target: Target): Answer {
  const paths = pathsOf(target)
  const live = find(api, target)
  if (isRefusal(live)) return live
  const scale = scaleOf(live, paths)
  if (request.method === 'GET') return { code: 200, body: scale }
  const options = writeOptions(request)
  if (isRefusal(options)) return options
  const wanted =
    request.method === 'PUT'
      ? decodeObject(request.body, request.headers['content-type'])
      : patched(request, scale)
  if (isRefusal(wanted)) return wanted
  const version = textAt(wanted, 'metadata', 'resourceVersion') ?? ''
  if (version !== '' && version !== live.metadata.resourceVersion) return conflict(subjectOf(target))
  const replicas = numberAt(wanted, 'spec', 'replicas') ?? 0
  if (!Number.isSafeInteger(replicas) || replicas < 0)
    return invalid({ group: 'autoscaling', kind: 'Scale' }, live.metadata.name ?? '', [
      {
        reason: 'FieldValueInvalid',
        field: 'spec.replicas',
        message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
      },
    ])
  const main = { ...target, subresource: undefined }
  const written = replace(api, main, live, withValue(live, paths.spec, replicas), options)
  return isRefusal(written)
    ? written
    : { code: 200, body: scaleOf(written.object, paths), warnings: written.warnings }
}

function pathsOf({ kind }: Target): Paths {
  const split = (path: string) => path.split('.').filter((field) => field !== '')
  const {
    specReplicas = '.spec.replicas',
    statusReplicas = '.status.replicas',
    labelSelector,
  } = kind.scale ?? {}
  return {
    spec: split(specReplicas),
    status: split(statusReplicas),
    selector: labelSelector === undefined ? undefined : split(labelSelector),
  }
}

function scaleOf(object: KubeObject, paths: Paths): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const given = at(object, ...(paths.selector ?? ['spec', 'selector']))
  const selector = typeof given === 'string' ? given : labelSelectorText(given)
  const metadata = { name, namespace, uid, resourceVersion, creationTimestamp }
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined)),
    spec: { replicas: numberAt(object, ...paths.spec) ?? 0 },
    status: { replicas: numberAt(object, ...paths.status) ?? 0, ...(selector === '' ? {} : { selector }) },
  }
}

function patched({ body, headers }: ApiRequest, scale: KubeObject): Record<string, unknown> | Refusal {
  const type = mediaType(headers['content-type'])
  const patch = decodePatch(body, type)
  if (isRefusal(patch)) return patch
  if (type === 'application/json-patch+json') {
    const outcome = jsonPatch(scale, patch)
    return 'reject' in outcome ? badRequest(outcome.reject) : outcome.object
  }
  // Scale has no lists: a strategic merge is a merge, and an apply without other owners too.
  if (!/merge-patch|apply-patch/.test(type))
    return refuse(415, 'UnsupportedMediaType', `no patch of type ${type} for scale`)
  if (!isRecord(patch)) return badRequest('the patch must be an object')
  const outcome = mergePatch(scale, patch)
  return 'reject' in outcome ? badRequest(outcome.reject) : outcome.object
}

function withValue(object: KubeObject, path: readonly string[], value: unknown): KubeObject {
  const [field = '', ...rest] = path
  return { ...object, [field]: nested(object[field], rest, value) }
}

function nested(here: unknown, path: readonly string[], value: unknown): unknown {
  const [field, ...rest] = path
  if (field === undefined) return value
  const record = isRecord(here) ? here : {}
  return { ...record, [field]: nested(record[field], rest, value) }
}

/** POST pods/x/binding: the scheduler's decision, made once. */
export function handleBinding(api: Api, request: ApiRequest, target: Target): Answer {
  const body = decodeObject(request.body, request.headers['content-type'])
  if (isRefusal(body)) return body
  const options = writeOptions(request)
  if (isRefusal(options)) return options
  const live = find(api, target)
  if (isRefusal(live)) return live
  const node = textAt(body, 'target', 'name') ?? ''
  if (node === '') return badRequest('target.name: Required value')
  const bound = textAt(live, 'spec', 'nodeName') ?? ''
  if (bound !== '')
    return conflict(
      subjectOf(target),
      `pod ${live.metadata.name ?? ''} is already assigned to node "${bound}"`,
    )
  if (live.metadata.deletionTimestamp !== undefined)
    return conflict(
      subjectOf(target),
      `pod ${live.metadata.name ?? ''} is being deleted, cannot be assigned to a host`,
    )
  if (options.dryRun) return created
  api.store.save(target.resource, scheduled(live, node, timestamp(api.now())))
  return created
}

const created: Answer = {
  code: 201,
  body: { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success', code: 201 },
}

function scheduled(pod: KubeObject, nodeName: string, now: string): KubeObject {
  const conditions = at(pod, 'status', 'conditions')
  const others = (Array.isArray(conditions) ? conditions : []).filter(
    (c) => textAt(c, 'type') !== 'PodScheduled',
  )
  const spec = at(pod, 'spec')
  const status = at(pod, 'status')
  return {
    ...pod,
    spec: { ...(isRecord(spec) ? spec : {}), nodeName },
    status: {
      ...(isRecord(status) ? status : {}),
      conditions: [
        ...others,
        { type: 'PodScheduled', status: 'True', lastProbeTime: null, lastTransitionTime: now },
      ],
    },
  }
}
